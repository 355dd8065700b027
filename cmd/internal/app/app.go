// Package app wires Onward: settings, pools, the inbox, the listeners, the workers. It is the only reader of the
// environment, and what end-to-end tests start. It may import everything of ours.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/jobwatch"
	"onward/jobs/provider/twilio"
	"onward/jobs/tracktoken"
	"onward/jobs/worker"
	"onward/migrations"
	"onward/web/inbox"
	"onward/web/metrics"
)

// Time-outs of a stop, each named in the error of the step that ran into it. Together they stay below the 30 s
// that Kubernetes grants.
const (
	drainHTTP    = 8 * time.Second
	drainInbox   = 5 * time.Second
	softStopJobs = 10 * time.Second
	hardStopJobs = 3 * time.Second
)

// Options are what New needs.
type Options struct {
	Config Config
	Role   Role
	Logger *slog.Logger // nil: as the settings say, to Stderr
	Stderr io.Writer    // nil: os.Stderr
	Clock  func() time.Time
	// Version is shown by metrics, logs and the fleet's list.
	Version string
	// Queues limits which queues a worker works; nil: all.
	Queues []string
	// Concurrency is how many jobs of a queue run at once; 0: as many as suit it (see concurrency).
	Concurrency int
	// Moved is told of each change of a status that this process commits; may be nil.
	Moved func(worker.Moved)
	// Demo says, on the console's pages, that what they show is made up.
	Demo bool
	// Tune changes the worker's options before the start, for tests.
	Tune func(*worker.Options)
}

// App is a running process.
type App struct {
	opts    Options
	cfg     Config
	logger  *slog.Logger
	lines   *lineBuffer   // behind logger; nil where that was given
	pool    *pgxpool.Pool // ours
	queue   *pgxpool.Pool // River's own
	fetches *pgxpool.Pool // of a worker's fetches; nil where no jobs are worked
	river   *river.Client[pgx.Tx]
	inbox   *inbox.Inbox
	metrics *metrics.Metrics
	waker   *waker
	tokens  *tracktoken.Codec
	public  *listener
	private *listener
	process *worker.Process
	watch   *jobwatch.Watch // of the jobs; nil where none are worked
	tracing *tracing        // nil where it is off

	rejected *rejections
	verified verified

	twilio   *twilio.Client
	stop     context.CancelFunc // ends the background loops
	stopping atomic.Bool
	loops    loops
}

// New checks the settings and connects; nothing is served or worked before Start. Every problem with the settings
// is in the error (a *ConfigError), a line each.
func New(ctx context.Context, opts Options) (_ *App, err error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Stderr == nil {
		opts.Stderr = os.Stderr
	}
	if err := opts.Config.Validate(opts.Role); err != nil {
		return nil, err
	}
	if err := knownQueues(opts.Queues); err != nil {
		return nil, err
	}
	var lines *lineBuffer
	if opts.Logger == nil {
		opts.Logger, lines = newLineLogger(opts.Config, opts.Stderr)
	}
	a := &App{lines: lines, opts: opts, cfg: opts.Config, logger: opts.Logger, metrics: newMetrics(opts), rejected: newRejections(opts.Clock)}
	defer func() {
		if err != nil {
			a.closePools()
			lines.close()
			_ = a.tracing.stop(context.WithoutCancel(ctx)) // nothing was traced yet
		}
	}()
	if a.tracing, err = newTracing(ctx, opts, a.logger); err != nil {
		return nil, err
	}
	a.logger = a.tracing.logger(a.logger)
	if err := a.openPools(ctx); err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, a.pool, quietLogger()); err != nil {
		return nil, err
	}
	if advice, err := migrations.SearchAdvice(ctx, a.pool); err != nil {
		return nil, err
	} else if advice != "" {
		a.logger.Warn(advice)
	}
	if a.tokens, err = tracktoken.New(a.cfg.SecretKey.List()); err != nil {
		return nil, &ConfigError{Problems: []string{"ONWARD_SECRET_KEY: " + err.Error()}}
	}
	a.waker = newWaker(a.pool, a.logger)
	if err := a.buildRiver(); err != nil {
		return nil, err
	}
	if opts.Role.serves() {
		if err := a.buildPublic(); err != nil {
			return nil, err
		}
	}
	if err := a.buildPrivate(); err != nil {
		return nil, err
	}
	return a, nil
}

