package app

import (
	"onward/jobs"
	"onward/jobs/jobwatch"
	"onward/jobs/worker"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/web/metrics"
)

// newMetrics makes the process's metrics, with every series that can be known from the settings.
func newMetrics(o Options) *metrics.Metrics {
	return metrics.New(metrics.Options{
		Version: o.Version,
		Queues:  jobs.Queues(),
		Kinds:   jobs.Kinds(),
		Secrets: map[string]int{
			jobs.ProviderTwilio:     len(o.Config.TwilioAuthToken.List()),
			jobs.ProviderRecurrente: len(o.Config.RecurrenteWebhookSecret.List()),
			jobs.ProviderResend:     len(o.Config.ResendWebhookSecret.List()),
		},
		SendOutcomes: worker.SendOutcomes(),
		Invariants:   worker.Invariants(),
	})
}

// observer passes what the jobs did on to the metrics, which know no jobs.
func (a *App) observer() worker.Observer {
	return worker.Observer{
		Moved: a.moved,
		Receipt: func(r worker.ReceiptDone) {
			a.metrics.Receipt(metrics.ReceiptDone{Provider: r.Provider, Outcome: r.Outcome, Latency: r.Latency})
		},
		Sent: func(s worker.SendDone) {
			a.metrics.Sent(metrics.SendDone{Channel: s.Channel, Outcome: s.Outcome, Call: s.Call})
		},
		Verified: func(v worker.Verified) {
			a.metrics.Verified(metrics.Verified{At: v.At, Drifted: v.Drifted, Violations: v.Violations})
		},
		Drift:   a.metrics.Drift,
		Skipped: func(why string) { a.metrics.Suppressed(why, 1) },
	}
}

func (a *App) moved(m worker.Moved) {
	a.metrics.Moved(lifecycle.Change{Axis: m.Axis, From: m.From, To: m.To, Verdict: m.Verdict})
	if a.opts.Moved != nil {
		a.opts.Moved(m)
	}
}

// observeAPI counts the transitions that an API call made, as a worker's are counted.
func (a *App) observeAPI(applied []pgstore.Applied) {
	for _, f := range applied {
		for _, c := range f.Changes {
			a.moved(worker.Moved{
				BusinessID: f.Fact.BusinessID, Axis: c.Axis, From: c.From, To: c.To, Event: f.Fact.Event, Verdict: c.Verdict, CommittedAt: a.opts.Clock(),
			})
		}
	}
}

// watchJobs makes the plugin that watches the jobs of these queues.
func (a *App) watchJobs(queues []string) *jobwatch.Watch {
	capacity := map[string]int{}
	for _, q := range queues {
		capacity[q] = a.opts.concurrency(q)
	}
	a.watch = jobwatch.New(jobwatch.Options{
		Logger: a.logger, Capacity: capacity,
		Observe: func(j jobwatch.Attempt) {
			a.metrics.Job(metrics.JobDone{
				Kind: j.Kind, Queue: j.Queue, Outcome: string(j.Outcome), Wait: j.Wait, Took: j.Took, TraceID: j.TraceID,
			})
		},
	})
	a.metrics.WatchWorkers(func() map[string]metrics.Workers {
		now := map[string]metrics.Workers{}
		for q, l := range a.watch.Loads() {
			now[q] = metrics.Workers{Busy: l.Busy, Capacity: l.Capacity}
		}
		return now
	})
	return a.watch
}

// watchPools shows the pools.
func (a *App) watchPools() {
	pools := []metrics.Pool{{Name: "onward", Stat: a.pool.Stat}, {Name: "river", Stat: a.queue.Stat}}
	if a.fetches != nil {
		pools = append(pools, metrics.Pool{Name: "fetch", Stat: a.fetches.Stat})
	}
	a.metrics.WatchPools(pools...)
}

// jobCounts is how many jobs there are of each state, as the metrics last read it.
func (a *App) jobCounts() (map[string]int, bool) {
	cluster, ok := a.metrics.Cluster()
	counts := map[string]int{}
	for _, states := range cluster.Jobs {
		for state, n := range states {
			counts[state] += int(n)
		}
	}
	return counts, ok
}
