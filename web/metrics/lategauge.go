package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// lateGauge is a gauge whose source is wired after the registry is made; 0 until then, and in processes that have none.
type lateGauge struct {
	desc *prometheus.Desc
	read atomic.Pointer[func() float64]
}

func newLateGauge(name, help string) *lateGauge {
	return &lateGauge{desc: prometheus.NewDesc(name, help, nil, nil)}
}

func (g *lateGauge) set(read func() float64) { g.read.Store(&read) }

// Describe implements prometheus.Collector.
func (g *lateGauge) Describe(out chan<- *prometheus.Desc) { out <- g.desc }

// Collect implements prometheus.Collector.
func (g *lateGauge) Collect(out chan<- prometheus.Metric) {
	v := 0.0
	if read := g.read.Load(); read != nil {
		v = (*read)()
	}
	out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v)
}
