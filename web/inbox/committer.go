package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// commitQueued is a committer: it stores what is queued until the queue is closed and empty.
func (i *Inbox) commitQueued() {
	for {
		_, open := <-i.queue.signal
		t := i.takeTurn()
		if open && t.taken {
			i.pause()
		}
		batch := i.gather()
		if len(batch) > 0 {
			i.commit(batch, t)
		}
		t.pass()
		if !open && len(batch) == 0 {
			return
		}
	}
}

// How long a committer waits for another: for its insert, several times what a large batch takes, unless it hangs on a lock
// or on the network; for the COMMIT of a large batch, as long as a good disk needs for a flush, and of a full one, as long
// as most disks need.
const (
	turnPatience       = 20 * time.Millisecond
	commitPatience     = time.Millisecond
	fullCommitPatience = 5 * time.Millisecond
)

// largeBatch is one that others will follow at once, fullBatch one that has the machine busy: then a larger batch is worth
// more than the time of a flush.
const (
	largeBatch = 16
	fullBatch  = 64
)

// turn is a committer's. Whoever has it gathers and inserts: two batches side by side would be smaller ones, which cost more
// a receipt. It is passed on when only the COMMIT is left; that of a large batch is waited for unless it takes long: on a
// good disk the next batch is larger for it, on a slow one a committer inserts while the other waits for its flush.
type turn struct {
	taken bool        // false where another has it and hangs
	pass  func()      // passes it on, once
	late  *time.Timer // does when the COMMIT takes long; nil before it was sent
}

// takeTurn waits for the turn, but not for a committer that hangs.
func (i *Inbox) takeTurn() *turn {
	select {
	case i.turn <- struct{}{}:
	default:
		patience := time.NewTimer(turnPatience)
		defer patience.Stop()
		select {
		case i.turn <- struct{}{}:
		case <-patience.C:
			return &turn{pass: func() {}}
		}
	}
	return &turn{taken: true, pass: sync.OnceFunc(func() { <-i.turn })}
}

// inserted says that only the COMMIT of so many receipts is left, or a wait for an address.
func (t *turn) inserted(receipts int) {
	switch {
	case receipts < largeBatch:
		t.pass()
	case receipts < fullBatch:
		t.late = time.AfterFunc(commitPatience, t.pass)
	default:
		t.late = time.AfterFunc(fullCommitPatience, t.pass)
	}
}

// stored says that the transaction is over.
func (t *turn) stored() {
	if t.late != nil {
		t.late.Stop()
	}
	t.pass()
}

// commit stores a batch and answers its callers. It passes on the turn as soon as another may insert.
func (i *Inbox) commit(batch []*entry, t *turn) {
	ctx, cancel := context.WithTimeoutCause(i.base, i.opts.CommitTimeout,
		fmt.Errorf("not committed within the commit time-out of %s", i.opts.CommitTimeout))
	defer cancel()

	err := i.commitTogether(ctx, batch, t)
	if err == nil {
		return
	}
	if len(batch) == 1 || errors.Is(err, errOutage) {
		i.answerAll(batch, err)
		return
	}
	i.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "a batch of receipts failed and is tried one by one",
		slog.Int("receipts", len(batch)), slog.Any("error", err))
	i.commitOneByOne(ctx, batch)
}

// commitOneByOne gives each entry a transaction of its own, so that one which the database refuses fails alone.
func (i *Inbox) commitOneByOne(ctx context.Context, batch []*entry) {
	// An entry with a hold may have to wait for a dispatch that is stuck, the others never: they go first.
	slices.SortStableFunc(batch, func(a, b *entry) int {
		switch {
		case a.hold == nil && b.hold != nil:
			return -1
		case a.hold != nil && b.hold == nil:
			return 1
		default:
			return 0
		}
	})

	alone := &turn{pass: func() {}} // the batch's was passed on when it failed
	for n, e := range batch {
		err := i.commitTogether(ctx, []*entry{e}, alone)
		if err == nil {
			continue
		}
		if errors.Is(err, errOutage) {
			i.answerAll(batch[n:], err)
			return
		}
		i.answer(e, 0, err)
	}
}

// commitTogether stores entries in one transaction, and passes on the turn when that is over, or takes long. Only when it
// succeeded, the callers have their answers.
func (i *Inbox) commitTogether(ctx context.Context, batch []*entry, t *turn) error {
	began := time.Now()
	stored, err := i.store(ctx, batch, func() { t.inserted(len(batch)) })
	t.stored()
	if err != nil {
		if i.opts.Observe.Failed != nil {
			i.opts.Observe.Failed(len(batch), err)
		}
		return err
	}

	i.answers.Add(1)
	for _, e := range batch {
		if _, ok := stored.ids[e.id]; ok {
			e.settle = e.hold != nil && stored.inFlight[*e.hold]
			i.answer(e, Accepted, nil)
			continue
		}
		// The first delivery's answer may never have arrived, so this one's is an answer to the opt-out, too.
		e.settle = e.hold != nil
		i.answer(e, Duplicate, nil)
	}

	if i.opts.Observe.Committed != nil {
		i.opts.Observe.Committed(len(batch), time.Since(began))
	}
	if i.opts.Wake != nil && len(stored.queues) > 0 {
		i.opts.Wake(stored.queues)
	}
	return nil
}

func (i *Inbox) answer(e *entry, result Result, err error) {
	i.bytes.Add(-e.size)
	e.result, e.err = result, err
	e.done <- struct{}{}
}

func (i *Inbox) answerAll(batch []*entry, err error) {
	for _, e := range batch {
		i.answer(e, 0, err)
	}
}
