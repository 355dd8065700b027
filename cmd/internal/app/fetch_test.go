package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
)

// statements keeps what a connection was asked.
type statements struct{ asked []string }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.asked = append(s.asked, data.SQL)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A session of fetches plans once for whatever is asked for, and again when its plan is of age: one that was made of an empty
// table does not read all of a full one.
func TestFetchDriver_keepsItsPlanForASecond(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	queue := pgtest.New(t, pgtest.Schema).Pool
	asked := &statements{}
	config := queue.Config()
	config.MaxConns = 1
	config.ConnConfig.Tracer = asked
	config.PrepareConn = freshPlans
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
	forgotten := func() (n int) {
		for _, sql := range asked.asked {
			if sql == `DISCARD PLANS` {
				n++
			}
		}
		return n
	}

	driver := newFetchDriver(queue, fetches)
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
	var before int
	withConn(func(c *pgx.Conn) {
		c.PgConn().CustomData()[plannedAt] = time.Now().Add(-planAge)
		before = forgotten()
	})
	require.Positive(t, before)
	require.Len(t, fetch(100), 100)
	require.Equal(t, before+1, forgotten())

	withConn(func(c *pgx.Conn) {
		var name string
		var generic, custom int
		require.NoError(t, c.QueryRow(ctx, `
			SELECT name, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%locked_jobs%'`,
			pgx.QueryExecModeExec).Scan(&name, &generic, &custom))
		require.Equal(t, []int{2, 0}, []int{generic, custom})
		results, err := c.PgConn().Exec(ctx, `EXPLAIN EXECUTE `+name+` (NULL, 100, 'this', 'callbacks', NULL, 100)`).ReadAll()
		require.NoError(t, err)
		var plan strings.Builder
		for _, row := range results[0].Rows {
			plan.Write(row[0])
			plan.WriteByte('\n')
		}
		require.Contains(t, plan.String(), "Index Scan using river_job_prioritized_fetching_index")
		require.Contains(t, plan.String(), "Index Scan using river_job_pkey")
		require.NotContains(t, plan.String(), "Seq Scan")
		require.NotContains(t, plan.String(), "Sort")
	})
}
