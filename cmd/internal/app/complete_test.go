package app

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs/worker"
)

// batch is what River's completer asks for.
func batch(list ...riverdriver.JobSetStateIfRunningParams) *riverdriver.JobSetStateIfRunningManyParams {
	p := &riverdriver.JobSetStateIfRunningManyParams{}
	for _, j := range list {
		p.ID = append(p.ID, j.ID)
		p.Attempt = append(p.Attempt, j.Attempt)
		p.ErrData = append(p.ErrData, j.ErrData)
		p.FinalizedAt = append(p.FinalizedAt, j.FinalizedAt)
		p.MetadataDoMerge = append(p.MetadataDoMerge, j.MetadataDoMerge)
		p.MetadataUpdates = append(p.MetadataUpdates, j.MetadataUpdates)
		p.ScheduledAt = append(p.ScheduledAt, j.ScheduledAt)
		p.State = append(p.State, j.State)
	}
	return p
}

// A batch of all that may become of a job, and of jobs that are not running any more: rows are as River's own driver leaves them,
// and a completed job is told of by its id, its state and when.
func TestFetchDriver_completesAsRiver(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.New(t, pgtest.Schema).Pool
	at := time.Date(2026, 11, 30, 12, 0, 0, 123456000, time.UTC)
	later := at.Add(time.Hour)
	states := []string{"running", "running", "running", "running", "running", "running", "cancelled", "available", "completed", "running"}
	jobs := func() (ids []int64) {
		rows, err := pool.Query(ctx, `
			INSERT INTO river_job (kind, queue, state, max_attempts, args, attempt, attempted_at, attempted_by, metadata, created_at, scheduled_at, finalized_at)
			SELECT 'x', 'callbacks', s::river_job_state, 25, '{"n": 1}', 1, $2::timestamptz, ARRAY['this'],
				CASE n WHEN 4 THEN '{"cancel_attempted_at": "2026-11-30T12:00:00Z"}'::jsonb ELSE '{}' END, $2, $2,
				CASE WHEN s IN ('cancelled', 'completed') THEN $2 END
			FROM unnest($1::text[]) WITH ORDINALITY AS u (s, n)
			ORDER BY n
			RETURNING id`, states, at.Add(-time.Minute))
		require.NoError(t, err)
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		require.NoError(t, err)
		return ids
	}
	params := func(ids []int64) *riverdriver.JobSetStateIfRunningManyParams {
		p := batch(
			*riverdriver.JobSetStateCompleted(ids[1], at, nil), // not in the order of ids
			*riverdriver.JobSetStateCompleted(ids[0], at, nil),
			*riverdriver.JobSetStateCompleted(ids[2], at, []byte(`{"output": 7}`)),
			*riverdriver.JobSetStateErrorRetryable(ids[3], later, []byte(`{"error": "oops"}`), nil), // which somebody cancelled
			*riverdriver.JobSetStateErrorRetryable(ids[4], later, []byte(`{"error": "oops"}`), nil),
			*riverdriver.JobSetStateDiscarded(ids[5], at, []byte(`{"error": "oops"}`), nil),
			*riverdriver.JobSetStateCompleted(ids[6], at, nil),
			*riverdriver.JobSetStateCompleted(ids[7], at, nil),
			*riverdriver.JobSetStateCompleted(ids[8], at, nil),
			*riverdriver.JobSetStateCompleted(ids[9], at, nil),
		)
		p.Now = &at
		return p
	}
	stored := func(ids []int64) []string {
		rows, err := pool.Query(ctx, `
			SELECT (to_jsonb(j) - 'id' - 'finalized_at')::text || COALESCE(j.finalized_at, 'epoch')::text
			FROM river_job j
			WHERE id = ANY($1)
			ORDER BY id`, ids)
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return list
	}

	rivers := jobs()
	_, err := riverDriver(pool).GetExecutor().JobSetStateIfRunningMany(ctx, params(rivers))
	require.NoError(t, err)

	ours := jobs()
	executor := newFetchDriver(pool, pool, func(worker.FetchedReceipt) {}).GetExecutor()
	told, err := executor.JobSetStateIfRunningMany(ctx, params(ours))
	require.NoError(t, err)
	require.Equal(t, stored(rivers), stored(ours))
	is := map[int64]rivertype.JobState{}
	for _, j := range told {
		is[j.ID] = j.State
		if j.State == rivertype.JobStateCompleted && j.ID != ours[2] {
			require.True(t, j.FinalizedAt.Equal(at))
		}
	}
	require.Equal(t, map[int64]rivertype.JobState{
		ours[0]: rivertype.JobStateCompleted, ours[1]: rivertype.JobStateCompleted, ours[2]: rivertype.JobStateCompleted,
		ours[3]: rivertype.JobStateCancelled, ours[4]: rivertype.JobStateRetryable, ours[5]: rivertype.JobStateDiscarded,
		ours[9]: rivertype.JobStateCompleted,
	}, is)

	// A batch that is tried again, since nobody knows what became of it, changes nothing.
	before := stored(ours)
	_, err = executor.JobSetStateIfRunningMany(ctx, params(ours))
	require.NoError(t, err)
	after := stored(ours)
	require.Equal(t, before[:2], after[:2])
	require.Equal(t, before[6:], after[6:])

	// With nothing but completed jobs, and with none.
	_, err = executor.JobSetStateIfRunningMany(ctx, batch(*riverdriver.JobSetStateCompleted(jobs()[0], at, nil)))
	require.NoError(t, err)
	none, err := executor.JobSetStateIfRunningMany(ctx, batch())
	require.NoError(t, err)
	require.Empty(t, none)
}

