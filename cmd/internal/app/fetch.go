package app

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/jobs"
	"onward/jobs/worker"
)

// planAge is how old the plans of a session of fetches are before they are made anew, behind a fetch, and half of how old
// they may be in any case. Planning takes longer than a fetch of one job; but a plan that was made while river_job was empty
// or not analyzed yet can be bad for what it holds a minute later.
const planAge = time.Second

// fetchSession are the statements that set up a session of fetches: as River's others, with one plan for whatever is asked for,
// which goes by the index of what is available, in its order, and finds each job by its key.
func fetchSession(role Role) []string {
	return append(
		queueSession(role), `SET plan_cache_mode = force_generic_plan`, `SET enable_sort = off`,
		`SET enable_bitmapscan = off`, `SET enable_hashjoin = off`, `SET enable_mergejoin = off`,
	)
}

// plannedAt is where a connection keeps when its plans were made, among its custom data.
const plannedAt = "onward.planned_at"

// planned reports how old the plans of a connection are; a new one has none.
func planned(conn *pgx.Conn) time.Duration {
	data := conn.PgConn().CustomData()
	at, ok := data[plannedAt].(time.Time)
	if !ok {
		at = time.Now()
		data[plannedAt] = at
	}
	return time.Since(at)
}

// renewPlans has a connection make its plans anew when they are of age, while nobody waits for it: a fetch that has to plan takes
// several times as long. For pgxpool's AfterRelease.
func renewPlans(conn *pgx.Conn) (keep bool) {
	if planned(conn) < planAge {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// What can't is closed: the next fetch opens another, or tells why it can't.
	return planAnew(ctx, conn) == nil
}

// planAnew makes the plans of all statements that a connection has prepared. EXPLAIN makes them, and runs nothing.
func planAnew(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		SELECT name, cardinality(parameter_types)
		FROM pg_prepared_statements
		WHERE cardinality(parameter_types) > 0`, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	renew := `DISCARD PLANS`
	var (
		name   string
		params int
	)
	if _, err := pgx.ForEachRow(rows, []any{&name, &params}, func() error {
		values := strings.TrimSuffix(strings.Repeat(`NULL, `, params), `, `)
		renew += `; EXPLAIN EXECUTE ` + pgx.Identifier{name}.Sanitize() + `(` + values + `)`
		return nil
	}); err != nil {
		return err
	}
	if _, err := conn.PgConn().Exec(ctx, renew).ReadAll(); err != nil {
		return err
	}
	conn.PgConn().CustomData()[plannedAt] = time.Now()
	return nil
}

// freshPlans has a connection forget plans that nobody made anew for longer. For pgxpool's PrepareConn.
func freshPlans(ctx context.Context, conn *pgx.Conn) (bool, error) {
	if planned(conn) < 2*planAge {
		return true, nil
	}
	conn.PgConn().CustomData()[plannedAt] = time.Now()
	if _, err := conn.Exec(ctx, `DISCARD PLANS`); err != nil {
		return false, nil //nolint:nilerr // a connection that can't is not used: the pool takes another, and tells what is wrong with that
	}
	return true, nil
}

// fetchDriver is River's driver with fetches on connections of their own (docs/decisions/0019), which bring the receipts of status
// callbacks along (0021), and with a statement of its own for jobs that are done (0022).
type fetchDriver struct {
	*riverpgxv5.Driver
	queue   *pgxpool.Pool
	fetches *pgxpool.Pool
	asks    *riverpgxv5.Driver // for fetches
	keep    func(worker.FetchedReceipt)
}

var _ riverdriver.Driver[pgx.Tx] = (*fetchDriver)(nil)

func newFetchDriver(queue, fetches *pgxpool.Pool, keep func(worker.FetchedReceipt)) *fetchDriver {
	return &fetchDriver{Driver: riverDriver(queue), queue: queue, fetches: fetches, asks: riverDriver(fetches), keep: keep}
}

// GetExecutor implements riverdriver.Driver.
func (d *fetchDriver) GetExecutor() riverdriver.Executor {
	return &fetchExecutor{Executor: d.Driver.GetExecutor(), driver: d}
}

// fetchExecutor is River's executor but for two statements. What it begins are transactions of River's own.
type fetchExecutor struct {
	riverdriver.Executor
	driver *fetchDriver
}

// JobGetAvailable implements riverdriver.Executor.
func (e *fetchExecutor) JobGetAvailable(ctx context.Context, params *riverdriver.JobGetAvailableParams) (*riverdriver.JobGetAvailableResult, error) {
	d := e.driver
	if params.Queue != jobs.QueueCallbacks {
		return d.asks.GetExecutor().JobGetAvailable(ctx, params)
	}
	return d.asks.UnwrapExecutor(fetchTx{pool: d.fetches, keep: d.keep}).JobGetAvailable(ctx, params)
}

// fetchTx is the transaction that River fetches in, as far as River can see: its statement goes to the pool, within another.
type fetchTx struct {
	pgx.Tx // nil: a fetch calls nothing but what is below
	pool   *pgxpool.Pool
	keep   func(worker.FetchedReceipt)
}

// largestFetched is how long a body may be that comes with its job. Status callbacks have some 500 bytes.
const largestFetched = 4 << 10

// withReceipts has a fetch bring along what a job applies. It must not fail for what stands in a job: nothing would be fetched
// any more. What it leaves out is read by its job.
func withReceipts(fetch string) string {
	return `WITH fetched AS (
` + fetch + `
		)
		SELECT f.*, w.id, w.provider, w.kind, w.query, w.body, w.dedupe_key, w.received_at
		FROM fetched f
		LEFT JOIN webhook_events w ON w.id = CASE
				WHEN f.kind = '` + jobs.StatusCallbackArgs{}.Kind() + `' AND f.attempt = 1
					AND f.args ->> 'receipt_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (f.args ->> 'receipt_id')::uuid
				END
			AND w.erased_at IS NULL
			AND length(w.body) <= ` + strconv.Itoa(largestFetched)
}

// Query asks for jobs and their receipts.
func (tx fetchTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := tx.pool.Query(ctx, withReceipts(sql), args...)
	if err != nil {
		return nil, err
	}
	return &fetchRows{Rows: rows, keep: tx.keep}, nil
}

// Conn is nil: River asks it how to write JSON, which no argument of a fetch is.
func (fetchTx) Conn() *pgx.Conn { return nil }

// fetchRows are rows of jobs, as far as River can see.
type fetchRows struct {
	pgx.Rows
	keep func(worker.FetchedReceipt)

	dest    []any
	receipt fetchedReceipt
}

// fetchedReceipt are the columns of a receipt behind those of its job; all NULL where it has none, or none that comes along.
type fetchedReceipt struct {
	id                               pgtype.UUID
	provider, kind, query, dedupeKey pgtype.Text
	body                             []byte
	receivedAt                       pgtype.Timestamptz
}

func (r *fetchedReceipt) columns() []any {
	return []any{&r.id, &r.provider, &r.kind, &r.query, &r.body, &r.dedupeKey, &r.receivedAt}
}

// Scan scans a job, and keeps its receipt.
func (r *fetchRows) Scan(dest ...any) error {
	of := &r.receipt
	r.dest = append(append(r.dest[:0], dest...), of.columns()...)
	if err := r.Rows.Scan(r.dest...); err != nil {
		return err
	}
	if job, ok := dest[0].(*int64); ok && of.id.Valid {
		r.keep(worker.FetchedReceipt{
			JobID: *job, ID: of.id.Bytes, Provider: of.provider.String, Kind: of.kind.String, Query: of.query.String, Body: of.body,
			DedupeKey: of.dedupeKey.String, ReceivedAt: of.receivedAt.Time,
		})
	}
	return nil
}
