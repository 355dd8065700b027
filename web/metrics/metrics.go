// Package metrics counts what the process does, and shows what the whole installation holds, on a registry of its own.
// Every series of a closed label set exists from the start; no label is ever a number, an address, an id or a campaign.
//
// What the process does is told by whoever did it, a file for each: http.go, webhook.go, job.go, send.go, lifecycle.go,
// verify.go, pool.go. What the installation holds is read on a timer, by one query that is cheap however many jobs there
// are (cluster.go, cluster_query.go). A scrape reads memory alone.
//
// It imports web, web/webhook, jobs, jobs/provider and lifecycle for their closed sets, and pgx.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say what is known before anything happens: the closed sets whose series are there from the start.
type Options struct {
	Version string

	Queues       []string       // of jobs
	Kinds        []string       // of jobs
	Secrets      map[string]int // by provider with an endpoint: how many secrets its setting holds
	SendOutcomes []string       // that SendDone.Outcome may hold
	Invariants   []string       // that Verified.Violations may hold
}

// Metrics are the process's metrics.
type Metrics struct {
	registry *prometheus.Registry
	http     httpMetrics
	webhooks webhookMetrics
	jobs     jobMetrics
	sends    sendMetrics
	statuses lifecycleMetrics
	verify   verifyMetrics
	drift    driftMetrics
	cluster  *clusterMetrics
}

// latency buckets, in seconds: from a commit at idle to a database in trouble.
func latency() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// waits buckets, in seconds: from the latency of a webhook at idle to a backlog of hours.
func waits() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600}
}

// New makes the metrics of a process.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		http:     newHTTPMetrics(),
		webhooks: newWebhookMetrics(o),
		jobs:     newJobMetrics(o),
		sends:    newSendMetrics(o),
		statuses: newLifecycleMetrics(),
		verify:   newVerifyMetrics(o),
		drift:    newDriftMetrics(),
		cluster:  newClusterMetrics(o),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "onward_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "go"})
	build.WithLabelValues(o.Version, runtime.Version()).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.http.all()...)
	m.registry.MustRegister(m.webhooks.all()...)
	m.registry.MustRegister(m.jobs.all()...)
	m.registry.MustRegister(m.sends.all()...)
	m.registry.MustRegister(m.statuses.all()...)
	m.registry.MustRegister(m.verify.all()...)
	m.registry.MustRegister(m.drift.all()...)
	m.registry.MustRegister(m.cluster)
	return m
}

// Registry is where everything is registered.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves the metrics; to those who ask for OpenMetrics, with the traces that stand behind some of them.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true})
}

// observe adds to a histogram, with the trace that shows why where there is one.
func observe(h prometheus.Observer, seconds float64, traceID string) {
	if with, ok := h.(prometheus.ExemplarObserver); ok && traceID != "" {
		with.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": traceID})
		return
	}
	h.Observe(seconds)
}

// oneOf keeps a label in its closed set: whatever else comes is "other".
func oneOf(known map[string]bool, value string) string {
	if known[value] {
		return value
	}
	return other
}

const other = "other"

func set(values []string) map[string]bool {
	s := make(map[string]bool, len(values))
	for _, v := range values {
		s[v] = true
	}
	return s
}
