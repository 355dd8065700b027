package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/migrations"
)

// readyTimeout bounds a check: less than what asks for it waits.
const readyTimeout = 2 * time.Second

// ready lists what keeps the process from its work; nothing when it is ready.
func (a *App) ready(ctx context.Context) map[string]string {
	reasons := map[string]string{}
	if a.stopping.Load() {
		reasons["process"] = "stopping"
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errors.New("time-out of the readiness check"))
	defer cancel()
	if err := migrations.Check(ctx, a.pool, quietLogger()); err != nil {
		switch {
		case errors.Is(err, migrations.ErrOutdated), errors.Is(err, migrations.ErrNewer):
			reasons["schema"] = err.Error()
		default:
			reasons["database"] = "does not answer"
		}
	}
	if a.inbox != nil && a.inbox.Full() {
		reasons["inbox"] = "full"
	}
	if queues := a.notFetching(ctx); len(queues) > 0 {
		reasons["worker"] = "does not fetch jobs of " + strings.Join(queues, ", ")
	}
	return reasons
}

// notFetching lists the queues that this process should look at for jobs, and does not. Those that an operator paused
// are not to be looked at.
func (a *App) notFetching(ctx context.Context) []string {
	if a.watch == nil {
		return nil
	}
	queues := a.watch.NotFetching()
	if len(queues) == 0 {
		return nil
	}
	rows, err := a.pool.Query(ctx, `SELECT name FROM river_queue WHERE paused_at IS NOT NULL`)
	if err != nil {
		return queues
	}
	paused, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return queues
	}
	return slices.DeleteFunc(queues, func(q string) bool { return slices.Contains(paused, q) })
}
