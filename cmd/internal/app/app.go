// Package app wires Onward: settings, pools, the inbox, the listeners, the workers. It is the only reader of the
// environment, and what end-to-end tests start. It may import everything of ours.
package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/jobtrace"
	"onward/jobs/jobwatch"
	"onward/jobs/provider"
	"onward/jobs/provider/smtp"
	"onward/jobs/provider/twilio"
	"onward/jobs/recipienttime"
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
	pool    *pgxpool.Pool // ours
	queue   *pgxpool.Pool // River's own
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
	if opts.Logger == nil {
		opts.Logger = NewLogger(opts.Config, opts.Stderr)
	}
	a := &App{opts: opts, cfg: opts.Config, logger: opts.Logger, metrics: newMetrics(opts), rejected: newRejections(opts.Clock)}
	defer func() {
		if err != nil {
			a.closePools()
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

// Pools are small: at the same rate a pool of 64 has three times the p99 of one of 8 to 16. River's is its own, so
// that neither waits for the other.
const (
	poolSize      = 16
	queuePoolSize = 8
)

func (a *App) openPools(ctx context.Context) (err error) {
	if a.pool, err = connect(ctx, a.cfg, poolSize, a.tracing.queries(), poolSession()...); err != nil {
		return err
	}
	// River listens, and that needs a session of its own.
	if a.queue, err = connect(ctx, a.cfg.Direct(), queuePoolSize, nil, queueSession(a.opts.Role)...); err != nil {
		return err
	}
	a.watchPools()
	return nil
}

// Connect opens a pool and waits for the database, briefly.
func Connect(ctx context.Context, cfg Config, size int32) (*pgxpool.Pool, error) {
	return connect(ctx, cfg, size, nil)
}

// poolSession are the statements that set up a session of our own pool. What somebody waits for takes less time than to begin
// processes or to compile for it, and several ask at once.
func poolSession() []string {
	return []string{`SET jit = off`, `SET max_parallel_workers_per_gather = 0`}
}

// queueSession are the statements that set up a session of River's pool.
func queueSession(role Role) []string {
	// Statements are prepared, and PostgreSQL keeps the plan that it makes of them first: made while river_job was empty, a
	// fetch reads all of it, until somebody analyzes. At 1,000 callbacks a second a worker was twelve seconds behind by
	// then. Planning anew costs a fraction of a millisecond for a whole batch of jobs.
	set := []string{`SET plan_cache_mode = force_custom_plan`, `SET enable_seqscan = off`}
	if role.works() && !role.serves() {
		// A worker's fetches, completions and retries. What a crash of the database forgets of them is done again, as after
		// a crash of the worker, and changes nothing; a callback would wait for the disk once more on its way. What is
		// promised (receipts with their jobs, facts, dispatches) is committed on the other pool, and what operators do to
		// jobs by the web process.
		set = append(set, `SET synchronous_commit = off`)
	}
	return set
}

// QueueSession are the statements with which a worker sets up the sessions of River's pool.
func QueueSession() []string { return queueSession(RoleWorker) }

func connect(ctx context.Context, cfg Config, size int32, tracer pgx.QueryTracer, setUp ...string) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		// pgx hides the password in its own text, but not in all.
		return nil, &ConfigError{Problems: []string{"DATABASE_URL: not a PostgreSQL DSN"}}
	}
	pc.MaxConns = size
	pc.ConnConfig.Tracer = tracer
	pc.ConnConfig.RuntimeParams["application_name"] = "onward"
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if cfg.ListenDatabaseURL != "" {
		// DATABASE_URL is a pooler: it may hand each transaction to another session, where no prepared statement is. What
		// is kept is what the parameters' types are, and statements are sent whole.
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if len(setUp) > 0 {
		pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, strings.Join(setUp, ";"))
			return err
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("time-out of connecting to the database"))
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("the database of DATABASE_URL does not answer: %w", redact(err))
	}
	return pool, nil
}

// redact keeps the cause of a connection error without its DSN.
func redact(err error) error {
	var pe *pgconn.ParseConfigError
	if errors.As(err, &pe) {
		return errors.New("the DSN can't be read")
	}
	return err
}

func (a *App) closePools() {
	if a.twilio != nil {
		a.twilio.Close()
	}
	if a.queue != nil {
		a.queue.Close()
	}
	if a.pool != nil {
		a.pool.Close()
	}
}

// FetchCooldown is how soon after a fetch River looks for jobs again when it is told of new ones. Its default of
// 100 ms is most of the latency of a webhook at idle; at 5 ms a busy queue costs up to 200 fetches a second, some
// 1 % of a core.
const FetchCooldown = 2 * time.Millisecond

// How many jobs of a queue run at once by default. A callback holds a goroutine and its place in a group, no connection:
// 400 make groups of a hundred and more under load, which is where a statement's own cost no longer counts
// (docs/benchmarks.md). A text waits for its slot and for the provider, some 150 ms in all. Other jobs hold a connection.
const (
	concurrencyCallbacks = 400
	concurrencyTexts     = 200
	concurrencyOthers    = 50
)

// DefaultConcurrency is how many jobs of a queue a worker runs at once unless it is told otherwise.
func DefaultConcurrency(queue string) int {
	switch queue {
	case jobs.QueueCallbacks:
		return concurrencyCallbacks
	case jobs.QueueSendSMS:
		return concurrencyTexts
	}
	return concurrencyOthers
}

