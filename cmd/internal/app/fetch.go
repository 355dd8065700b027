package app

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// planAge is how long a session of fetches keeps a plan. Planning takes longer than a fetch of one job; but a plan that was made
// while river_job was empty or not analyzed yet can be bad for what it holds a minute later.
const planAge = time.Second

// fetchSession are the statements that set up a session of fetches: as River's others, with one plan for whatever is asked for,
// which goes by the index of what is available, in its order, and finds each job by its key.
func fetchSession(role Role) []string {
	return append(
		queueSession(role), `SET plan_cache_mode = force_generic_plan`, `SET enable_sort = off`,
		`SET enable_bitmapscan = off`, `SET enable_hashjoin = off`, `SET enable_mergejoin = off`,
	)
}

// plannedAt is where a connection keeps when its plans were last forgotten, among its custom data.
const plannedAt = "onward.planned_at"

// freshPlans has a connection forget its plans when they are of age. For pgxpool's PrepareConn.
func freshPlans(ctx context.Context, conn *pgx.Conn) (bool, error) {
	data := conn.PgConn().CustomData()
	at, _ := data[plannedAt].(time.Time)
	if time.Since(at) < planAge {
		return true, nil
	}
	data[plannedAt] = time.Now()
	if _, err := conn.Exec(ctx, `DISCARD PLANS`); err != nil {
		return false, nil //nolint:nilerr // a connection that can't is not used: the pool takes another, and tells what is wrong with that
	}
	return true, nil
}

// fetchDriver is River's driver with fetches on connections of their own (docs/decisions/0019).
type fetchDriver struct {
	*riverpgxv5.Driver
	fetches riverdriver.Executor
}

var _ riverdriver.Driver[pgx.Tx] = (*fetchDriver)(nil)

func newFetchDriver(queue, fetches *pgxpool.Pool) *fetchDriver {
	return &fetchDriver{Driver: riverDriver(queue), fetches: riverDriver(fetches).GetExecutor()}
}

// GetExecutor implements riverdriver.Driver.
func (d *fetchDriver) GetExecutor() riverdriver.Executor {
	return &fetchExecutor{Executor: d.Driver.GetExecutor(), fetches: d.fetches}
}

// fetchExecutor is River's executor but for one statement. What it begins are transactions of River's own.
type fetchExecutor struct {
	riverdriver.Executor
	fetches riverdriver.Executor
}

// JobGetAvailable implements riverdriver.Executor.
func (e *fetchExecutor) JobGetAvailable(ctx context.Context, params *riverdriver.JobGetAvailableParams) (*riverdriver.JobGetAvailableResult, error) {
	return e.fetches.JobGetAvailable(ctx, params)
}
