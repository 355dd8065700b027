package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/rawconn"
)

// Pools are small: at the same rate a pool of 64 has three times the p99 of one of 8 to 16. River's is its own, so
// that neither waits for the other, and so is that of its fetches, whose sessions keep their plans.
const (
	poolSize      = 16
	queuePoolSize = 8
	fetchPoolSize = 2
)

func (a *App) openPools(ctx context.Context) (err error) {
	if a.pool, err = connect(ctx, a.cfg, poolOptions{size: poolSize, tracer: a.tracing.queries(), session: poolSession()}); err != nil {
		return err
	}
	// River listens, and that needs a session of its own.
	if a.queue, err = connect(ctx, a.cfg.Direct(), poolOptions{size: queuePoolSize, session: queueSession(a.opts.Role)}); err != nil {
		return err
	}
	if a.opts.Role.works() {
		fetches := poolOptions{size: fetchPoolSize, session: fetchSession(a.opts.Role), prepare: freshPlans, release: renewPlans}
		if a.fetches, err = connect(ctx, a.cfg.Direct(), fetches); err != nil {
			return err
		}
	}
	a.watchPools()
	return nil
}

// Connect opens a pool and waits for the database, briefly.
func Connect(ctx context.Context, cfg Config, size int32) (*pgxpool.Pool, error) {
	return connect(ctx, cfg, poolOptions{size: size})
}

type poolOptions struct {
	size    int32
	tracer  pgx.QueryTracer
	session []string                                       // statements that set up each session
	prepare func(context.Context, *pgx.Conn) (bool, error) // before each use of a connection; false: it is not used
	release func(*pgx.Conn) bool                           // after each; false: it is closed
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
	// then. Planning anew costs a fraction of a millisecond for a whole batch of jobs. By index always: a fetch of two hundred
	// jobs looked cheaper to the planner by reading ten thousand. What has no index costs so much in its eyes that it would
	// compile it each time: the leader's election, every five seconds, for a tenth of a second of a core.
	set := []string{`SET plan_cache_mode = force_custom_plan`, `SET enable_seqscan = off`, `SET jit = off`}
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

func connect(ctx context.Context, cfg Config, o poolOptions) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		// pgx hides the password in its own text, but not in all.
		return nil, &ConfigError{Problems: []string{"DATABASE_URL: not a PostgreSQL DSN"}}
	}
	pc.MaxConns = o.size
	pc.ConnConfig.Tracer = o.tracer
	pc.PrepareConn = o.prepare
	pc.AfterRelease = o.release
	dial := pc.ConnConfig.DialFunc
	pc.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return rawconn.Of(c), nil
	}
	pc.ConnConfig.RuntimeParams["application_name"] = "onward"
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if cfg.ListenDatabaseURL != "" {
		// DATABASE_URL is a pooler: it may hand each transaction to another session, where no prepared statement is. What
		// is kept is what the parameters' types are, and statements are sent whole. What one session is set to, others get.
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		o.session = nil
	}
	if len(o.session) > 0 {
		pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, strings.Join(o.session, ";"))
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
	if a.fetches != nil {
		a.fetches.Close()
	}
	if a.queue != nil {
		a.queue.Close()
	}
	if a.pool != nil {
		a.pool.Close()
	}
}
