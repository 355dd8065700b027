package worker

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

// Running jobs are looked for by a scan of the index, which marks what it finds dead, also where the planner would read the
// table or make a bitmap.
func TestProcess_looksAtRunningJobsByIndex(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	ctx := t.Context()
	_, err := pool.Exec(ctx, `
		INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at)
		SELECT 'x', 'callbacks', s, 25, '{}', CASE s WHEN 'completed' THEN now() END
		FROM unnest(ARRAY['running', 'completed']::river_job_state[]) s, generate_series(1, 3000)`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `ANALYZE river_job`)
	require.NoError(t, err)
	const running = `EXPLAIN SELECT id FROM river_job WHERE state = 'running' AND attempted_at < now()`
	plan := func(rows pgx.Rows, err error) string {
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return lines[0]
	}
	require.NotContains(t, plan(pool.Query(ctx, running)), "Index Scan using", "left to itself")
	p := &Process{Pool: pool}
	require.NoError(t, p.look(ctx, func(tx pgx.Tx) error {
		require.Contains(t, plan(tx.Query(ctx, running)), "Index Scan using")
		return nil
	}))
}
