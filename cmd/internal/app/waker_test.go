package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs/pipeline"
)

func TestWakeGap(t *testing.T) {
	t.Parallel()
	for perSecond, want := range map[float64]time.Duration{
		0: time.Millisecond, 200: time.Millisecond, 1000: 4 * time.Millisecond, 2000: 8 * time.Millisecond, 20_000: 8 * time.Millisecond,
	} {
		require.Equal(t, want, wakeGap(perSecond), perSecond)
	}
}

// A notification goes out with a COMMIT when it is time for one; whoever is told no asks for it, and gets it.
func TestWaker(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	listener, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer listener.Release()
	var schema string
	require.NoError(t, listener.QueryRow(t.Context(), `SELECT current_schema()`).Scan(&schema))
	_, err = listener.Exec(t.Context(), `LISTEN `+pgx.Identifier{schema + ".river_insert"}.Sanitize())
	require.NoError(t, err)
	heard := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		n, err := listener.Conn().WaitForNotification(ctx)
		require.NoError(t, err)
		return n.Payload
	}

	w := newWaker(pool, slog.New(slog.DiscardHandler))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	require.NoError(t, pipeline.Run(t.Context(), conn, pgx.TxOptions{}, pipeline.Steps{
		First: func(first *pgx.Batch) { first.Queue(`SELECT 1`) },
		After: func(after *pgx.Batch) { require.True(t, w.Along(after, []string{"callbacks"})) },
	}))
	require.JSONEq(t, `{"queue":"callbacks"}`, heard())

	w.due = time.Now().Add(time.Minute)
	var batch pgx.Batch
	require.False(t, w.Along(&batch, []string{"callbacks"}), "too soon")
	require.Zero(t, batch.Len())
	w.due = time.Time{}
	w.Wake([]string{"replies"})
	require.False(t, w.Along(&batch, []string{"callbacks"}), "another is on its way")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	defer func() { stop(); <-done }()
	require.JSONEq(t, `{"queue":"replies"}`, heard())
	require.Eventually(t, func() bool { return w.Along(&batch, []string{"callbacks"}) }, 30*time.Second, time.Millisecond, "after the pause")
}
