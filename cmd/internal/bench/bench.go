// Package bench measures Onward against what PostgreSQL does alone on the same machine, for `onward bench`. Each part
// runs a floor (pgbench, writing the same rows into the same tables, one transaction each) and the product (this binary's
// own web and worker processes) in turns on one database, which belongs to the benchmark. What is reported is the median
// of the rounds, from least to most, and the ratio of the two within a round: a machine that others use, too, moves both.
//
// docs/benchmarks.md describes each part. The package may import everything of ours; only cmd/onward may import it.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/app"
	"onward/jobs"
)

// The parts, in the order in which they run.
const (
	PartAccept  = "accept"
	PartApply   = "apply"
	PartNoop    = "noop"
	PartLatency = "latency"
	PartSend    = "send"
	PartFanOut  = "fanout"
	PartFleet   = "fleet"
	PartFlat    = "flat"
	PartAPI     = "api"
)

// Parts lists them.
func Parts() []string {
	return []string{PartAccept, PartApply, PartNoop, PartLatency, PartSend, PartFanOut, PartFleet, PartFlat, PartAPI}
}

// Options say what to measure, and where.
type Options struct {
	// DatabaseURL is an empty database, which is empty again afterwards. Without one, a server of the benchmark's own
	// runs in a temporary folder in DataDir.
	DatabaseURL string
	DataDir     string

	Quick  bool     // less of everything: under a minute, for a look
	Rounds int      // of floor and product each; 0: as many as the size has
	Only   []string // parts; nil: all

	// Receipts and Facts are how many there were before, in the part flat; 0: as many as the size has. Facts are those of
	// the part api, too.
	Receipts, Facts int
	// Businesses are those of the part api; 0: as many as the size has.
	Businesses int
	// AsIs lets the part api, alone, measure the database of DatabaseURL with what it holds: nothing is filled or emptied.
	AsIs bool
	// Concurrency is the worker's; 0: its default.
	Concurrency int
	// ProfileDir gets CPU profiles of web and worker under load, accept-64.pprof and so on; "": none are taken.
	ProfileDir string

	// Child is the command line that runs [Child]; a role is appended.
	Child   []string
	Version string
	// Progress is told what is measured now; may be nil.
	Progress func(step string)

	size *size // tests set it
}

// ErrUsage marks an error of whoever called, as against one of the measurement.
var ErrUsage = errors.New("usage")

func (o *Options) validate() error {
	for _, p := range o.Only {
		if !slices.Contains(Parts(), p) {
			return fmt.Errorf("%w: no part %q: there are %s", ErrUsage, p, strings.Join(Parts(), ", "))
		}
	}
	switch {
	case o.Rounds < 0 || o.Rounds > 100:
		return fmt.Errorf("%w: rounds are between 1 and 100", ErrUsage)
	case o.Receipts < 0 || o.Receipts > 100_000_000 || o.Facts < 0 || o.Facts > 100_000_000:
		return fmt.Errorf("%w: receipts and facts are between 1 and 100000000", ErrUsage)
	case o.Businesses < 0 || o.Businesses > 10_000_000:
		return fmt.Errorf("%w: businesses are between 1 and 10000000", ErrUsage)
	case o.AsIs && (o.DatabaseURL == "" || !slices.Equal(o.Only, []string{PartAPI})):
		return fmt.Errorf("%w: a database can be measured as it is by the part %s alone, and has to be named", ErrUsage, PartAPI)
	case o.Concurrency < 0 || o.Concurrency > 10_000:
		return fmt.Errorf("%w: a concurrency is between 1 and 10000", ErrUsage)
	case len(o.Child) == 0:
		return errors.New("bench: Options.Child is missing")
	}
	if o.size == nil {
		s := fullSize()
		if o.Quick {
			s = quickSize()
		}
		o.size = &s
	}
	if o.Rounds == 0 {
		o.Rounds = o.size.rounds
	}
	o.size.pastReceipts = cmp.Or(o.Receipts, o.size.pastReceipts)
	o.size.pastFacts = cmp.Or(o.Facts, o.size.pastFacts)
	o.size.apiBusinesses = cmp.Or(o.Businesses, o.size.apiBusinesses)
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return nil
}

// bench is one run.
type bench struct {
	opts    Options
	size    size
	pool    *pgxpool.Pool
	dsn     string
	pgbench pgbench
	server  cpuMeter  // of PostgreSQL; reads nothing where it can't be had
	applied []float64 // apply's rate by round, which noop compares with River's own
}

// part is what a file of this package measures.
type part struct {
	name, title string
	run         func(*bench, context.Context, *Part) error
}

func parts() []part {
	return []part{
		{PartAccept, "accept: verify a callback, commit receipt and job, answer", (*bench).accept},
		{PartApply, "apply: one delivered callback to message, business, trail and counters", (*bench).apply},
		{PartNoop, "noop: River's jobs that do nothing", (*bench).noop},
		{PartLatency, "latency: callback sent → status committed", (*bench).latency},
		{PartSend, "send: everything about a text but the provider's own time", (*bench).send},
		{PartFanOut, "fanout: a campaign's audience to messages and jobs", (*bench).fanOut},
		{PartFleet, "fleet: several processes on one database", (*bench).fleet},
		{PartFlat, "flat: accept and apply after millions of receipts and facts", (*bench).flat},
		{PartAPI, "api: what operators wait for, over HTTP", (*bench).api},
	}
}

// Run measures. On an error the report holds what was measured before it.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.ProfileDir != "" {
		if err := os.MkdirAll(o.ProfileDir, 0o755); err != nil {
			return nil, fmt.Errorf("make the folder for profiles: %w", err)
		}
	}
	begun := time.Now()
	tool, err := findPgbench(ctx)
	if err != nil {
		return nil, err
	}
	o.Progress("a database of its own")
	db, err := openDatabase(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.close(context.WithoutCancel(ctx))) }()

	b := &bench{opts: o, size: *o.size, pool: db.pool, dsn: db.dsn, server: cpuMeter{pid: db.pid, children: true}}
	b.pgbench = pgbench{path: tool, dsn: db.dsn, server: b.server}
	report := &Report{Version: o.Version, StartedAt: begun.UTC().Truncate(time.Second), Size: b.size.name, Rounds: o.Rounds}
	if report.Machine, err = describeMachine(ctx, db); err != nil {
		return nil, err
	}
	report.Machine.Concurrency = b.callbacksAtOnce()
	for _, p := range parts() {
		if o.Only != nil && !slices.Contains(o.Only, p.name) {
			continue
		}
		report.Parts = append(report.Parts, Part{Name: p.name, Title: p.title})
		if err := p.run(b, ctx, &report.Parts[len(report.Parts)-1]); err != nil {
			report.finish(begun)
			return report, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	report.finish(begun)
	return report, nil
}

// callbacksAtOnce is how many jobs of the queue callbacks the worker runs at once.
func (b *bench) callbacksAtOnce() int {
	return cmp.Or(b.opts.Concurrency, app.DefaultConcurrency(jobs.QueueCallbacks))
}

// step tells what is measured now.
func (b *bench) step(part string, round int, what string) {
	b.opts.Progress(fmt.Sprintf("%s %d/%d: %s", part, round+1, b.opts.Rounds, what))
}

// turns runs floor and product by turns: the floor first in even rounds, the product first in odd ones.
func turns(round int, floor, product func() error) error {
	if round%2 == 1 {
		floor, product = product, floor
	}
	if err := floor(); err != nil {
		return err
	}
	return product()
}
