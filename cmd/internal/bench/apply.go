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

// apply measures how many delivered callbacks a worker applies that finds them all waiting. The floor reads and writes the
// same rows, one transaction each. Both run on the same data: the floor on the first rows, the worker on the rest.
func (b *bench) apply(ctx context.Context, p *Part) error {
	for round := range b.opts.Rounds {
		for _, c := range applyCases() {
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
	err = b.work(ctx, work{queue: jobs.QueueCallbacks, jobs: b.size.applyJobs, profile: profile}, l)
	if err != nil {
		return err
	}
	after, err := b.count(ctx, `SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`)
	if err != nil {
		return err
	}
	if after-before != b.size.applyJobs {
		return fmt.Errorf("%d of %d callbacks were applied", after-before, b.size.applyJobs)
	}
	return nil
}

// work is what a worker process is to drain.
type work struct {
	queue   string
	jobs    int
	profile string
	twilio  string // base URL of the API; "": nothing is sent
}

// work starts a worker on all queues, as in production, and measures it until one is drained.
func (b *bench) work(ctx context.Context, w work, l *Line) (err error) {
	used := startUsage(b.server)
	var ready appReady
	worker, err := b.start(ctx, roleWorker, appSettings{DatabaseURL: b.dsn, Concurrency: b.opts.Concurrency, TwilioBaseURL: w.twilio}, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, worker) }()
	if err := b.profile(worker, w.profile); err != nil {
		return err
	}
	took, err := b.drained(ctx, w.queue)
	if err != nil {
		return err
	}
	cpu, known := cpuMeter{pid: worker.pid()}.read()
	l.add(perSecond, float64(w.jobs)/took.Seconds())
	l.add(postgresCPU, used.since(w.jobs)[0])
	l.add(processCPU, perUnit(cpu, known, w.jobs))
	l.add(peakRSS, peak(worker.pid()))
	return b.profiled(worker)
}
