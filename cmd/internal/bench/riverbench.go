package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// River's own benchmark (`river bench --num-total-jobs`): the tables and indexes of River's migrations, inserted by InsertMany
// in thousands after TRUNCATE and VACUUM FULL, a pool and sessions with their defaults, the time from the client's start
// until the event of the last job's completion.
const (
	riverSchema     = "river_benchmark" // beside Onward's, which has other indexes
	riverBatch      = 5_000
	riverMaxWorkers = 2_000
	riverCooldown   = 2 * time.Millisecond
	riverPoll       = 20 * time.Millisecond
)

// riverSettings are those of a process that runs River's benchmark.
type riverSettings struct {
	DatabaseURL string `json:"database_url"`
	Jobs        int    `json:"jobs"`
}

// riverDone is what it took.
type riverDone struct {
	Jobs int           `json:"jobs"`
	Took time.Duration `json:"took"`
}

// riverOnce measures River as its own benchmark does.
func (b *bench) riverOnce(ctx context.Context, l *Line) (err error) {
	if err := b.dropRiver(ctx); err != nil { // left by a benchmark that was killed
		return err
	}
	defer func() { err = errors.Join(err, b.dropRiver(context.WithoutCancel(ctx))) }()
	if _, err := b.pool.Exec(ctx, `CREATE SCHEMA `+riverSchema); err != nil {
		return fmt.Errorf("make a schema: %w", err)
	}
	var ready bool
	c, err := b.start(ctx, roleRiver, riverSettings{DatabaseURL: b.dsn, Jobs: b.size.noopJobs}, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, c) }()
	if _, err := b.pool.Exec(ctx, `CHECKPOINT`); err != nil {
		return fmt.Errorf("make a checkpoint: %w", err)
	}
	used := startUsage(b.server, cpuMeter{pid: c.pid()})
	var done riverDone
	if err := c.ask("work", &done); err != nil {
		return err
	}
	cpu := used.since(done.Jobs)
	l.add(perSecond, float64(done.Jobs)/done.Took.Seconds())
	l.add(postgresCPU, cpu[0])
	l.add(processCPU, cpu[1])
	l.add(peakRSS, peak(c.pid()))
	return nil
}

func (b *bench) dropRiver(ctx context.Context) error {
	if _, err := b.pool.Exec(ctx, `DROP SCHEMA IF EXISTS `+riverSchema+` CASCADE`); err != nil {
		return fmt.Errorf("drop a schema: %w", err)
	}
	return nil
}

// river is the process.
func (c *childProcess) river(ctx context.Context) error {
	var s riverSettings
	if err := c.settings(&s); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, s.DatabaseURL)
	if err != nil {
		return errors.New("the database's URL can't be read")
	}
	defer pool.Close()
	client, err := riverClient(ctx, pool)
	if err != nil {
		return err
	}
	if err := insertForRiver(ctx, pool, client, s.Jobs); err != nil {
		return err
	}
	if err := c.out.Encode(true); err != nil {
		return err
	}
	if _, err := c.next(ctx); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	took, err := workForRiver(ctx, client, s.Jobs)
	if err == nil {
		err = c.out.Encode(riverDone{Jobs: s.Jobs, Took: took})
	}
	for err == nil {
		_, err = c.next(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, client.Stop(context.WithoutCancel(ctx)))
}

// riverClient migrates River's tables and makes a client for them.
func riverClient(ctx context.Context, pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	logger := slog.New(slog.DiscardHandler)
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: logger, Schema: riverSchema})
	if err != nil {
		return nil, fmt.Errorf("configure River's migrations: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("migrate River's tables: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noopArgs]) error { return nil }))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger: logger, Schema: riverSchema,
		FetchCooldown: riverCooldown, FetchPollInterval: riverPoll,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverMaxWorkers}},
		Workers: workers,
	})
	if err != nil {
		return nil, fmt.Errorf("configure River: %w", err)
	}
	return client, nil
}

func insertForRiver(ctx context.Context, pool *pgxpool.Pool, client *river.Client[pgx.Tx], jobs int) error {
	for _, sql := range []string{`TRUNCATE ` + riverSchema + `.river_job`, `VACUUM FULL ` + riverSchema + `.river_job`} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return fmt.Errorf("empty River's table: %w", err)
		}
	}
	for first := 0; first < jobs; first += riverBatch {
		list := make([]river.InsertManyParams, min(riverBatch, jobs-first))
		for i := range list {
			list[i].Args = noopArgs{Num: first + i}
		}
		if _, err := client.InsertMany(ctx, list); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	return nil
}

// workForRiver starts the client and returns how long it took until the event of the last job's completion.
func workForRiver(ctx context.Context, client *river.Client[pgx.Tx], jobs int) (time.Duration, error) {
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: jobs + 1, // an event that finds no room is dropped
		Kinds:    []river.EventKind{river.EventKindJobCancelled, river.EventKindJobCompleted, river.EventKindJobFailed},
	})
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, drainPatience, fmt.Errorf("time-out of %s: the jobs are not done", drainPatience))
	defer stop()
	begun := time.Now()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return 0, fmt.Errorf("start River: %w", err)
	}
	for range jobs {
		select {
		case e := <-events:
			if e.Kind != river.EventKindJobCompleted {
				return 0, fmt.Errorf("job %d: %s", e.Job.ID, e.Kind)
			}
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return time.Since(begun), nil
}
