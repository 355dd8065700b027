package bench

import (
	"context"
	"fmt"
	"strconv"

	"onward/jobs"
)

// applyCase is messages of one campaign, whose counters every callback moves, or of none.
type applyCase struct {
	name, script string
	campaign     bool
}

func applyCases() []applyCase {
	return []applyCase{
		{"one campaign", "apply", true},
		{"no campaign", "apply_alone", false},
	}
}

// apply measures how fast a worker applies delivered callbacks that all wait for it. The floor reads and writes the
// same rows, one transaction each. Both run on the same data: the floor on the first rows, the worker on the rest.
func (b *bench) apply(ctx context.Context, p *Part) error {
	for round := range b.opts.Rounds {
		for _, c := range b.size.applyCases {
			floor := p.line("pgbench, " + strconv.Itoa(b.size.pgbenchClients) + " clients, " + c.name)
			product := p.line("worker, " + c.name)
			base, err := b.populate(ctx, dataset{
				rows: b.size.applyFloor + b.size.applyJobs, floor: b.size.applyFloor, messages: "sent", campaign: c.campaign,
				receipts: true, jobs: jobs.StatusCallbackArgs{}.Kind(),
			})
			if err != nil {
				return err
			}
			err = turns(round,
				func() error { return b.applyFloor(ctx, round, c, base, floor) },
				func() error { return b.applyProduct(ctx, round, c, product) })
			if err != nil {
				return err
			}
			product.compare(floor)
		}
		b.applied = append(b.applied, last(p.line("worker, " + applyCases()[0].name).rounds[perSecond]))
	}
	return nil
}

func last(list []float64) float64 { return list[len(list)-1] }

func (b *bench) applyFloor(ctx context.Context, round int, c applyCase, base int64, l *Line) error {
	b.step(PartApply, round, l.Name)
	res, err := b.pgbench.run(ctx, floorRun{
		script: c.script, clients: b.size.pgbenchClients, transactions: b.size.applyFloor / b.size.pgbenchClients,
		variables: map[string]string{"base": strconv.FormatInt(base, 10), "i": "-1"},
	})
	if err != nil {
		return err
	}
	res.addTo(l)
	return nil
}

func (b *bench) applyProduct(ctx context.Context, round int, c applyCase, l *Line) (err error) {
	b.step(PartApply, round, l.Name)
	before, err := b.count(ctx, `SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`)
	if err != nil {
		return err
	}
	profile := "apply"
	if !c.campaign {
		profile = "apply-alone"
	}
	done, err := b.work(ctx, work{queue: jobs.QueueCallbacks, profile: profile}, l)
	if err != nil {
		return err
	}
	after, err := b.count(ctx, `SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`)
	if err != nil {
		return err
	}
	if after-before < done {
		return fmt.Errorf("%d callbacks were applied, and %d jobs completed", after-before, done)
	}
	return nil
}

// work is what a worker process is to drain.
type work struct {
	queue   string
	profile string
	twilio  string // base URL of the API; "": nothing is sent
}

// work starts a worker on all queues, as in production, and measures it from when it gets the jobs of one queue. It returns
// how many it completed.
func (b *bench) work(ctx context.Context, w work, l *Line) (jobs int, err error) {
	if err := b.hold(ctx, w.queue); err != nil {
		return 0, err
	}
	var ready appReady
	worker, err := b.start(ctx, roleWorker, appSettings{DatabaseURL: b.dsn, Concurrency: b.opts.Concurrency, TwilioBaseURL: w.twilio}, &ready)
	if err != nil {
		return 0, err
	}
	defer func() { stopAll(&err, worker) }()
	if err := b.idle(ctx); err != nil {
		return 0, err
	}
	if err := b.profile(worker, w.profile); err != nil {
		return 0, err
	}
	if jobs, err = b.measure(ctx, w.queue, worker, l); err != nil {
		return 0, err
	}
	return jobs, b.profiled(worker)
}

// measure takes the figures of a process that drains a queue, and returns how many jobs it completed.
func (b *bench) measure(ctx context.Context, queue string, c *child, l *Line) (jobs int, err error) {
	used := startUsage(b.server, cpuMeter{pid: c.pid()})
	d, err := b.drain(ctx, queue, b.size.drainFor)
	if err != nil {
		return 0, err
	}
	cpu := used.since(d.jobs)
	l.add(perSecond, float64(d.jobs)/d.took.Seconds())
	l.add(postgresCPU, cpu[0])
	l.add(processCPU, cpu[1])
	l.add(peakRSS, peak(c.pid()))
	return d.jobs, nil
}
