// Package metrics counts what the process does, on a registry of its own. Every series of a closed label set
// exists from the start. It imports jobs, jobs/worker's observations and lifecycle.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/worker"
	"onward/web"
	"onward/web/webhook"
)

// Metrics are the process's metrics.
type Metrics struct {
	registry     *prometheus.Registry
	webhooks     *prometheus.CounterVec
	secrets      *prometheus.CounterVec
	lastAccepted *prometheus.GaugeVec
	toCommit     *prometheus.HistogramVec
	receipts     *prometheus.CounterVec
	transitions  *prometheus.CounterVec
	sends        *prometheus.CounterVec
	calls        *prometheus.HistogramVec
	batches      prometheus.Histogram
	requests     *prometheus.HistogramVec
}

// latency buckets, in seconds: from a commit at idle to a database in trouble.
func latency() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// New makes the metrics of a process of this version.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_webhook_requests_total", Help: "Webhook requests by what came of them.",
		}, []string{"provider", "result"}),
		secrets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_webhook_secret_used_total", Help: "Webhook requests by the position, in its setting, of the secret that verified them.",
		}, []string{"provider", "secret"}),
		lastAccepted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onward_webhook_last_accepted_timestamp_seconds", Help: "Unix time of the last webhook accepted by this process; 0 before the first.",
		}, []string{"provider"}),
		toCommit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_webhook_to_commit_seconds", Help: "Time from a webhook's receipt to the commit of its effect.", Buckets: latency(),
		}, []string{"provider"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_receipts_applied_total", Help: "Runs of jobs that apply a receipt, by outcome.",
		}, []string{"provider", "outcome"}),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_transitions_total", Help: "Transitions recorded by this process.",
		}, []string{"axis", "from", "to", "verdict"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_sends_total", Help: "Attempts to send, by what came of them.",
		}, []string{"channel", "outcome"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_provider_request_seconds", Help: "Duration of calls to a channel's provider.", Buckets: latency(),
		}, []string{"provider", "outcome"}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_inbox_batch_size", Help: "Receipts committed in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_http_request_seconds", Help: "Duration of HTTP requests.", Buckets: latency(),
		}, []string{"route", "method", "code"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "onward_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "go"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.webhooks, m.secrets, m.lastAccepted, m.toCommit, m.receipts, m.transitions, m.sends, m.calls,
		m.batches, m.requests, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.zeroes()
	return m
}

func (m *Metrics) zeroes() {
	for _, p := range []string{jobs.ProviderTwilio, jobs.ProviderRecurrente, jobs.ProviderResend} {
		for _, r := range webhook.Results() {
			m.webhooks.WithLabelValues(p, r)
		}
		m.lastAccepted.WithLabelValues(p)
	}
	for _, channel := range []string{jobs.ChannelSMS, jobs.ChannelEmail} {
		m.sends.WithLabelValues(channel, "accepted")
		for _, c := range provider.Classes() {
			m.sends.WithLabelValues(channel, string(c))
		}
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// Webhook counts an answered webhook; secret is the position of the one that verified it, or -1.
func (m *Metrics) Webhook(provider, result string, secret int) {
	m.webhooks.WithLabelValues(provider, result).Inc()
	if secret >= 0 {
		m.secrets.WithLabelValues(provider, strconv.Itoa(secret)).Inc()
	}
	if result == webhook.ResultAccepted {
		m.lastAccepted.WithLabelValues(provider).SetToCurrentTime()
	}
}

// InboxCommitted counts one transaction of the inbox.
func (m *Metrics) InboxCommitted(size int, _ time.Duration) { m.batches.Observe(float64(size)) }

// WatchInbox shows how many receipts wait.
func (m *Metrics) WatchInbox(length func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onward_inbox_queue_length", Help: "Receipts that wait to be committed.",
	}, func() float64 { return float64(length()) }))
}

// Moved counts a transition.
func (m *Metrics) Moved(t worker.Moved) {
	m.transitions.WithLabelValues(string(t.Axis), string(t.From), string(t.To), string(t.Verdict)).Inc()
}

// Receipt counts a run of a job that applies a receipt.
func (m *Metrics) Receipt(r worker.ReceiptDone) {
	m.receipts.WithLabelValues(r.Provider, r.Outcome).Inc()
	if r.Outcome == "applied" || r.Outcome == "no_change" {
		m.toCommit.WithLabelValues(r.Provider).Observe(r.Latency.Seconds())
	}
}

// Sent counts an attempt to send.
func (m *Metrics) Sent(s worker.SendDone) {
	m.sends.WithLabelValues(s.Channel, s.Outcome).Inc()
	if s.Call > 0 {
		m.calls.WithLabelValues(s.Channel, s.Outcome).Observe(s.Call.Seconds())
	}
}

// HTTP observes an answered request.
func (m *Metrics) HTTP(r web.Request) {
	m.requests.WithLabelValues(r.Route, r.Method, strconv.Itoa(r.Code)).Observe(r.Took.Seconds())
}