func knownQueues(queues []string) error {
	for _, q := range queues {
		if !slices.Contains(jobs.Queues(), q) {
			return fmt.Errorf("no queue %q: there are %v", q, jobs.Queues())
		}
	}
	return nil
}

// Start serves and works. It returns once the listeners accept connections and the workers fetch.
func (a *App) Start(ctx context.Context) error {
	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = cancel
	a.loops.start(func() { a.waker.run(loopCtx) })
	a.loops.start(func() { a.metrics.ReadCluster(loopCtx, a.pool, a.logger) })
	if a.inbox != nil {
		a.inbox.Start()
	}
	if a.opts.Role.works() {
		// Listed before the first job runs: an unlisted worker's jobs would be taken for a dead one's.
		if err := a.process.Beat(ctx); err != nil {
			return err
		}
		if err := a.river.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("start River: %w", err)
		}
		a.loops.start(func() { a.process.Run(loopCtx) })
	}
	for _, l := range []*listener{a.private, a.public} {
		if l == nil {
			continue
		}
		if err := l.start(ctx); err != nil {
			return errors.Join(err, a.Stop(ctx))
		}
	}
	a.logger.Info("started", "role", string(a.opts.Role), "public", a.PublicAddr(), "private", a.PrivateAddr(), "version", a.opts.Version)
	return nil
}

// Stop ends the process in reverse order: HTTP drains, the inbox stores what it has, running jobs end (those that
// don't in time are cancelled and tried again by another worker), pools close.
func (a *App) Stop(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if a.stopping.Swap(true) {
		return nil // stopped before, or being stopped
	}
	var errs []error
	if a.public != nil {
		errs = append(errs, step(ctx, "draining the public listener", drainHTTP, a.public.stop))
	}
	if a.inbox != nil {
		errs = append(errs, step(ctx, "storing what the inbox holds", drainInbox, a.inbox.Stop))
	}
	if a.opts.Role.works() {
		errs = append(errs, a.stopJobs(ctx))
	}
	if a.stop != nil {
		a.stop()
		a.loops.wait()
	}
	if a.process != nil {
		errs = append(errs, step(ctx, "leaving the fleet", 2*time.Second, a.process.Leave))
	}
	if a.private != nil {
		errs = append(errs, step(ctx, "draining the private listener", drainHTTP, a.private.stop))
	}
	if err := step(ctx, "delivering the last spans", stopTracing, a.tracing.stop); err != nil {
		a.logger.Warn("some spans are lost", "error", err) // which is no reason to call the stop a failure
	}
	a.closePools()
	a.lines.close()
	return errors.Join(errs...)
}

func (a *App) stopJobs(ctx context.Context) error {
	err := step(ctx, "waiting for running jobs", softStopJobs, a.river.Stop)
	if err == nil {
		return nil
	}
	a.logger.Warn("jobs did not end in time: cancelling them", "after", softStopJobs.String())
	return step(ctx, "cancelling running jobs", hardStopJobs, a.river.StopAndCancel)
}

// step runs one step of a stop under its own time-out, which its error names.
func step(ctx context.Context, name string, limit time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("time-out of %s (%s)", name, limit))
	defer cancel()
	if err := fn(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// PublicAddr is where the public listener is bound; "" for a process without one.
func (a *App) PublicAddr() string { return a.public.address() }

// PrivateAddr is where the private listener is bound.
func (a *App) PrivateAddr() string { return a.private.address() }

// PublicURL is the configured public address.
func (a *App) PublicURL() string { return a.cfg.PublicURL }

// Pool is the process's pool, for commands that run beside it in one process.
func (a *App) Pool() *pgxpool.Pool { return a.pool }
