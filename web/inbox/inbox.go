// Package inbox accepts receipts: what a provider posted and a handler verified, stored together with the job that will
// apply it, in one transaction, before anyone is told that it was accepted.
//
// What arrives while a commit is under way is committed as one (group commit); nothing waits on a timer, so on an idle
// database the first receipt commits at once. A bounded queue stands in front: what does not fit is refused before
// anything is stored.
//
// It may import jobs, jobs/jobtrace, River, pgx and uuid, nothing else of ours. It knows no provider and no lifecycle.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"onward/jobs/jobtrace"
)

// The defaults of Options.
const (
	// defaultQueueLength is some seconds of commits at the slowest and a tenth of a second at full speed.
	defaultQueueLength = 1024

	// defaultQueueBytes bounds memory when bodies are large: they may be 1 MiB, and are 1 KiB from Twilio.
	defaultQueueBytes = 64 << 20

	// defaultMaxBatch is where larger batches stopped being faster.
	defaultMaxBatch = 128

	// defaultCommitters is two: one prepares and inserts while the other's commit is flushed to disk.
	defaultCommitters = 2

	// defaultQueueTimeout and defaultCommitTimeout together stay below Twilio's default read time-out of 15 s.
	defaultQueueTimeout  = 4 * time.Second
	defaultCommitTimeout = 10 * time.Second

	// defaultSettleTimeout is dispatchWindow and a margin for the clock ticks and the queries in between.
	defaultSettleTimeout = dispatchWindow + 200*time.Millisecond

	// maxBatchBytes ends a batch of large bodies early: one statement carries all of them.
	maxBatchBytes = 4 << 20
)

var (
	// ErrOverloaded says that the queue is full, or that a receipt waited in it too long. Nothing was stored.
	ErrOverloaded = errors.New("inbox: overloaded")

	// ErrStopped says that the inbox takes no more receipts. Nothing was stored.
	ErrStopped = errors.New("inbox: stopped")
)

// Options configure an Inbox. Pool and River are required; a zero is replaced by its default.
type Options struct {
	Pool  *pgxpool.Pool
	River *river.Client[pgx.Tx] // only inserts; with workers configured, it must know every kind that jobs.ForReceipt names

	// Wake is called after each commit that inserted jobs, with their queues: River notifies its workers of an insert at
	// most once in a while, and of an insert that was rolled back instead. It must not block.
	Wake func(queues []string)

	QueueLength int   // receipts that may wait; default 1024
	QueueBytes  int64 // bytes that receipts waiting or being committed may hold; default 64 MiB
	MaxBatch    int   // receipts in one transaction; default 256
	Committers  int   // transactions at a time, each on a connection of Pool; default 2

	QueueTimeout  time.Duration // a receipt that waited this long is refused; default 4 s
	CommitTimeout time.Duration // bounds a batch, its retries included; default 10 s
	SettleTimeout time.Duration // how long an answer may wait for a running dispatch; default 3.2 s, not below 3 s

	Clock   func() time.Time // default time.Now
	Observe Observe
	Logger  *slog.Logger // default: discard
}

// Observe holds functions that are told what happens, for metrics. Any may be nil; none may block.
type Observe struct {
	// Committed is told of each commit: how many receipts it held, duplicates included, and how long it took.
	Committed func(size int, took time.Duration)

	// Failed is told of each transaction that failed and how many receipts it held. Those of a failed batch are tried
	// again one by one, unless the database is away.
	Failed func(size int, err error)

	// Settled is told how long an answer was held back by a dispatch to the receipt's address.
	Settled func(waited time.Duration)
}

// Inbox accepts receipts. Its methods are safe for concurrent use.
type Inbox struct {
	opts    Options
	queue   queue
	bytes   atomic.Int64  // held by entries that are not answered
	dones   sync.Pool     // of entries' done
	settles chan struct{} // slots for queries of settle, so that they leave connections to the committers

	mu      sync.Mutex
	started bool
	stopped bool
	callers sync.WaitGroup // calls of Accept that have entered
	workers sync.WaitGroup // committers
	turn    chan struct{}  // holds what the committer put there whose turn it is
	pace    pace           // of batches; whose turn it is has it
	answers atomic.Int64   // batches that were stored and answered

	base   context.Context // ends when Stop loses patience; transactions run beneath it, not beneath a caller's
	cancel context.CancelFunc
}

// New returns an inbox that queues receipts. They are stored once Start was called.
func New(opts Options) (*Inbox, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	base, cancel := context.WithCancel(context.Background())
	return &Inbox{
		opts:    opts,
		queue:   queue{signal: make(chan struct{}, 1)},
		dones:   sync.Pool{New: func() any { return make(chan struct{}, 1) }},
		settles: make(chan struct{}, opts.Committers),
		turn:    make(chan struct{}, 1),
		base:    base,
		cancel:  cancel,
	}, nil
}

