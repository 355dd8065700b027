package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/jobs/worker"
)

// statements keeps what a connection was asked.
type statements struct{ asked []string }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.asked = append(s.asked, data.SQL)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A session of fetches plans once for whatever is asked for, and again when its plan is of age: one that was made of an empty
// table does not read all of a full one. It does so behind a fetch, or before the next where nobody came by for longer.
func TestFetchDriver_keepsItsPlanForASecond(t *testing.T) {
	t.Parallel()
	for when, c := range map[string]struct {
		age       time.Duration
		release   func(*pgx.Conn) bool
		forgotten int // before a fetch
		planned   int // by the two fetches, and between them; more on a machine that takes seconds for a statement
	}{
		"not yet": {-time.Hour, renewPlans, 0, 2},
		"behind":  {planAge, renewPlans, 0, 3},
		"before":  {2 * planAge, nil, 1, 2},
	} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			queue := pgtest.New(t, pgtest.Schema).Pool
			asked := &statements{}
			config := queue.Config()
			config.MaxConns = 1
			config.ConnConfig.Tracer = asked
			config.PrepareConn = freshPlans
			config.AfterRelease = c.release
			after := config.AfterConnect
			config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
				if after != nil {
					if err := after(ctx, conn); err != nil {
						return err
					}
				}
				_, err := conn.Exec(ctx, strings.Join(fetchSession(RoleWorker), ";"))
				return err
			}
			fetches, err := pgxpool.NewWithConfig(ctx, config)
			require.NoError(t, err)
			defer fetches.Close()

			driver := newFetchDriver(queue, fetches, func(worker.FetchedReceipt) {})
			fetch := func(most int) []int64 {
				r, err := driver.GetExecutor().JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
					ClientID: "this", MaxAttemptedBy: 100, MaxToLock: most, Queue: jobs.QueueCallbacks, Schema: "",
				})
				require.NoError(t, err)
				ids := make([]int64, 0, len(r.Jobs))
				for _, j := range r.Jobs {
					ids = append(ids, j.ID)
				}
				return ids
			}
			withConn := func(fn func(*pgx.Conn)) {
				conn, err := fetches.Acquire(ctx)
				require.NoError(t, err)
				defer conn.Release()
				fn(conn.Conn())
			}
			require.Empty(t, fetch(10))
			_, err = queue.Exec(ctx, `
				INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at)
				SELECT 'x', 'callbacks', s, 25, '{}', CASE s WHEN 'completed' THEN now() END
				FROM generate_series(1, 5000) i, unnest(ARRAY['completed', 'available']::river_job_state[]) s`)
			require.NoError(t, err)
			withConn(func(conn *pgx.Conn) { conn.PgConn().CustomData()[plannedAt] = time.Now().Add(-c.age) })
			require.Len(t, fetch(100), 100)

			withConn(func(conn *pgx.Conn) {
				forgotten := 0
				for _, sql := range asked.asked {
					if sql == `DISCARD PLANS` {
						forgotten++
					}
				}
				require.GreaterOrEqual(t, forgotten, c.forgotten)
				var name string
				var generic, custom int
				require.NoError(t, conn.QueryRow(ctx, `
					SELECT name, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%locked_jobs%'`,
					pgx.QueryExecModeExec).Scan(&name, &generic, &custom))
				require.Zero(t, custom)
				require.GreaterOrEqual(t, generic, c.planned)
				if c.age < 0 {
					require.Zero(t, forgotten)
					require.Equal(t, c.planned, generic)
					return
				}
				results, err := conn.PgConn().Exec(ctx, `EXPLAIN EXECUTE `+name+` (NULL, 100, 'this', 'callbacks', NULL, 100)`).ReadAll()
				require.NoError(t, err)
				var plan strings.Builder
				for _, row := range results[0].Rows {
					plan.Write(row[0])
					plan.WriteByte('\n')
				}
				require.Contains(t, plan.String(), "Index Scan using river_job_prioritized_fetching_index")
				require.Contains(t, plan.String(), "Index Scan using river_job_pkey")
				require.Contains(t, plan.String(), "Index Scan using webhook_events_default_pkey")
				require.NotContains(t, plan.String(), "Seq Scan")
				require.NotContains(t, plan.String(), "Sort")
			})
		})
	}
}

// A fetch brings along what status callbacks apply, and nothing that stands in a job or receipt keeps it from fetching.
func TestFetchDriver_bringsReceipts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.New(t, pgtest.Schema).Pool
	receipt := func(body string) string {
		id := uuid.Must(uuid.NewV7()).String()
		_, err := pool.Exec(ctx, `
			INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, received_at)
			VALUES ($1::uuid, 'twilio', 'status', 'message=1', '{}', $2, $1::uuid::text, '2026-11-30 12:00:00.123456+00')`, id, []byte(body))
		require.NoError(t, err)
		return id
	}
	job := func(kind, args string, attempt int) (id int64) {
		require.NoError(t, pool.QueryRow(ctx, `
			INSERT INTO river_job (kind, queue, state, max_attempts, args, attempt)
			VALUES ($1, 'callbacks', 'available', 25, $2, $3)
			RETURNING id`, kind, args, attempt).Scan(&id))
		return id
	}
	of := func(id string) string { return `{"receipt_id": "` + id + `"}` }
	callback := jobs.StatusCallbackArgs{}.Kind()
	plain, erased, long := receipt("MessageSid=SM1"), receipt("gone"), receipt(strings.Repeat("x", largestFetched+1))
	_, err := pool.Exec(ctx, `UPDATE webhook_events SET erased_at = now() WHERE id = $1`, erased)
	require.NoError(t, err)
	comes := job(callback, of(plain), 0)
	all := []int64{
		comes,
		job(callback, of(erased), 0),
		job(callback, of(long), 0),
		job(callback, of(plain), 1), // its second attempt goes alone
		job(callback, of(uuid.NewString()), 0),
		job(callback, of("no id"), 0),
		job(callback, of(plain[:35]), 0),
		job(callback, `{"receipt_id": 1}`, 0),
		job(callback, `{"receipt_id": null}`, 0),
		job(callback, `{}`, 0),
		job(callback, `[]`, 0),
		job(callback, `7`, 0),
		job(jobs.EmailEventArgs{}.Kind(), of(plain), 0),
	}

	var kept []worker.FetchedReceipt
	driver := newFetchDriver(pool, pool, func(r worker.FetchedReceipt) { kept = append(kept, r) })
	got, err := driver.GetExecutor().JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
		ClientID: "this", MaxAttemptedBy: 100, MaxToLock: 100, Queue: jobs.QueueCallbacks,
	})
	require.NoError(t, err)
	var fetched []int64
	for _, j := range got.Jobs {
		fetched = append(fetched, j.ID)
		require.Equal(t, rivertype.JobStateRunning, j.State)
		require.Equal(t, []string{"this"}, j.AttemptedBy)
	}
	require.ElementsMatch(t, all, fetched)
	require.Len(t, kept, 1)
	require.True(t, kept[0].ReceivedAt.Equal(time.Date(2026, 11, 30, 12, 0, 0, 123456000, time.UTC)))
	kept[0].ReceivedAt = time.Time{}
	require.Equal(t, worker.FetchedReceipt{
		JobID: comes, ID: uuid.MustParse(plain), Provider: "twilio", Kind: "status", Query: "message=1", Body: []byte("MessageSid=SM1"), DedupeKey: plain,
	}, kept[0])
}
