package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Cluster is what the whole installation holds, whichever process asks.
type Cluster struct {
	At time.Time
	// Jobs counts jobs by queue and state: exact up to countLimit or countLimitEnd, an estimate above.
	Jobs map[string]map[string]float64
	// values are the gauges without labels or with one, by name and label.
	values map[string]map[string]float64
}

// How often the installation is read, and when what was read is too old to be shown: then the gauges are gone, which an
// alert can tell from a zero.
const (
	readEvery  = 15 * time.Second
	staleAfter = time.Minute
)

// gauge describes a gauge of the installation: name, help, label ("" for none) and the label's closed set.
type gauge struct {
	name, help, label string
	values            []string
}

// Everything that says something of the whole installation says so in its help.
func clusterGauges(o Options) []gauge {
	return []gauge{
		{
			"onward_oldest_available_job_age_seconds",
			"Time since the job that has been due for the longest was due, over the whole installation; 0 where none is.", "queue", o.Queues,
		},
		{"onward_longest_running_job_seconds", "Time for which the job has been worked that was begun first, over the whole installation.", "", nil},
		{"onward_queue_paused", "1 while an operator keeps the queue from being worked.", "queue", o.Queues},
		{"onward_leader", "1 while some process of the installation is the leader, which schedules, retries and cleans up.", "", nil},
		{"onward_worker_processes", "Worker processes of the installation that showed in the last 15 seconds that they live.", "", nil},
		{
			"onward_receipts",
			"Receipts by what came of them, over the whole installation: exact up to 500, PostgreSQL's estimate above; those not applied yet are jobs.",
			"outcome", receiptOutcomes(),
		},
		{"onward_sends_unknown", "Messages that may or may not have been sent: being looked for, or held for an operator. Counted to 2000.", "", nil},
		{"onward_oldest_unknown_send_age_seconds", "Time since the send whose outcome has been unknown for the longest became so; 0 where none is.", "", nil},
		{
			"onward_sender_slowdown", "Factor on the time between two sends of the channel's slowest sender; above 1 while a provider finds us too fast.",
			"channel",
			[]string{"sms", "email"},
		},
		{"onward_campaigns_self_paused", "Campaigns that a fault paused, not an operator.", "", nil},
		{"onward_partitions_ahead_seconds", "Time for which there are partitions for receipts to come; they are made four weeks ahead.", "", nil},
		{
			"onward_db_oldest_transaction_age_seconds",
			"Age of the oldest open transaction in the database; of others' only where the role may see them (pg_read_all_stats).", "", nil,
		},
		{
			"onward_analytics_lag_seconds",
			"Time since the moment as of which analytics hold; 0 while they are counted anew, and hold as of none.", "", nil,
		},
		{"onward_db_size_bytes", "Size of the database on disk.", "", nil},
	}
}

// clusterMetrics shows the last reading.
type clusterMetrics struct {
	opts   Options
	jobs   *prometheus.Desc
	gauges []gauge
	descs  map[string]*prometheus.Desc

	duration prometheus.Gauge
	failures prometheus.Counter
	clock    func() time.Time

	mu   sync.Mutex
	last Cluster
}

func newClusterMetrics(o Options) *clusterMetrics {
	c := &clusterMetrics{
		opts: o,
		jobs: prometheus.NewDesc("onward_jobs",
			"Jobs in the database, over the whole installation: for a queue and state exact up to 2000 (500 where they are over), PostgreSQL's estimate above.",
			[]string{"queue", "state"}, nil),
		gauges: clusterGauges(o),
		descs:  map[string]*prometheus.Desc{},
		duration: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onward_cluster_read_seconds", Help: "Duration of the last reading of what the installation holds.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onward_cluster_read_failures_total", Help: "Readings of what the installation holds that failed. Its gauges are gone after a minute without one.",
		}),
		clock: time.Now,
	}
	for _, g := range c.gauges {
		var labels []string
		if g.label != "" {
			labels = []string{g.label}
		}
		c.descs[g.name] = prometheus.NewDesc(g.name, g.help, labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *clusterMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- c.jobs
	for _, d := range c.descs {
		out <- d
	}
	c.duration.Describe(out)
	c.failures.Describe(out)
}

// Collect implements prometheus.Collector. It asks nobody.
func (c *clusterMetrics) Collect(out chan<- prometheus.Metric) {
	c.duration.Collect(out)
	c.failures.Collect(out)
	last, ok := c.current()
	if !ok {
		return
	}
	for _, q := range c.opts.Queues {
		for _, s := range jobStates() {
			out <- prometheus.MustNewConstMetric(c.jobs, prometheus.GaugeValue, last.Jobs[q][s], q, s)
		}
	}
	for _, g := range c.gauges {
		if g.label == "" {
			out <- prometheus.MustNewConstMetric(c.descs[g.name], prometheus.GaugeValue, last.values[g.name][""])
			continue
		}
		for _, v := range g.values {
			out <- prometheus.MustNewConstMetric(c.descs[g.name], prometheus.GaugeValue, last.values[g.name][v], v)
		}
	}
}

func (c *clusterMetrics) current() (Cluster, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, !c.last.At.IsZero() && c.clock().Sub(c.last.At) < staleAfter
}

// Cluster returns the last reading; false when there is none of the last minute.
func (m *Metrics) Cluster() (Cluster, bool) { return m.cluster.current() }

// ReadCluster reads what the installation holds, at once and then on a timer, until ctx ends.
func (m *Metrics) ReadCluster(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) {
	// A fleet that starts together does not ask together.
	timer := time.NewTimer(0)
	defer timer.Stop()
	kept := &keptConn{pool: pool}
	defer kept.release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := m.ReadClusterOnce(ctx, kept)
		if err != nil {
			kept.release()
		}
		if err != nil && ctx.Err() == nil {
			logger.LogAttrs(ctx, slog.LevelWarn, "read what the installation holds, for metrics", slog.Any("error", err))
		}
		timer.Reset(readEvery - time.Duration(rand.Int64N(int64(2*time.Second))))
	}
}

// keptConn keeps a connection of a pool. A reading is planned once a session, which takes longer than the reading: on whatever
// connection is free, each new one would plan it again.
type keptConn struct {
	pool *pgxpool.Pool
	conn *pgxpool.Conn
}

// BeginTx begins a transaction on the connection.
func (k *keptConn) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	if k.conn == nil {
		conn, err := k.pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		k.conn = conn
	}
	return k.conn.BeginTx(ctx, opts)
}

func (k *keptConn) release() {
	if k.conn != nil {
		k.conn.Release()
		k.conn = nil
	}
}

// database is where a reading begins its transaction: a pool or a connection.
type database interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// ReadClusterOnce reads what the installation holds.
func (m *Metrics) ReadClusterOnce(ctx context.Context, db database) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout+time.Second, errors.New("time-out of reading the installation for metrics"))
	defer cancel()
	read, verified, err := readCluster(ctx, db, m.cluster.opts.Queues)
	if err != nil {
		m.cluster.failures.Inc()
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return err
	}
	m.cluster.duration.Set(time.Since(begun).Seconds())
	if verified != nil {
		m.Verified(*verified)
	}
	read.At = m.cluster.clock()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.cluster.last = read
	return nil
}
