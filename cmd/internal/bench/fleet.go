package bench

import (
	"context"
	"errors"
	"fmt"
	"math"

	"onward/jobs"
)

// fleet measures several workers, and several web processes, on one database. On one machine they share its cores: what
// it shows is what they cost each other, not what more machines would give.
func (b *bench) fleet(ctx context.Context, p *Part) error {
	p.note("µs process is of all web or worker processes together, MiB of the largest")
	for round := range b.opts.Rounds {
		for _, n := range b.size.workers {
			if err := b.fleetOfWorkers(ctx, round, n, p.line(plural(n, "worker"))); err != nil {
				return err
			}
			p.line(plural(n, "worker")).compare(p.line(plural(1, "worker")))
		}
		for _, n := range b.size.webs {
			if err := b.fleetOfWebs(ctx, round, n, p.line(plural(n, "web process")+", 64 connections")); err != nil {
				return err
			}
			p.line(plural(n, "web process") + ", 64 connections").compare(p.line("1 web process, 64 connections"))
		}
	}
	return nil
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what[len(what)-1] == 's':
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (b *bench) fleetOfWorkers(ctx context.Context, round, n int, l *Line) (err error) {
	b.step(PartFleet, round, l.Name)
	_, err = b.populate(ctx, dataset{rows: b.size.applyJobs, messages: "sent", campaign: true, receipts: true, jobs: jobs.StatusCallbackArgs{}.Kind()})
	if err != nil {
		return err
	}
	if err := b.hold(ctx, jobs.QueueCallbacks); err != nil {
		return err
	}
	var workers []*child
	defer func() { stopAll(&err, workers...) }()
	for range n {
		var ready appReady
		c, err := b.start(ctx, roleWorker, appSettings{DatabaseURL: b.dsn, Concurrency: b.opts.Concurrency}, &ready)
		if err != nil {
			return err
		}
		workers = append(workers, c)
	}
	if err := b.idle(ctx); err != nil {
		return err
	}
	used := startUsage(append([]cpuMeter{b.server}, metersOf(workers)...)...)
	d, err := b.drain(ctx, jobs.QueueCallbacks, b.size.drainFor)
	if err != nil {
		return err
	}
	l.add(perSecond, float64(d.jobs)/d.took.Seconds())
	l.addUsage(used.since(d.jobs), workers)
	return nil
}

func (b *bench) fleetOfWebs(ctx context.Context, round, n int, l *Line) (err error) {
	b.step(PartFleet, round, l.Name)
	if err := b.reset(ctx); err != nil {
		return err
	}
	var webs, loads []*child
	defer func() { stopAll(&err, append(loads, webs...)...) }()
	for k := range n {
		var ready appReady
		web, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &ready)
		if err != nil {
			return err
		}
		webs = append(webs, web)
		var step loadStep
		load, err := b.start(ctx, roleLoad, loadSettings{
			Address: ready.Public, Base: dataBase(0), First: int64(1+k) * 100_000_000, Connections: 64 / n,
			Count: int((b.size.warmUp+b.size.acceptFor).Seconds()*acceptAtMost) / n, WarmUp: b.size.warmUp, Lasts: b.size.acceptFor,
		}, &step)
		if err != nil {
			return err
		}
		loads = append(loads, load)
	}
	var step loadStep
	for _, load := range loads {
		if err := load.command("go"); err != nil {
			return err
		}
	}
	for _, load := range loads {
		if err := load.receive(&step); err != nil {
			return err
		}
	}
	used := startUsage(append([]cpuMeter{b.server}, metersOf(webs)...)...)
	answered, rate := 0, 0.0
	for _, load := range loads {
		if err := load.receive(&step); err != nil {
			return err
		}
		if step.Result == nil || step.Result.Answered == 0 || step.Result.Refused > 0 {
			return errors.New("not every callback was accepted" + because(step.Result))
		}
		answered += step.Result.Answered
		rate += float64(step.Result.Answered) / step.Result.Took.Seconds()
	}
	l.add(perSecond, rate)
	l.addUsage(used.since(answered), webs)
	return nil
}

func metersOf(list []*child) []cpuMeter {
	meters := make([]cpuMeter, len(list))
	for i, c := range list {
		meters[i] = cpuMeter{pid: c.pid()}
	}
	return meters
}

// addUsage takes PostgreSQL's CPU time, that of all processes together, and the memory of the largest.
func (l *Line) addUsage(cpu []float64, processes []*child) {
	sum, most := 0.0, math.NaN()
	for i, c := range processes {
		sum += cpu[1+i]
		if mib := peak(c.pid()); !(mib <= most) {
			most = mib
		}
	}
	l.add(postgresCPU, cpu[0])
	l.add(processCPU, sum)
	l.add(peakRSS, most)
}
