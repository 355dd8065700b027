package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The time between two notifications of one process grows with the rate of receipts, from 1 ms to 20 ms at 3,000 a second.
// Each wake-up costs a transaction here, and a fetch and a group's transaction there: when much arrives, fewer and larger
// groups are worth more than the wait, and the more so from 2,000 a second on, when both cores of a small machine are full.
const (
	minWakeGap    = 1 * time.Millisecond
	maxWakeGap    = 20 * time.Millisecond
	wakeGapAtOne  = 4 * time.Microsecond  // for each receipt a second
	wakeGapMany   = 2000                  // receipts a second
	wakeGapBeyond = 12 * time.Microsecond // for each above wakeGapMany
)

// wakeGap is the pause after a notification, at so many receipts a second.
func wakeGap(perSecond float64) time.Duration {
	gap := min(perSecond, wakeGapMany)*float64(wakeGapAtOne) + max(perSecond-wakeGapMany, 0)*float64(wakeGapBeyond)
	return time.Duration(min(max(gap, float64(minWakeGap)), float64(maxWakeGap)))
}

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
	arrived atomic.Int64 // receipts since the last notification
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

// Committed tells how many receipts a commit held.
func (w *waker) Committed(receipts int) { w.arrived.Add(int64(receipts)) }

// run sends what was asked for until ctx ends.
func (w *waker) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	perSecond, last, gap := 0.0, time.Now(), time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
		}
		// Not before somebody asks: a timer wakes the process up, and at low rates the gap is over by then.
		if rest := gap - time.Since(last); rest > 0 {
			pause.Reset(rest)
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
		}
		w.notify(ctx)
		now := time.Now()
		took := max(now.Sub(last), minWakeGap) // never 0, whatever the clock
		perSecond = (perSecond + float64(w.arrived.Swap(0))/took.Seconds()) / 2
		last, gap = now, wakeGap(perSecond)
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
