package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onward/jobs"
	"onward/web/webhook"
)

type webhookMetrics struct {
	requests     *prometheus.CounterVec
	ack          *prometheus.HistogramVec
	secrets      *prometheus.CounterVec
	lastAccepted *prometheus.GaugeVec
	toCommit     *prometheus.HistogramVec
	runs         *prometheus.CounterVec
	batches      prometheus.Histogram
	queue        *lateGauge
}

// receiptOutcomes are those of receipt_outcomes.
func receiptOutcomes() []string {
	return []string{"applied", "no_change", "ignored", "unmatched", "failed"}
}

func newWebhookMetrics(o Options) webhookMetrics {
	w := webhookMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_webhook_requests_total", Help: "Webhook requests by what came of them.",
		}, []string{"provider", "result"}),
		ack: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_webhook_ack_seconds", Help: "Time from a webhook's arrival to its answer 2xx.", Buckets: latency(),
		}, []string{"provider"}),
		secrets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_webhook_secret_used_total", Help: "Webhook requests by the position in its setting, from 0, of the secret that verified them.",
		}, []string{"provider", "secret"}),
		lastAccepted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onward_webhook_last_accepted_timestamp_seconds", Help: "Unix time of the last webhook accepted by this process; 0 before the first.",
		}, []string{"provider"}),
		toCommit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_webhook_to_commit_seconds", Help: "Time from a receipt's arrival to the commit of its effect.", Buckets: waits(),
		}, []string{"provider"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_receipt_runs_total", Help: "Runs of jobs that apply a receipt, by what they came to.",
		}, []string{"provider", "outcome"}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onward_inbox_batch_size", Help: "Receipts committed in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		queue: newLateGauge("onward_inbox_queue_length", "Receipts that wait to be committed."),
	}
	for _, p := range []string{jobs.ProviderTwilio, jobs.ProviderRecurrente, jobs.ProviderResend} {
		for _, r := range webhook.Results() {
			w.requests.WithLabelValues(p, r)
		}
		w.ack.WithLabelValues(p)
		w.lastAccepted.WithLabelValues(p)
		for position := range o.Secrets[p] {
			w.secrets.WithLabelValues(p, strconv.Itoa(position))
		}
	}
	// Our own pages make receipts, too.
	for _, p := range []string{jobs.ProviderTwilio, jobs.ProviderRecurrente, jobs.ProviderResend, jobs.ProviderOnward} {
		w.toCommit.WithLabelValues(p)
		for _, outcome := range receiptOutcomes() {
			w.runs.WithLabelValues(p, outcome)
		}
	}
	return w
}

func (w webhookMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{w.requests, w.ack, w.secrets, w.lastAccepted, w.toCommit, w.runs, w.batches, w.queue}
}

// Webhook counts an answered webhook.
func (m *Metrics) Webhook(a webhook.Answered) {
	m.webhooks.requests.WithLabelValues(a.Provider, a.Result).Inc()
	if a.Secret >= 0 {
		m.webhooks.secrets.WithLabelValues(a.Provider, strconv.Itoa(a.Secret)).Inc()
	}
	if a.Result == webhook.ResultAccepted {
		m.webhooks.lastAccepted.WithLabelValues(a.Provider).SetToCurrentTime()
	}
	if a.Result == webhook.ResultAccepted || a.Result == webhook.ResultDuplicate {
		observe(m.webhooks.ack.WithLabelValues(a.Provider), a.Took.Seconds(), a.TraceID)
	}
}

// InboxCommitted counts one transaction of the inbox.
func (m *Metrics) InboxCommitted(size int, _ time.Duration) {
	m.webhooks.batches.Observe(float64(size))
}

// WatchInbox shows how many receipts wait; 0 in a process that takes none.
func (m *Metrics) WatchInbox(length func() int) {
	m.webhooks.queue.set(func() float64 { return float64(length()) })
}

// ReceiptDone is one run of a job that applies a receipt.
type ReceiptDone struct {
	Provider, Outcome string
	// Latency is from the receipt's arrival to the commit.
	Latency time.Duration
}

// Receipt counts a run of a job that applies a receipt.
func (m *Metrics) Receipt(r ReceiptDone) {
	m.webhooks.runs.WithLabelValues(r.Provider, r.Outcome).Inc()
	if r.Outcome == "applied" || r.Outcome == "no_change" {
		m.webhooks.toCommit.WithLabelValues(r.Provider).Observe(r.Latency.Seconds())
	}
}
