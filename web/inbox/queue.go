package inbox

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// queue holds the entries that wait for a committer, in the order in which they came. A list and not a channel: a committer
// takes a batch at once, and one timer refuses those that wait too long, where each caller had one of its own.
type queue struct {
	mu      sync.Mutex
	entries []*entry
	came    int64 // entries in all
	stopped bool
	timer   *time.Timer // runs while anything waits

	full   chan struct{} // closed when enough wait; nil while nobody waits for that
	signal chan struct{} // holds one while anything waits that no committer was told of; closed to stop
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}

// count is how many entries ever came.
func (q *queue) count() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.came
}

// fills waits until enough entries wait, or no more are taken, but not longer than d, and reports whether it is so.
func (q *queue) fills(d time.Duration) bool {
	full := q.watch()
	if full == nil {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-full:
		return true
	case <-timer.C:
		return false
	}
}

// watch returns what is closed when the queue is full enough, nil where it is. Only whoever has the turn may watch.
func (q *queue) watch() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isFull() {
		return nil
	}
	if q.full == nil {
		q.full = make(chan struct{})
	}
	return q.full
}

// isFull is read with the queue locked.
func (q *queue) isFull() bool { return q.stopped || len(q.entries) >= enough }

// grown tells who watches. The queue is locked.
func (q *queue) grown() {
	if q.full != nil && q.isFull() {
		close(q.full)
		q.full = nil
	}
}

// told says to one committer that something waits. The queue is locked.
func (q *queue) told() {
	if q.stopped {
		return // they come until it is empty
	}
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// enqueue puts an entry in the queue, or says why it can't. On success the caller owes i.callers a Done.
func (i *Inbox) enqueue(e *entry) error {
	e.queuedAt = time.Now()
	i.queue.mu.Lock()
	defer i.queue.mu.Unlock()

	if i.queue.stopped {
		return ErrStopped
	}
	waiting := len(i.queue.entries)
	if waiting >= i.opts.QueueLength {
		return ErrOverloaded
	}
	if i.bytes.Add(e.size) > i.opts.QueueBytes {
		i.bytes.Add(-e.size)
		return ErrOverloaded
	}
	i.callers.Add(1)
	i.queue.entries = append(i.queue.entries, e)
	i.queue.came++
	i.queue.grown()
	if waiting == 0 {
		i.queue.told()
		i.patient(i.opts.QueueTimeout)
	}
	return nil
}

// patient has expire come, unless it comes anyway. The queue is locked.
func (i *Inbox) patient(d time.Duration) {
	if i.queue.timer == nil {
		i.queue.timer = time.AfterFunc(d, i.expire)
	}
}

// expire refuses the entries that have waited too long.
func (i *Inbox) expire() {
	i.queue.mu.Lock()
	defer i.queue.mu.Unlock()

	late := 0
	for _, e := range i.queue.entries {
		left := time.Until(e.queuedAt.Add(i.opts.QueueTimeout))
		if left > 0 {
			i.queue.timer.Reset(left)
			break
		}
		i.answer(e, 0, fmt.Errorf("%w: not committed within the queue time-out of %s", ErrOverloaded, i.opts.QueueTimeout))
		late++
	}
	if late == len(i.queue.entries) {
		i.queue.timer = nil // the next entry begins another
	}
	i.queue.entries = slices.Delete(i.queue.entries, 0, late)
}

// gather takes what waits, as much as goes into one batch.
func (i *Inbox) gather() []*entry {
	i.queue.mu.Lock()
	defer i.queue.mu.Unlock()

	n, bytes := 0, int64(0)
	for n < len(i.queue.entries) && n < i.opts.MaxBatch && bytes < maxBatchBytes {
		bytes += i.queue.entries[n].size
		n++
	}
	batch := slices.Clone(i.queue.entries[:n])
	i.queue.entries = slices.Delete(i.queue.entries, 0, n)
	if len(i.queue.entries) > 0 {
		i.queue.told()
	}
	return batch
}

// closeQueue takes no more entries and returns those that nobody will commit: all of them where no committer was started.
func (i *Inbox) closeQueue(started bool) []*entry {
	i.queue.mu.Lock()
	defer i.queue.mu.Unlock()

	if i.queue.stopped {
		return nil
	}
	i.queue.stopped = true
	i.queue.grown()
	close(i.queue.signal)
	if started {
		return nil
	}
	left := i.queue.entries
	i.queue.entries = nil
	return left
}
