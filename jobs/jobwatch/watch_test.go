package jobwatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs/jobwatch"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

type args struct {
	Do        string `json:"do"`
	ReceiptID string `json:"receipt_id,omitempty"`
	MessageID int64  `json:"message_id,omitempty"`
}

func (args) Kind() string { return "test" }

// bundle is a River client whose jobs do as they are told, and what the watch saw of them.
type bundle struct {
	*testing.T
	client *river.Client[pgx.Tx]
	watch  *jobwatch.Watch
	begun  chan struct{} // a job that waits has begun
	free   chan struct{} // closed: it may end

	mu   sync.Mutex
	seen []jobwatch.Attempt
	logs bytes.Buffer
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, begun: make(chan struct{}, 1), free: make(chan struct{})}
	logger := slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.watch = jobwatch.New(jobwatch.Options{Logger: logger, Capacity: map[string]int{"default": 2}, Observe: func(a jobwatch.Attempt) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, a)
	}})
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(b.work))
	client, err := river.NewClient(riverpgxv5.New(pgtest.New(t, pgtest.Schema).Pool), &river.Config{
		Logger: slog.New(slog.DiscardHandler), Queues: map[string]river.QueueConfig{"default": {MaxWorkers: 2}}, Workers: workers,
		Plugins: []rivertype.Plugin{b.watch}, FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.StopAndCancel(context.Background())) })
	b.client = client
	return b
}

// Write makes the bundle the logger's writer.
func (b *bundle) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logs.Write(p)
}

func (b *bundle) work(ctx context.Context, job *river.Job[args]) error {
	switch job.Args.Do {
	case "snooze":
		return river.JobSnooze(time.Hour)
	case "fail":
		return errors.New("no luck")
	case "cancel":
		return river.JobCancel(errors.New("never"))
	case "panic":
		panic("oh")
	case "wait":
		b.begun <- struct{}{}
		select {
		case <-b.free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *bundle) insert(a args, attempts int) {
	b.Helper()
	_, err := b.client.Insert(b.Context(), a, &river.InsertOpts{MaxAttempts: attempts})
	require.NoError(b, err)
}

// await waits for n attempts.
func (b *bundle) await(n int) []jobwatch.Attempt {
	b.Helper()
	require.Eventually(b, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.seen) >= n
	}, time.Minute, 5*time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]jobwatch.Attempt(nil), b.seen...)
}

func TestWork_namesEveryOutcome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n, c := range []struct {
		do       string
		attempts int
		want     jobwatch.Outcome
		level    string
	}{
		{"nothing", 5, jobwatch.Completed, "INFO"},
		{"snooze", 5, jobwatch.Snoozed, "DEBUG"},
		{"fail", 5, jobwatch.Failed, "WARN"},
		{"fail", 1, jobwatch.Discarded, "ERROR"},
		{"panic", 5, jobwatch.Failed, "WARN"},
		{"panic", 1, jobwatch.Discarded, "ERROR"},
		{"cancel", 5, jobwatch.Cancelled, "WARN"},
	} {
		b.insert(args{Do: c.do, ReceiptID: "r1", MessageID: 7}, c.attempts)
		seen := b.await(n + 1)
		got := seen[n]
		require.Equal(t, c.want, got.Outcome, c.do)
		require.Equal(t, []any{"test", "default", 1, "r1", int64(7)}, []any{got.Kind, got.Queue, got.Number, got.ReceiptID, got.MessageID})
		require.Less(t, got.Wait, time.Minute)

		b.mu.Lock()
		lines := strings.Split(strings.TrimSpace(b.logs.String()), "\n")
		b.mu.Unlock()
		require.Len(t, lines, n+1, "one line an attempt")
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[n]), &line))
		require.Equal(t, []any{c.level, "job", string(c.want), "r1"}, []any{line["level"], line["msg"], line["outcome"], line["receipt_id"]})
	}
}

func TestWork_countsTheBusy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.insert(args{Do: "wait"}, 5)
	<-b.begun
	require.Equal(t, map[string]jobwatch.Load{"default": {Busy: 1, Capacity: 2}}, b.watch.Loads())
	close(b.free)
	b.await(1)
	require.Equal(t, map[string]jobwatch.Load{"default": {Busy: 0, Capacity: 2}}, b.watch.Loads())
}

func TestWork_tellsAnInterruptionFromAFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.insert(args{Do: "wait"}, 1)
	<-b.begun
	require.NoError(t, b.client.StopAndCancel(t.Context()))
	require.Equal(t, jobwatch.Interrupted, b.await(1)[0].Outcome)
}

func TestWork_tellsAnOperatorsCancelFromAFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.insert(args{Do: "wait"}, 1)
	<-b.begun
	_, err := b.client.JobCancel(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, jobwatch.Cancelled, b.await(1)[0].Outcome)
}

func TestNotFetching(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Eventually(t, func() bool { return len(b.watch.NotFetching()) == 0 }, time.Minute, 5*time.Millisecond)

	now := time.Now()
	w := jobwatch.New(jobwatch.Options{Capacity: map[string]int{"a": 1, "b": 1}, Clock: func() time.Time { return now }})
	require.Equal(t, []string{"a", "b"}, w.NotFetching(), "not yet")
	fetch := func(queue string) {
		w.MetricEmit(t.Context(), &rivertype.HookMetricEmitParams{Metric: &rivertype.JobGetAvailableDurationMetric{Queue: queue}})
	}
	fetch("a")
	fetch("b")
	require.Empty(t, w.NotFetching())
	now = now.Add(time.Minute)
	fetch("b")
	require.Equal(t, []string{"a"}, w.NotFetching())
	// One whose workers are all busy looks for no more.
	busy := make(chan struct{})
	ended := make(chan struct{})
	w = jobwatch.New(jobwatch.Options{Logger: slog.New(slog.DiscardHandler), Capacity: map[string]int{"a": 1}, Clock: func() time.Time { return now }})
	go func() {
		defer close(ended)
		_ = w.Work(t.Context(), &rivertype.JobRow{Queue: "a", MaxAttempts: 1}, func(context.Context) error { busy <- struct{}{}; <-busy; return nil })
	}()
	<-busy
	require.Empty(t, w.NotFetching())
	busy <- struct{}{}
	<-ended
	require.Equal(t, []string{"a"}, w.NotFetching())
}
