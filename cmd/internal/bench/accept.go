package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// accept measures how many callbacks are verified, committed with their job and answered. The floor commits the same two
// rows, one transaction each.
func (b *bench) accept(ctx context.Context, p *Part) error {
	for round := range b.opts.Rounds {
		floor := p.line("pgbench, " + strconv.Itoa(b.size.pgbenchClients) + " clients")
		err := turns(round,
			func() error { return b.acceptFloor(ctx, round, floor) },
			func() error { return b.acceptProduct(ctx, round, p) })
		if err != nil {
			return err
		}
		for _, n := range b.size.connections {
			p.line(webLine(n)).compare(floor)
		}
	}
	return nil
}

func webLine(connections int) string { return fmt.Sprintf("web, %d connections", connections) }

func (b *bench) acceptFloor(ctx context.Context, round int, floor *Line) error {
	b.step(PartAccept, round, floor.Name)
	if err := b.resetReceipts(ctx); err != nil {
		return err
	}
	c := newCallbacks(dataBase(0), "")
	res, err := b.pgbench.run(ctx, floorRun{
		// Long enough for its sessions' first transactions, which are slow, not to count for much.
		script: "accept", clients: b.size.pgbenchClients, lasts: max(b.size.acceptFor, b.size.floorAtLeast),
		variables: map[string]string{
			"query": c.target(1)[len(callbackPath)+1:], "headers": receiptHeaders, "body": string(c.appendBody(nil, 1)),
		},
	})
	if err != nil {
		return err
	}
	res.addTo(floor)
	return nil
}

// acceptAtMost is how many requests a second are signed beforehand: more than any web process took.
const acceptAtMost = 40_000

func (b *bench) acceptProduct(ctx context.Context, round int, p *Part) (err error) {
	var ready appReady
	web, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, web) }()
	for k, connections := range b.size.connections {
		l := p.line(webLine(connections))
		b.step(PartAccept, round, l.Name)
		if err := b.resetReceipts(ctx); err != nil {
			return err
		}
		count := int((b.size.warmUp + b.size.acceptFor).Seconds() * acceptAtMost)
		s := loadSettings{
			Address: ready.Public, Base: dataBase(0), First: int64(1+k) * 100_000_000, Count: count, Connections: connections,
			WarmUp: b.size.warmUp, Lasts: b.size.acceptFor,
		}
		if err := b.acceptOnce(ctx, web, s, l, fmt.Sprintf("accept-%d", connections)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) acceptOnce(ctx context.Context, web *child, s loadSettings, l *Line, profile string) (err error) {
	var step loadStep
	load, err := b.start(ctx, roleLoad, s, &step)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, load) }()
	if err := load.ask("go", &step); err != nil {
		return err
	}
	if err := b.profile(web, profile); err != nil {
		return err
	}
	used := startUsage(b.server, cpuMeter{pid: web.pid()}, cpuMeter{pid: load.pid()})
	if err := load.receive(&step); err != nil {
		return err
	}
	r := step.Result
	if r == nil || r.Answered == 0 {
		return errors.New("no callback was accepted" + because(r))
	}
	cpu := used.since(r.Answered)
	if err := b.profiled(web); err != nil {
		return err
	}
	if r.Refused > 0 {
		return fmt.Errorf("%d callbacks were refused%s", r.Refused, because(r))
	}
	// Accepted means stored, with its job.
	stored, err := b.count(ctx, `SELECT count(*) FROM webhook_events e JOIN river_job j ON (j.args ->> 'receipt_id')::uuid = e.id`)
	if err != nil {
		return err
	}
	if stored < r.Answered {
		return fmt.Errorf("%d callbacks were accepted, and %d of them stored with a job", r.Answered, stored)
	}
	l.add(perSecond, float64(r.Answered)/r.Took.Seconds())
	l.add(p50, milliseconds(r.P50))
	l.add(p99, milliseconds(r.P99))
	l.add(postgresCPU, cpu[0])
	l.add(processCPU, cpu[1])
	l.add(driverCPU, cpu[2])
	l.add(peakRSS, peak(web.pid()))
	return nil
}

func because(r *loadResult) string {
	if r == nil || r.Error == "" {
		return ""
	}
	return ": " + r.Error
}
