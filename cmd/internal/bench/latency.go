package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settled bounds how long the callbacks of one measurement may take to be applied after the last was sent.
const settled = 20 * time.Second

// latency measures how long it takes from a callback's sending until its effect is committed: at fixed rates, at random
// times, against a web and a worker process. Both ends are read from one clock: the generator's at sending, the worker's when
// PostgreSQL had confirmed the commit.
func (b *bench) latency(ctx context.Context, p *Part) error {
	p.note("answered: callback sent → 2xx; committed: callback sent → its effect committed, as the worker sees it")
	p.note("µs: CPU time a callback, as long as the rate lasts; process is web and worker, driver the load generator")
	for round := range b.opts.Rounds {
		if err := b.latencyRound(ctx, round, p); err != nil {
			return err
		}
	}
	return nil
}

// atMost is how many callbacks a rate may come to, with room for chance.
func (r rate) atMost() int { return int(r.perSecond*r.lasts.Seconds()*1.3) + 50 }

func (b *bench) latencyRound(ctx context.Context, round int, p *Part) (err error) {
	b.step(PartLatency, round, "data")
	rows := b.size.rateWarmUp.atMost()
	for _, r := range b.size.rates {
		rows += r.atMost()
	}
	base, err := b.populate(ctx, dataset{rows: rows, messages: "sent", campaign: true})
	if err != nil {
		return err
	}
	var web, worker appReady
	webProcess, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &web)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, webProcess) }()
	workerProcess, err := b.start(ctx, roleWorker, appSettings{DatabaseURL: b.dsn, Concurrency: b.opts.Concurrency, Commits: true}, &worker)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, workerProcess) }()

	if err := b.idle(ctx); err != nil {
		return err
	}

	next := loadSettings{Address: web.Public, Base: base, First: 1, Seed: uint64(round) + 1}
	if _, err := b.latencyAt(ctx, b.size.rateWarmUp, &next, webProcess, workerProcess); err != nil {
		return err
	}
	for _, r := range b.size.rates {
		b.step(PartLatency, round, fmt.Sprintf("%.0f a second", r.perSecond))
		got, err := b.latencyAt(ctx, r, &next, webProcess, workerProcess)
		if err != nil {
			return fmt.Errorf("at %.0f a second: %w", r.perSecond, err)
		}
		answered := p.line(fmt.Sprintf("%.0f a second, answered", r.perSecond))
		answered.add(p50, milliseconds(got.load.P50))
		answered.add(p99, milliseconds(got.load.P99))
		committed := p.line(fmt.Sprintf("%.0f a second, committed", r.perSecond))
		committed.add(perSecond, float64(len(got.times))/got.load.Took.Seconds())
		committed.add(p50, milliseconds(percentile(got.times, 0.5)))
		committed.add(p99, milliseconds(percentile(got.times, 0.99)))
		committed.add(postgresCPU, got.cpu[0])
		committed.add(processCPU, got.cpu[1]+got.cpu[2])
		committed.add(driverCPU, got.cpu[3])
	}
	p.line("web, after all of them").add(peakRSS, peak(webProcess.pid()))
	p.line("worker, after all of them").add(peakRSS, peak(workerProcess.pid()))
	return nil
}

// latencyResult is one measurement.
type latencyResult struct {
	load  *loadResult
	times []time.Duration // from sending to commit
	cpu   []float64       // of PostgreSQL, web, worker and load generator, in microseconds a callback
}

// latencyAt sends the next callbacks at a rate and waits until all are applied.
func (b *bench) latencyAt(ctx context.Context, r rate, next *loadSettings, web, worker *child) (got latencyResult, err error) {
	next.PerSecond, next.Lasts, next.Count = r.perSecond, r.lasts, r.atMost()
	next.Connections = 64
	switch {
	case r.perSecond > 500:
		next.Connections = 256
	case r.perSecond < 100:
		next.Connections = 8
	}
	applied, err := b.count(ctx, `SELECT count(*) FROM receipt_outcomes`)
	if err != nil {
		return got, err
	}
	var step loadStep
	load, err := b.start(ctx, roleLoad, *next, &step)
	if err != nil {
		return got, err
	}
	next.First += int64(next.Count)
	defer func() { stopAll(&err, load) }()
	used := startUsage(b.server, cpuMeter{pid: web.pid()}, cpuMeter{pid: worker.pid()}, cpuMeter{pid: load.pid()})
	if err := load.ask("go", &step); err != nil {
		return got, err
	}
	if err := load.receive(&step); err != nil {
		return got, err
	}
	got.load = step.Result
	if got.load == nil || got.load.Answered == 0 || got.load.Refused > 0 {
		return got, errors.New("not every callback was accepted" + because(got.load))
	}
	if err := b.waitFor(ctx, settled, "what was accepted is not applied", `SELECT count(*) >= $1 FROM receipt_outcomes`, applied+got.load.Answered); err != nil {
		return got, err
	}
	got.cpu = used.since(got.load.Answered)
	var commits []commit
	if err := worker.ask("commits", &commits); err != nil {
		return got, err
	}
	at := make(map[int64]int64, len(commits))
	for _, c := range commits {
		if _, twice := at[c.Business]; !twice {
			at[c.Business] = c.At
		}
	}
	for _, s := range got.load.Sent {
		if c, ok := at[s.N]; ok {
			got.times = append(got.times, time.Duration(c-s.At))
		}
	}
	if len(got.times) < got.load.Answered {
		return got, fmt.Errorf("%d callbacks were accepted, and %d of them applied", got.load.Answered, len(got.times))
	}
	return got, nil
}
