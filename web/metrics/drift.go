package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"onward/jobs"
)

type driftMetrics struct{ found *prometheus.CounterVec }

func newDriftMetrics() driftMetrics {
	d := driftMetrics{found: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "onward_provider_drift_total", Help: "Messages of which the provider, when it was asked, knew more than its callbacks had told.",
	}, []string{"provider"})}
	d.found.WithLabelValues(jobs.ProviderTwilio)
	return d
}

func (d driftMetrics) all() []prometheus.Collector { return []prometheus.Collector{d.found} }

// Drift counts a message whose state had to be fetched.
func (m *Metrics) Drift(provider string) { m.drift.found.WithLabelValues(provider).Inc() }
