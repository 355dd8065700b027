package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The least time between two notifications of one process. A burst of commits wakes the workers at its start and at its
// end; while commits follow each other without a pause, workers are busy, and each wake-up costs a transaction here and a
// fetch there.
const (
	wakeGap     = 1 * time.Millisecond
	wakeGapBusy = 3 * time.Millisecond
)

// waker tells workers of new jobs after the commit that made them. River's own notification is throttled at
// the leading edge: a job inserted just after another waits for the next insert, or for the poll a second
// later. This one is sent at the trailing edge, on a connection of the pool, and so is never lost but with it;
// the poll is what remains then.
type waker struct {
	pool   *pgxpool.Pool
	logger *slog.Logger

	mu      sync.Mutex
	pending map[string]struct{}
	signal  chan struct{}
}

func newWaker(pool *pgxpool.Pool, logger *slog.Logger) *waker {
	return &waker{pool: pool, logger: logger, pending: map[string]struct{}{}, signal: make(chan struct{}, 1)}
}

// Wake asks for a notification. It never blocks.
func (w *waker) Wake(queues []string) {
	w.mu.Lock()
	for _, q := range queues {
		w.pending[q] = struct{}{}
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// run sends what was asked for until ctx ends.
func (w *waker) run(ctx context.Context) {
	gap := time.NewTimer(0)
	defer gap.Stop()
	<-gap.C
	wait := wakeGap
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
		}
		w.notify(ctx)
		gap.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-gap.C:
		}
		if wait = wakeGap; len(w.signal) > 0 {
			wait = wakeGapBusy
		}
	}
}

func (w *waker) notify(ctx context.Context) {
	w.mu.Lock()
	payloads := make([]string, 0, len(w.pending))
	for q := range w.pending {
		// Marshalling a map of strings can't fail.
		b, _ := json.Marshal(map[string]string{"queue": q})
		payloads = append(payloads, string(b))
	}
	clear(w.pending)
	w.mu.Unlock()
	if len(payloads) == 0 {
		return
	}
	// River listens on SCHEMA.river_insert. A notification is lost with the server anyway, so its commit need not wait for
	// the disk; the setting ends with the statement's transaction.
	_, err := w.pool.Exec(ctx, `
		SELECT pg_notify(current_schema() || '.river_insert', p)
		FROM unnest($1::text[]) AS p, set_config('synchronous_commit', 'off', true)`, payloads)
	if err != nil && ctx.Err() == nil {
		w.logger.WarnContext(ctx, "wake workers: they find the jobs by polling, a second later", "error", err)
	}
}
