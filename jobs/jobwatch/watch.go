// Package jobwatch watches the jobs that a process works: one canonical log line and one observation an attempt, how
// busy the workers are, and whether they fetch. It imports jobs/jobtrace and River.
package jobwatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Options are what a Watch needs. Logger and Capacity are required.
type Options struct {
	Logger   *slog.Logger
	Observe  func(Attempt)  // told of each attempt; may be nil, must not block
	Capacity map[string]int // workers of this process, by queue
	Clock    func() time.Time
}

// Watch is a plugin for River's client.
type Watch struct {
	river.PluginDefaults
	opts Options

	mu      sync.Mutex
	busy    map[string]int
	running map[int64]int // attempts that run, by job
	fetched map[string]time.Time
}

// Load is how many workers of a queue are busy, of how many there are.
type Load struct {
	Busy, Capacity int
}

// New returns a watch over the queues of Options.Capacity.
func New(o Options) *Watch {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Watch{opts: o, busy: map[string]int{}, running: map[int64]int{}, fetched: map[string]time.Time{}}
}

// Work watches an attempt.
func (w *Watch) Work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) (err error) {
	begun := time.Now()
	w.begin(job)
	finished := false
	defer func() {
		w.end(job)
		if !finished {
			// River takes a panic for an error and its handler logs the stack; here it goes on its way.
			err = errors.New("panic")
		}
		a := newAttempt(ctx, job, err, time.Since(begun))
		a.log(ctx, w.opts.Logger)
		if w.opts.Observe != nil {
			w.opts.Observe(a)
		}
	}()
	err = work(ctx)
	finished = true
	return err
}

func (w *Watch) begin(job *rivertype.JobRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[job.Queue]++
	w.running[job.ID]++
}

func (w *Watch) end(job *rivertype.JobRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[job.Queue]--
	if w.running[job.ID]--; w.running[job.ID] == 0 {
		delete(w.running, job.ID)
	}
}

// Running reports whether an attempt of a job runs in this process.
func (w *Watch) Running(jobID int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[jobID] > 0
}

// MetricEmit notes that a queue was looked at for jobs.
func (w *Watch) MetricEmit(_ context.Context, params *rivertype.HookMetricEmitParams) {
	if m, ok := params.Metric.(*rivertype.JobGetAvailableDurationMetric); ok {
		now := w.opts.Clock()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fetched[m.Queue] = now
	}
}

// Loads is how busy each queue's workers are.
func (w *Watch) Loads() map[string]Load {
	w.mu.Lock()
	defer w.mu.Unlock()
	loads := make(map[string]Load, len(w.opts.Capacity))
	for q, n := range w.opts.Capacity {
		loads[q] = Load{Busy: w.busy[q], Capacity: n}
	}
	return loads
}

// fetchWithin is how often a queue is looked at, at the least: River polls every second.
const fetchWithin = 10 * time.Second

// NotFetching lists the queues that were not looked at for jobs lately though a worker is free. A queue that an operator
// paused is among them.
func (w *Watch) NotFetching() []string {
	now := w.opts.Clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	var queues []string
	for q, n := range w.opts.Capacity {
		if w.busy[q] < n && now.Sub(w.fetched[q]) > fetchWithin {
			queues = append(queues, q)
		}
	}
	slices.Sort(queues)
	return queues
}
