package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The time between two notifications of one process grows with the rate of receipts, from 1 ms to 8 ms at 2,000 a second.
// Each wake-up costs a transaction here, and a fetch and a group's transaction there: when much arrives, fewer and larger
// groups are worth more than the wait. Batches that the inbox begins 10 ms apart are notified of at once.
const (
	minWakeGap   = 1 * time.Millisecond
	maxWakeGap   = 8 * time.Millisecond
	wakeGapAtOne = 4 * time.Microsecond // for each receipt a second
)

// wakeGap is the pause after a notification, at so many receipts a second.
func wakeGap(perSecond float64) time.Duration {
	return time.Duration(min(max(perSecond*float64(wakeGapAtOne), float64(minWakeGap)), float64(maxWakeGap)))
}

// waker tells workers of new jobs after the commit that made them. River's own notification is throttled at
// the leading edge: a job inserted just after another waits for the next insert, or for the poll a second
// later. This one is sent behind the COMMIT where one is due, and else at the trailing edge, on a connection of the pool. It is
// never lost but with that; the poll is what remains then.
type waker struct {
	pool   *pgxpool.Pool
	logger *slog.Logger
	signal chan struct{}

	mu        sync.Mutex
	pending   map[string]struct{}
	last, due time.Time    // the last notification, and when another may be sent
	perSecond float64      // receipts
	arrived   atomic.Int64 // receipts since the last notification
}

func newWaker(pool *pgxpool.Pool, logger *slog.Logger) *waker {
	return &waker{pool: pool, logger: logger, pending: map[string]struct{}{}, signal: make(chan struct{}, 1), last: time.Now()}
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

// Along queues a notification, as its last statement, if it is time for one.
func (w *waker) Along(after *pgx.Batch, queues []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.due) || len(w.pending) > 0 {
		return false
	}
	w.notified(now)
	after.Queue(notify, payloads(queues))
	return true
}

// Committed tells how many receipts a commit held.
func (w *waker) Committed(receipts int) { w.arrived.Add(int64(receipts)) }

// notified begins the pause after a notification. The waker is locked.
func (w *waker) notified(now time.Time) {
	took := max(now.Sub(w.last), minWakeGap) // never 0, whatever the clock
	w.perSecond = (w.perSecond + float64(w.arrived.Swap(0))/took.Seconds()) / 2
	w.last, w.due = now, now.Add(wakeGap(w.perSecond))
}

// pause is how long until another notification may be sent.
func (w *waker) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Until(w.due)
}

// run sends what was asked for until ctx ends.
func (w *waker) run(ctx context.Context) {
	gap := time.NewTimer(0)
	defer gap.Stop()
	<-gap.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
		}
		gap.Reset(w.pause())
		select {
		case <-ctx.Done():
			return
		case <-gap.C:
		}
		w.notify(ctx)
	}
}

// notify is what wakes workers: River listens on SCHEMA.river_insert. A notification is lost with the server anyway, so its
// commit need not wait for the disk; the setting ends with the statement's transaction.
const notify = `
	SELECT pg_notify(current_schema() || '.river_insert', p)
	FROM unnest($1::text[]) AS p, set_config('synchronous_commit', 'off', true)`

// payloads are River's, of notifications about queues.
func payloads(queues []string) []string {
	list := make([]string, len(queues))
	for n, q := range queues {
		// Marshalling a map of strings can't fail.
		b, _ := json.Marshal(map[string]string{"queue": q})
		list[n] = string(b)
	}
	return list
}

func (w *waker) notify(ctx context.Context) {
	w.mu.Lock()
	queues := slices.Collect(maps.Keys(w.pending))
	clear(w.pending)
	if len(queues) > 0 {
		w.notified(time.Now())
	}
	w.mu.Unlock()
	if len(queues) == 0 {
		return
	}
	if _, err := w.pool.Exec(ctx, notify, payloads(queues)); err != nil && ctx.Err() == nil {
		w.logger.WarnContext(ctx, "wake workers: they find the jobs by polling, a second later", "error", err)
	}
}
