package jobadmin_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs/jobadmin"
)

// What is put back in bulk looks as if River had put it back: what River's own code relies on.
func TestRun_leavesAJobAsRiversRetryDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, state := range []string{"discarded", "cancelled", "completed", "retryable", "scheduled"} {
		ours, theirs := b.job("reply", "inbound", state, `{}`, "x"), b.job("reply", "inbound", state, `{}`, "x")
		_, err := b.pool.Exec(b.ctx, `
			UPDATE river_job SET metadata = '{"cancel_attempted_at": "2026-01-01T00:00:00Z", "kept": 1}', scheduled_at = now() + interval '1 hour' WHERE id IN ($1, $2)`, ours, theirs)
		require.NoError(t, err)
		r := b.run(jobadmin.Drip{Verb: jobadmin.Retry, Filter: jobadmin.Filter{IDs: []int64{ours}, States: []string{state}}})
		require.Equal(t, 1, r.Done)
		want, err := b.client.JobRetry(b.ctx, theirs)
		require.NoError(t, err)
		got, err := b.client.JobGet(b.ctx, ours)
		require.NoError(t, err)
		require.WithinDuration(t, want.ScheduledAt, got.ScheduledAt, 10*time.Second)
		require.Contains(t, string(got.Metadata), `"onward_action": `)
		comparable := func(j *rivertype.JobRow) rivertype.JobRow {
			c := *j
			c.ID, c.ScheduledAt, c.Metadata, c.CreatedAt, c.AttemptedAt, c.Errors = 0, time.Time{}, nil, time.Time{}, nil, nil
			return c
		}
		require.Equal(t, comparable(want), comparable(got), state)
		require.NotContains(t, string(got.Metadata), "cancel_attempted_at")
		require.Contains(t, string(got.Metadata), "kept")
	}
}

func TestRun_refusesASendThatIsNotResolved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	unknown, message := b.send("unknown")
	held, _ := b.send("held")
	queued, _ := b.send("queued")
	filter := jobadmin.Filter{States: []string{"discarded"}}

	dry, err := jobadmin.Drip{Verb: jobadmin.Retry, Filter: filter}.Dry(b.ctx, b.pool)
	require.NoError(t, err)
	require.Equal(t, []int{3, 2}, []int{dry.Matched, dry.Refused})
	require.Equal(t, "discarded", b.state(queued), "a dry run changes nothing")

	r := b.run(jobadmin.Drip{Verb: jobadmin.Retry, Filter: filter})
	require.Equal(t, []int{3, 1, 2}, []int{r.Matched, r.Done, r.Refused})
	require.Equal(t, jobadmin.UnresolvedSend, r.Refusal[0].Code)
	require.Contains(t, r.Refusal[0].Detail, "/api/v1/messages/"+message.String()+"/resolve")
	require.Equal(t, []string{"discarded", "discarded", "available"}, []string{b.state(unknown), b.state(held), b.state(queued)})

	// Resolved, it goes.
	_, err = b.pool.Exec(b.ctx, `UPDATE messages SET state = 'queued'`)
	require.NoError(t, err)
	require.Equal(t, 2, b.run(jobadmin.Drip{Verb: jobadmin.Retry, Filter: filter}).Done)
	require.Equal(t, "available", b.state(unknown))
}

type uniqueArgs struct {
	N int `json:"n"`
}

func (uniqueArgs) Kind() string { return "unique" }

func (uniqueArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

func TestRun_saysThatANewerJobStandsIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	insert := func(n int) int64 {
		res, err := b.client.Insert(b.ctx, uniqueArgs{N: n}, nil)
		require.NoError(t, err)
		require.False(t, res.UniqueSkippedAsDuplicate)
		return res.Job.ID
	}
	discard := func(id int64) {
		_, err := b.pool.Exec(b.ctx, `UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = 25 WHERE id = $1`, id)
		require.NoError(t, err)
	}
	old := insert(1)
	discard(old)
	newer := insert(1)
	// Two that failed: only one of them can come back.
	twin := insert(2)
	discard(twin)
	twin2 := insert(2)
	discard(twin2)

	r := b.run(jobadmin.Drip{Verb: jobadmin.Retry, Filter: jobadmin.Filter{Kinds: []string{"unique"}}})
	require.Equal(t, []int{3, 1, 2}, []int{r.Matched, r.Done, r.Refused})
	details := map[int64]jobadmin.Refusal{}
	for _, f := range r.Refusal {
		details[f.JobID] = f
	}
	require.Equal(t, jobadmin.NewerJob, details[old].Code)
	require.Contains(t, details[old].Detail, "job "+itoa(newer)+" (available)")
	require.Contains(t, details[twin].Detail, "job "+itoa(twin2))
	require.Equal(t, []string{"discarded", "discarded", "available"}, []string{b.state(old), b.state(twin), b.state(twin2)})
}

func TestRun_dripsAndTellsWhoAndWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 100
	for range n {
		b.job("reply", "inbound", "discarded", `{}`, "x")
	}
	var progress []int64
	begun := time.Now()
	r := b.run(jobadmin.Drip{
		Verb: jobadmin.Retry, Filter: jobadmin.Filter{Kinds: []string{"reply"}}, PerSecond: 50,
		Operator: jobadmin.Operator{Actor: "ann", Reason: "the table is back"},
		Progress: func(done, total int64) { progress = append(progress, done); require.EqualValues(t, n, total) },
	})
	require.GreaterOrEqual(t, time.Since(begun), 1950*time.Millisecond, "99 of 100 at 50 a second")
	require.Equal(t, n, r.Done)
	require.Equal(t, []string{"inbound"}, r.Queues)
	require.Greater(t, len(progress), 3)
	require.EqualValues(t, n, progress[len(progress)-1])
	var actor, action, target, reason string
	var matched, done, named int
	require.NoError(t, b.pool.QueryRow(b.ctx, `
		SELECT actor, action, target_id, reason, (details ->> 'matched')::int, (details ->> 'done')::int,
			(SELECT count(*) FROM river_job WHERE (metadata ->> 'onward_action')::bigint = a.id)
		FROM operator_actions a`).Scan(&actor, &action, &target, &reason, &matched, &done, &named))
	require.Equal(t, []string{"ann", "jobs.retry", "kind=reply state=retryable,discarded", "the table is back"}, []string{actor, action, target, reason})
	require.Equal(t, []int{n, n, n}, []int{matched, done, named})
}

// Stopped in the middle, it says how far it got, and the log says so, too.
func TestRun_stopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 300 // a machine that was stalled catches up by 200 at once
	for range n {
		b.job("reply", "inbound", "discarded", `{}`, "x")
	}
	ctx, cancel := context.WithCancel(b.ctx)
	d := jobadmin.Drip{
		Verb: jobadmin.Retry, Filter: jobadmin.Filter{Kinds: []string{"reply"}}, PerSecond: 10, Operator: jobadmin.Operator{Actor: "ann", Reason: "x"},
		Progress: func(done, _ int64) {
			if done >= 3 {
				cancel()
			}
		},
	}
	r, err := d.Run(ctx, b.pool, b.client)
	require.ErrorIs(t, err, jobadmin.ErrStopped)
	require.Less(t, r.Done, n)
	var done int
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT (details ->> 'done')::int FROM operator_actions`).Scan(&done))
	require.Equal(t, r.Done, done)
}

func TestApply_spreads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []int64
	for range 20 {
		ids = append(ids, b.job("reply", "inbound", "discarded", `{}`, "x"))
	}
	require.NoError(t, pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
		_, err := jobadmin.Apply(b.ctx, tx, b.client, jobadmin.Retry, 1, ids, time.Second, 0)
		return err
	}))
	var available, scheduled int
	var span float64
	require.NoError(t, b.pool.QueryRow(b.ctx, `
		SELECT count(*) FILTER (WHERE state = 'available'), count(*) FILTER (WHERE state = 'scheduled'),
			extract(epoch FROM max(scheduled_at) - min(scheduled_at))
		FROM river_job`).Scan(&available, &scheduled, &span))
	require.Equal(t, []int{6, 14}, []int{available, scheduled})
	require.InDelta(t, 19, span, 0.001)
}

func TestRun_cancels(t *testing.T) {
	t.Parallel()
	b := setup(t)
	waiting := b.job("reply", "inbound", "retryable", `{}`, "x")
	running := b.job("reply", "inbound", "running", `{}`, "")
	done := b.job("reply", "inbound", "completed", `{}`, "")
	r := b.run(jobadmin.Drip{Verb: jobadmin.Cancel, Filter: jobadmin.Filter{Kinds: []string{"reply"}}})
	require.Equal(t, []int{2, 2, 0}, []int{r.Matched, r.Done, r.Refused})
	require.Equal(t, []string{"cancelled", "running", "completed"}, []string{b.state(waiting), b.state(running), b.state(done)})
	var asked bool
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT metadata ? 'cancel_attempted_at' FROM river_job WHERE id = $1`, running).Scan(&asked))
	require.True(t, asked, "its worker is asked to stop")
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	_, err := jobadmin.Retry.Prepare(jobadmin.Filter{})
	require.ErrorContains(t, err, "is empty")
	_, err = jobadmin.Retry.Prepare(jobadmin.Filter{States: []string{"running"}})
	require.ErrorContains(t, err, "a job that is running cannot be retried")
	_, err = jobadmin.Cancel.Prepare(jobadmin.Filter{States: []string{"completed"}})
	require.ErrorContains(t, err, "a job that is completed cannot be cancelled")
	f, err := jobadmin.Retry.Prepare(jobadmin.Filter{Kinds: []string{"send"}})
	require.NoError(t, err)
	require.Equal(t, []string{"retryable", "discarded"}, f.States)
}
