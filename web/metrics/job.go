package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of a job's attempt.
const (
	AttemptCompleted   = "completed"
	AttemptSnoozed     = "snoozed"     // asked to run again later, without having failed
	AttemptFailed      = "failed"      // to be tried again
	AttemptDiscarded   = "discarded"   // failed for the last time
	AttemptCancelled   = "cancelled"   // never to be tried again, by its own verdict or an operator's
	AttemptInterrupted = "interrupted" // cut off by the end of its process, to be tried again
)

// AttemptOutcomes lists them.
func AttemptOutcomes() []string {
	return []string{AttemptCompleted, AttemptSnoozed, AttemptFailed, AttemptDiscarded, AttemptCancelled, AttemptInterrupted}
}

// JobDone is one attempt of a job.
type JobDone struct {
	Kind, Queue, Outcome string
	// Wait is from when the job was due to when a worker took it, Took how long it was worked.
	Wait, Took time.Duration
	TraceID    string // "" where there is no trace
}

// Workers is how many workers of a queue are busy, of how many there are.
type Workers struct {
	Busy, Capacity int
}

type jobMetrics struct {
	wait      *prometheus.HistogramVec
	duration  *prometheus.HistogramVec
	attempts  *prometheus.CounterVec
	discarded *prometheus.CounterVec
	workers   *workerGauges

	queues, kinds, outcomes map[string]bool
}

func newJobMetrics(o Options) jobMetrics {
	j := jobMetrics{
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_job_wait_seconds", Help: "Time from when a job was due to when a worker of this process took it.", Buckets: waits(),
		}, []string{"queue"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_job_duration_seconds", Help: "Duration of jobs' attempts in this process, by what they came to.", Buckets: latency(),
		}, []string{"kind", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_job_attempts_total", Help: "Attempts of jobs in this process, by what they came to.",
		}, []string{"kind", "outcome"}),
		discarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_jobs_discarded_total", Help: "Jobs that failed for the last time in this process, and wait for an operator.",
		}, []string{"kind"}),
		workers:  newWorkerGauges(o.Queues),
		queues:   set(o.Queues),
		kinds:    set(o.Kinds),
		outcomes: set(AttemptOutcomes()),
	}
	for _, q := range o.Queues {
		j.wait.WithLabelValues(q)
	}
	for _, k := range append([]string{other}, o.Kinds...) {
		j.discarded.WithLabelValues(k)
		for _, outcome := range AttemptOutcomes() {
			j.duration.WithLabelValues(k, outcome)
			j.attempts.WithLabelValues(k, outcome)
		}
	}
	return j
}

func (j jobMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{j.wait, j.duration, j.attempts, j.discarded, j.workers}
}

// Job counts an attempt.
func (m *Metrics) Job(d JobDone) {
	kind, queue, outcome := oneOf(m.jobs.kinds, d.Kind), oneOf(m.jobs.queues, d.Queue), oneOf(m.jobs.outcomes, d.Outcome)
	m.jobs.attempts.WithLabelValues(kind, outcome).Inc()
	observe(m.jobs.wait.WithLabelValues(queue), max(d.Wait, 0).Seconds(), d.TraceID)
	observe(m.jobs.duration.WithLabelValues(kind, outcome), d.Took.Seconds(), d.TraceID)
	if outcome == AttemptDiscarded {
		m.jobs.discarded.WithLabelValues(kind).Inc()
	}
}

// WatchWorkers shows how busy the workers are, by queue; zeroes in a process that works nothing.
func (m *Metrics) WatchWorkers(read func() map[string]Workers) { m.jobs.workers.read.Store(&read) }

type workerGauges struct {
	queues         []string
	busy, capacity *prometheus.Desc
	read           atomic.Pointer[func() map[string]Workers]
}

func newWorkerGauges(queues []string) *workerGauges {
	return &workerGauges{
		queues:   queues,
		busy:     prometheus.NewDesc("onward_workers_busy", "Workers of this process that work a job.", []string{"queue"}, nil),
		capacity: prometheus.NewDesc("onward_workers_capacity", "Workers of this process: the most jobs that it works at once.", []string{"queue"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *workerGauges) Describe(out chan<- *prometheus.Desc) { out <- g.busy; out <- g.capacity }

// Collect implements prometheus.Collector.
func (g *workerGauges) Collect(out chan<- prometheus.Metric) {
	var now map[string]Workers
	if read := g.read.Load(); read != nil {
		now = (*read)()
	}
	for _, q := range g.queues {
		out <- prometheus.MustNewConstMetric(g.busy, prometheus.GaugeValue, float64(now[q].Busy), q)
		out <- prometheus.MustNewConstMetric(g.capacity, prometheus.GaugeValue, float64(now[q].Capacity), q)
	}
}