// What River does not try again it must still recognize.
func TestFetchDriver_completionErrors(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	config := pool.Config()
	closed, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	closed.Close()
	executor := newFetchDriver(closed, pool, func(worker.FetchedReceipt) {}).GetExecutor()
	_, ours := executor.JobSetStateIfRunningMany(t.Context(), batch(*riverdriver.JobSetStateCompleted(1, time.Now(), nil)))
	require.ErrorIs(t, ours, riverdriver.ErrClosedPool)
}

// Whatever the statistics say of jobs that are running, they are found by their keys.
func TestFetchDriver_completesByKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.New(t, pgtest.Schema).Pool
	insert := func(state string, n int) {
		_, err := pool.Exec(ctx, `
			INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at)
			SELECT 'x', 'callbacks', $1::river_job_state, 25, '{}', CASE $1 WHEN 'completed' THEN now() END
			FROM generate_series(1, $2)`, state, n)
		require.NoError(t, err)
	}
	plan := func() string {
		conn, err := pool.Acquire(ctx)
		require.NoError(t, err)
		defer conn.Release()
		_, err = conn.Exec(ctx, strings.Join(QueueSession(), ";"))
		require.NoError(t, err)
		ids := make([]string, completedAtOnce)
		for n := range ids {
			ids[n] = strconv.Itoa(20_000 + n)
		}
		list := "'{" + strings.Join(ids, ",") + "}'"
		sql := strings.NewReplacer("$1", list, "$2", "'{}'").Replace(completeJobs)
		rows, err := conn.Query(ctx, `EXPLAIN `+sql)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	require.Contains(t, plan(), "Index Cond: (id = ANY", "of an empty table")
	insert("completed", 20_000)
	_, err := pool.Exec(ctx, `ANALYZE river_job`)
	require.NoError(t, err)
	insert("running", 1_000)
	for range 2 {
		require.Contains(t, plan(), "Index Scan using river_job_pkey")
		require.Contains(t, plan(), "Index Cond: (id = ANY")
		_, err = pool.Exec(ctx, `ANALYZE river_job`)
		require.NoError(t, err)
	}

	// More than one statement's: each with its own time.
	rows, err := pool.Query(ctx, `SELECT id FROM river_job WHERE state = 'running'`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	require.Greater(t, len(ids), completedAtOnce)
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	var done []riverdriver.JobSetStateIfRunningParams
	for _, id := range ids {
		done = append(done, *riverdriver.JobSetStateCompleted(id, at.Add(time.Duration(id)*time.Second), nil))
	}
	told, err := newFetchDriver(pool, pool, func(worker.FetchedReceipt) {}).GetExecutor().JobSetStateIfRunningMany(ctx, batch(done...))
	require.NoError(t, err)
	require.Len(t, told, len(ids))
	for _, j := range told {
		require.True(t, j.FinalizedAt.Equal(at.Add(time.Duration(j.ID)*time.Second)))
	}
	var n int
	require.NoError(t, pool.QueryRow(ctx, `
		SELECT count(*) FROM river_job WHERE state = 'completed' AND finalized_at = $1::timestamptz + id * interval '1 second'`, at).Scan(&n))
	require.Equal(t, len(ids), n)
}
