package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertest"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// verifyOnce works the job as River would and returns what the observer was told, what was logged, and the job's output.
func verifyOnce(t *testing.T, o Options) (seen []Verified, log, output string, err error) {
	t.Helper()
	var buffer bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&buffer, nil))
	o.Observer.Verified = func(v Verified) { seen = append(seen, v) }
	worker := rivertest.NewWorker(t, riverpgxv5.New(o.Pool), &river.Config{Logger: slog.New(slog.DiscardHandler)}, &verifier{Options: o})
	tx, err := o.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) }()
	res, err := worker.Work(t.Context(), t, tx, jobs.VerifySampleArgs{}, nil)
	if err == nil {
		output = string(res.Job.Output())
	}
	return seen, buffer.String(), output, err
}

func TestVerifySample_tellsOfDriftAndViolations(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	ctx := t.Context()
	_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 50, Facts: 300})
	require.NoError(t, err)
	now := time.Now()
	o := Options{Pool: pool, Clock: func() time.Time { return now }}

	seen, log, _, err := verifyOnce(t, o)
	require.NoError(t, err)
	require.Empty(t, log)
	require.Len(t, seen, 1)
	require.Equal(t, 50, seen[0].Businesses)
	require.Zero(t, seen[0].Drifted)
	require.Equal(t, now, seen[0].At)
	require.Len(t, seen[0].Violations, len(Invariants()))
	for _, name := range Invariants() {
		n, ok := seen[0].Violations[name]
		require.True(t, ok, name)
		require.Zero(t, n, name)
	}

	_, err = pool.Exec(ctx, `UPDATE businesses SET ticket_status = CASE ticket_status WHEN 'open' THEN 'closed' ELSE 'open' END WHERE id IN (7, 8)`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('email', 'a@x.example', 'stop', 'import'), ('email', 'A@x.example', 'stop', 'import')`)
	require.NoError(t, err)
	seen, log, output, err := verifyOnce(t, o)
	require.NoError(t, err)
	require.Equal(t, 2, seen[0].Drifted)
	require.Equal(t, 1, seen[0].Violations[string(pgstore.SuppressionConflict)])
	require.Contains(t, log, "axis=ticket field=status")
	require.Contains(t, log, "invariant=suppression_conflict count=1")
	require.NotContains(t, strings.ToLower(log), "a@x.example")
	var told Verified
	require.NoError(t, json.Unmarshal([]byte(output), &told))
	require.Equal(t, 2, told.Drifted)
	require.Equal(t, seen[0].Violations, told.Violations)
	var status string
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*)::text FROM operator_actions`).Scan(&status))
	require.Equal(t, "0", status, "a look repairs nothing")
}

// What could not be checked is not reported as sound: the gauges keep what was seen last.
func TestVerifySample_whatCannotBeChecked(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	_, err := pgstore.Generate(t.Context(), pool, pgstore.GenerateOptions{Businesses: 3, Facts: 9})
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `ALTER TABLE dispatches RENAME TO gone`)
	require.NoError(t, err)
	seen, _, _, err := verifyOnce(t, Options{Pool: pool, Clock: time.Now})
	require.ErrorContains(t, err, "dispatch_stuck")
	require.Len(t, seen, 1)
	require.NotContains(t, seen[0].Violations, string(pgstore.DispatchStuck))
	require.Contains(t, seen[0].Violations, string(pgstore.ReceiptLost))

	_, err = pool.Exec(t.Context(), `ALTER TABLE facts RENAME TO gone_too`)
	require.NoError(t, err)
	seen, _, _, err = verifyOnce(t, Options{Pool: pool, Clock: time.Now})
	require.ErrorContains(t, err, "verify a sample")
	require.Empty(t, seen)
}

// One look at a time: while one waits or runs, another is not enqueued.
func TestVerifySample_oneAtATime(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_ = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := client.InsertTx(t.Context(), tx, jobs.VerifySampleArgs{}, nil)
				return err
			})
		})
	}
	wg.Wait()
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job`).Scan(&n))
	require.Equal(t, 1, n)
	_, err = pool.Exec(t.Context(), `UPDATE river_job SET state = 'completed', finalized_at = now()`)
	require.NoError(t, err)
	_, err = client.Insert(t.Context(), jobs.VerifySampleArgs{}, nil)
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job`).Scan(&n))
	require.Equal(t, 2, n)
}
