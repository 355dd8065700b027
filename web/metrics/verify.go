package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Verified is what a look for drift and broken invariants found.
type Verified struct {
	At         time.Time      `json:"at"`
	Drifted    int            `json:"drifted"`
	Violations map[string]int `json:"violations"` // by invariant
}

type verifyMetrics struct {
	drift      prometheus.Gauge
	violations *prometheus.GaugeVec
	verified   prometheus.Gauge
	invariants map[string]bool

	mu   *sync.Mutex
	last *time.Time
}

func newVerifyMetrics(o Options) verifyMetrics {
	v := verifyMetrics{
		drift: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onward_drift", Help: "Businesses whose statuses are not the fold of their facts, in the sample that the fleet looked at last.",
		}),
		violations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onward_invariant_violations", Help: "Violations of the last day, as the fleet saw them when it last looked.",
		}, []string{"invariant"}),
		verified: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onward_verified_timestamp_seconds", Help: "Unix time when the fleet last looked for drift and violations; 0 before the first.",
		}),
		invariants: set(o.Invariants),
		mu:         &sync.Mutex{}, last: &time.Time{},
	}
	for _, i := range o.Invariants {
		v.violations.WithLabelValues(i)
	}
	return v
}

func (v verifyMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{v.drift, v.violations, v.verified}
}

// Verified shows what a look found, unless a younger one is shown. One process of the fleet looks at a time, and the
// others read its findings with the rest of what the fleet holds: else each would go on to show its own last one.
func (m *Metrics) Verified(found Verified) {
	v := m.verify
	v.mu.Lock()
	defer v.mu.Unlock()
	if !found.At.After(*v.last) {
		return
	}
	*v.last = found.At
	v.drift.Set(float64(found.Drifted))
	for invariant, n := range found.Violations {
		if v.invariants[invariant] {
			v.violations.WithLabelValues(invariant).Set(float64(n))
		}
	}
	v.verified.Set(float64(found.At.Unix()))
}
