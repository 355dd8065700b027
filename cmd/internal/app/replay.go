package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"onward/jobs/worker"
	"onward/lifecycle/pgstore"
	"onward/web/crmapi"
)

// tryReceipts returns what the API makes its dry runs of replays with: the workers' own functions, in a transaction that
// is rolled back.
func (a *App) tryReceipts() (func(context.Context, uuid.UUID) (crmapi.ReplayTrial, error), error) {
	replayer, err := worker.NewReplayer(worker.ReplayOptions{Pool: a.pool, RecurrenteLive: a.cfg.RecurrenteLive})
	if err != nil {
		return nil, fmt.Errorf("configure dry runs: %w", err)
	}
	return func(ctx context.Context, id uuid.UUID) (crmapi.ReplayTrial, error) {
		r, err := replayer.DryRun(ctx, id)
		if errors.Is(err, worker.ErrNoReceipt) {
			err = pgstore.ErrNoReceipt
		}
		if err != nil {
			return crmapi.ReplayTrial{}, err
		}
		out := crmapi.ReplayTrial{
			Then: r.Then, Now: r.Now, Detail: r.Detail, Stands: r.Stands(), Facts: r.Facts, Enqueued: r.Enqueued, Changes: []crmapi.ReplayChange{},
		}
		for _, c := range r.Changes {
			out.Changes = append(out.Changes, crmapi.ReplayChange{
				BusinessID: c.BusinessID, Axis: string(c.Axis), From: string(c.From), To: string(c.To), Event: string(c.Event), Verdict: string(c.Verdict),
			})
		}
		return out, nil
	}, nil
}