func (o Options) concurrency(queue string) int {
	if o.Concurrency > 0 {
		return o.Concurrency
	}
	return DefaultConcurrency(queue)
}

// Jobs that failed for good stay for as long as raw receipts do by default: River would delete them after 7 days.
const keepDiscarded = 90 * 24 * time.Hour

func (a *App) buildRiver() error {
	cfg := &river.Config{
		Logger:                      quietLogger(),
		FetchCooldown:               FetchCooldown,
		FetchPollInterval:           time.Second,
		JobTimeout:                  time.Minute,
		RescueStuckJobsAfter:        10 * time.Minute,
		CancelledJobRetentionPeriod: keepDiscarded,
		DiscardedJobRetentionPeriod: keepDiscarded,
	}
	if a.tracing != nil {
		cfg.Plugins = append(cfg.Plugins, &jobtrace.Plugin{Tracer: a.tracing.tracer})
	}
	if a.opts.Role.works() {
		cfg.ID = clientID()
		cfg.Logger = riverLogger(a.logger)
		cfg.Workers = river.NewWorkers()
		cfg.ErrorHandler = &errorHandler{logger: a.logger, metrics: a.metrics}
		cfg.Queues = map[string]river.QueueConfig{}
		queues := a.opts.Queues
		if queues == nil {
			queues = jobs.Queues()
		}
		capacity := 0
		for _, q := range queues {
			cfg.Queues[q] = river.QueueConfig{MaxWorkers: a.opts.concurrency(q)}
			capacity += a.opts.concurrency(q)
		}
		cfg.Plugins = append(cfg.Plugins, a.watchJobs(queues))
		cfg.PeriodicJobs = []*river.PeriodicJob{
			river.NewPeriodicJob(
				river.PeriodicInterval(6*time.Hour),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.PartitionsArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(10*time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.VerifySampleArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Hour),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.TidyArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.PollMessagesArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.AnalyticsArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
		}
		o, err := a.workerOptions()
		if err != nil {
			return err
		}
		if a.opts.Tune != nil {
			a.opts.Tune(&o)
		}
		if err := worker.Register(cfg.Workers, o); err != nil {
			return err
		}
		a.process = &worker.Process{
			Pool: a.pool, Logger: a.logger, ClientID: cfg.ID, Version: a.opts.Version, Queues: queues,
			Capacity: capacity, Wake: a.waker.Wake, Running: a.watch.Running,
		}
	}
	client, err := river.NewClient(riverDriver(a.queue), cfg)
	if err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	a.river = client
	return nil
}

func (a *App) workerOptions() (worker.Options, error) {
	window, err := recipienttime.ParseWindow(a.cfg.QuietHours)
	if err != nil {
		return worker.Options{}, &ConfigError{Problems: []string{"ONWARD_QUIET_HOURS: " + err.Error()}}
	}
	o := worker.Options{
		Pool: a.pool, Logger: a.logger, Clock: a.opts.Clock, PublicURL: a.cfg.PublicURL, Tokens: a.tokens,
		QuietHours: window, UnknownSends: a.cfg.UnknownSends, RecurrenteLive: a.cfg.RecurrenteLive,
		RetentionDays: a.cfg.RetentionDays, EmailFrom: a.cfg.EmailFrom, EmailPostalAddress: a.cfg.EmailPostalAddress,
		Wake:     a.waker.Wake,
		Observer: a.observer(),
		Tracer:   a.tracing.requests(),
	}
	if a.cfg.TwilioAccountSID != "" {
		a.twilio, err = twilio.New(twilio.Options{
			AccountSID: a.cfg.TwilioAccountSID, AuthToken: a.cfg.TwilioAuthToken.List()[0], From: a.cfg.TwilioFrom,
			MessagingServiceSID: a.cfg.TwilioMessagingServiceSID, BaseURL: a.cfg.TwilioAPIBaseURL,
		})
		if err != nil {
			return o, fmt.Errorf("configure Twilio: %w", err)
		}
		o.SMS, o.SMSLookup = a.twilio, a.twilio
		o.SMSFrom = a.smsFrom()
	}
	if a.cfg.SMTPURL != "" {
		mail, err := newMailer(a.cfg)
		if err != nil {
			return o, err
		}
		o.Email = mail
	}
	return o, nil
}

// smsFrom is what the pace of texts is kept by: the number, else the messaging service.
func (a *App) smsFrom() string {
	if a.cfg.TwilioFrom != "" {
		return a.cfg.TwilioFrom
	}
	return a.cfg.TwilioMessagingServiceSID
}

func newMailer(cfg Config) (provider.Sender, error) {
	opts, err := smtp.ParseURL(string(cfg.SMTPURL))
	if err != nil {
		return nil, &ConfigError{Problems: []string{"SMTP_URL: " + err.Error()}}
	}
	opts.From = cfg.EmailFrom
	client, err := smtp.New(opts)
	if err != nil {
		return nil, &ConfigError{Problems: []string{"SMTP_URL: " + err.Error()}}
	}
	return client, nil
}

// clientID names this process in River's tables: unique among all that ever ran.
func clientID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", host, os.Getpid(), time.Now().UnixNano()))
	return fmt.Sprintf("%s_%d_%s", host, os.Getpid(), hex.EncodeToString(sum[:6]))
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
		if err := l.start(ctx, a.logger); err != nil {
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
