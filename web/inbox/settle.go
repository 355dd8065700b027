package inbox

import (
	"context"
	"fmt"
	"time"
)

// dispatchWindow is how long after its dispatch a provider call may be thought to be about to start. A worker starts it
// within a second or not at all; the rest is room for its clock to be slow.
const dispatchWindow = 3 * time.Second

// mayStillCall finds the dispatches whose provider call may not have started, by the database's clock alone. The interval
// is dispatchWindow.
const mayStillCall = `state = 'calling' AND dispatched_at > now() - interval '3 seconds'`

// The pauses between two looks at dispatches: a provider call takes some tens to hundreds of milliseconds.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 40 * time.Millisecond
)

// settle returns once no provider call to the held address can start any more: the dispatches that were committed before
// the hold are over, or too old to begin. It is bounded by SettleTimeout, after which that is so without asking.
func (i *Inbox) settle(ctx context.Context, h Hold) error {
	began := time.Now()
	if i.opts.Observe.Settled != nil {
		defer func() { i.opts.Observe.Settled(time.Since(began)) }()
	}

	bounded, cancel := context.WithDeadline(ctx, began.Add(i.opts.SettleTimeout))
	defer cancel()
	// A Stop without patience ends the waiting, too.
	defer context.AfterFunc(i.base, cancel)()

	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		// An error is no answer, and the next look may have one; time alone is enough in the end.
		if calling, err := i.calling(bounded, h); err == nil && !calling {
			return nil
		}

		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-bounded.Done():
			timer.Stop()
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("inbox: stored, but gave up waiting for a running dispatch: %w", err)
			}
			if i.base.Err() != nil {
				return fmt.Errorf("inbox: stored, but stopped while waiting for a running dispatch: %w", i.base.Err())
			}
			return nil
		}
	}
}

func (i *Inbox) calling(ctx context.Context, h Hold) (bool, error) {
	select {
	case i.settles <- struct{}{}:
		defer func() { <-i.settles }()
	case <-ctx.Done():
		return false, ctx.Err()
	}

	var calling bool
	err := i.opts.Pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM dispatches
			WHERE channel = $1
				AND address = $2
				AND `+mayStillCall+`
		)`, h.Channel, h.Address).Scan(&calling)
	if err != nil {
		return false, fmt.Errorf("look for running dispatches: %w", err)
	}
	return calling, nil
}
