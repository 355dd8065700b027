package worker

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
)

func (a *applier) workCancellation(ctx context.Context, job *river.Job[jobs.CancellationArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.cancellation)
}

// cancellation applies the end of a subscription: cancelled, and the website archived.
func (a *applier) cancellation(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	e, err := parseRecurrente(r.Body)
	if err != nil {
		return failed("the body is not a Recurrente delivery"), nil
	}
	return a.subscriptionChange(ctx, tx, r, e, lifecycle.SubscriptionCancelled)
}
