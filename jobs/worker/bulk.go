package worker

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

const (
	// bulkBudget is how long one run goes on before it hands over to the next: well below the job time-out.
	bulkBudget = 20 * time.Second
	// bulkChunk is how many businesses one transaction takes: some 50 ms. An opt-out locks two addresses of each.
	bulkChunk = 200
)

// workBulk goes on with a bulk action. Each chunk is one transaction that also moves a cursor, so what is cut off anywhere
// goes on behind the last whole chunk; a second run beside it waits for the first, and finds the cursor moved.
func (a *applier) workBulk(ctx context.Context, job *river.Job[jobs.BulkArgs]) error {
	for until := time.Now().Add(bulkBudget); ; {
		var more bool
		var applied []pgstore.Applied
		err := pgx.BeginFunc(ctx, a.Pool, func(tx pgx.Tx) (err error) {
			more, applied, err = pgstore.BulkChunk(ctx, tx, job.Args.BulkID, job.ID, a.Clock(), bulkChunk)
			return err
		})
		if err != nil {
			return err
		}
		a.report(ctx, applied, time.Time{})
		switch {
		case !more:
			return nil
		case time.Now().After(until):
			return river.JobSnooze(0)
		}
	}
}