func (o *Options) complete() error {
	for _, n := range []struct {
		value    *int
		fallback int
	}{
		{&o.QueueLength, defaultQueueLength},
		{&o.MaxBatch, defaultMaxBatch},
		{&o.Committers, defaultCommitters},
	} {
		if *n.value == 0 {
			*n.value = n.fallback
		}
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = defaultQueueBytes
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.QueueTimeout, defaultQueueTimeout},
		{&o.CommitTimeout, defaultCommitTimeout},
		{&o.SettleTimeout, defaultSettleTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}

	switch {
	case o.Pool == nil:
		return errors.New("inbox: Options.Pool is missing")
	case o.River == nil:
		return errors.New("inbox: Options.River is missing")
	case o.QueueLength < 0, o.QueueBytes < 0, o.MaxBatch < 0, o.Committers < 0:
		return errors.New("inbox: a size in Options is negative")
	case o.QueueTimeout < 0, o.CommitTimeout < 0:
		return errors.New("inbox: a time-out in Options is negative")
	case o.SettleTimeout < dispatchWindow:
		return fmt.Errorf("inbox: Options.SettleTimeout is %s, and no answer to an opt-out is safe before %s", o.SettleTimeout, dispatchWindow)
	}
	return nil
}

// Start begins to store what is queued. Calling it again, or after Stop, does nothing.
func (i *Inbox) Start() {
	i.mu.Lock()
	defer i.mu.Unlock()

	if i.started || i.stopped {
		return
	}
	i.started = true
	for range i.opts.Committers {
		i.workers.Go(i.commitQueued)
	}
}

// Accept stores a receipt and its job and returns once both are committed, with the receipt's id, or Duplicate and no id
// when a receipt of the same dedupe key is there. With a Hold it also waits until no provider call to that address can
// start any more, so that the caller may answer at once.
//
// After an error the receipt may have been stored all the same when the connection broke at the commit, or when ctx ended
// first: whoever sent it may send it again. After ErrOverloaded and ErrStopped it was not.
func (i *Inbox) Accept(ctx context.Context, r Receipt) (uuid.UUID, Result, error) {
	e, err := newEntry(r, i.opts.Clock)
	if err != nil {
		return uuid.Nil, 0, err
	}
	e.traceparent = jobtrace.Traceparent(ctx)
	e.done, _ = i.dones.Get().(chan struct{})
	if err := ctx.Err(); err != nil {
		return uuid.Nil, 0, fmt.Errorf("inbox: not queued: %w", err)
	}
	if err := i.enqueue(e); err != nil {
		return uuid.Nil, 0, err
	}
	defer i.callers.Done()

	if err := i.await(ctx, e); err != nil {
		return uuid.Nil, 0, err
	}
	if e.hold != nil && e.settle {
		if err := i.settle(ctx, *e.hold); err != nil {
			return uuid.Nil, 0, err
		}
	}
	if e.result == Duplicate {
		return uuid.Nil, Duplicate, nil
	}
	return e.id, e.result, nil
}

// await returns once the entry's fate is known, or nobody waits for it any more. Every entry is answered: by expire, by a
// committer within CommitTimeout, or by Stop.
func (i *Inbox) await(ctx context.Context, e *entry) error {
	if ctx.Done() == nil {
		<-e.done
	} else {
		select {
		case <-e.done:
		case <-ctx.Done():
			// It stays in the queue and will be stored: Twilio does not repeat a callback that was answered too late.
			return fmt.Errorf("inbox: gave up waiting for the commit: %w", ctx.Err())
		}
	}
	i.dones.Put(e.done)
	return e.err
}

// Len returns how many receipts wait in the queue.
func (i *Inbox) Len() int { return i.queue.len() }

// Stop takes no more receipts, stores those that are queued and returns when every caller has its answer. When ctx ends
// first, the rest is answered with an error and Stop returns the cause.
func (i *Inbox) Stop(ctx context.Context) error {
	i.mu.Lock()
	i.stopped = true
	left := i.closeQueue(i.started)
	i.mu.Unlock()

	for _, e := range left {
		i.answer(e, 0, ErrStopped)
	}

	done := make(chan struct{})
	go func() {
		defer close(done)
		i.workers.Wait()
		i.callers.Wait()
	}()

	defer i.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		i.cancel()
		<-done // at once, since every transaction and every wait is beneath base
		return fmt.Errorf("inbox: stopped before the queue was empty: %w", context.Cause(ctx))
	}
}
