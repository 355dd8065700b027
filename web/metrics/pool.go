package metrics

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Pool names a pool of connections.
type Pool struct {
	Name string
	Stat func() *pgxpool.Stat
}

// WatchPools shows what the process's connection pools do.
func (m *Metrics) WatchPools(pools ...Pool) { m.registry.MustRegister(newPoolMetrics(pools)) }

// poolMetric is one number of a pool.
type poolMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*pgxpool.Stat) float64
}

type poolMetrics struct {
	pools   []Pool
	metrics []poolMetric
}

func newPoolMetrics(pools []Pool) *poolMetrics {
	p := &poolMetrics{pools: pools}
	add := func(kind prometheus.ValueType, name, help string, read func(*pgxpool.Stat) float64) {
		p.metrics = append(p.metrics, poolMetric{prometheus.NewDesc("onward_db_pool_"+name, help, []string{"pool"}, nil), kind, read})
	}
	add(prometheus.GaugeValue, "max_connections", "Most connections that the pool opens.",
		func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	add(prometheus.GaugeValue, "connections", "Connections that are open or being opened.",
		func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	add(prometheus.GaugeValue, "acquired_connections", "Connections in use.",
		func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	add(prometheus.GaugeValue, "idle_connections", "Connections that are open and not in use.",
		func(s *pgxpool.Stat) float64 { return float64(s.IdleConns()) })
	add(prometheus.CounterValue, "acquires_total", "Connections taken from the pool.",
		func(s *pgxpool.Stat) float64 { return float64(s.AcquireCount()) })
	add(prometheus.CounterValue, "waits_total", "Connections taken that had to be waited for: none was idle.",
		func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) })
	add(prometheus.CounterValue, "wait_seconds_total", "Time spent waiting for a connection when none was idle.",
		func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() })
	add(prometheus.CounterValue, "canceled_acquires_total", "Waits for a connection that were given up.",
		func(s *pgxpool.Stat) float64 { return float64(s.CanceledAcquireCount()) })
	add(prometheus.CounterValue, "opened_connections_total", "Connections that were opened.",
		func(s *pgxpool.Stat) float64 { return float64(s.NewConnsCount()) })
	return p
}

// Describe implements prometheus.Collector.
func (p *poolMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, m := range p.metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (p *poolMetrics) Collect(out chan<- prometheus.Metric) {
	for _, pool := range p.pools {
		stat := pool.Stat()
		for _, m := range p.metrics {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(stat), pool.Name)
		}
	}
}
