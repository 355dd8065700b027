package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/cmd/internal/app"
	"onward/jobs"
)

// The worker's own settings, as in cmd/internal/app: a job that does nothing gets the same.
const (
	workerPoll = time.Second
	workerPool = 8
)

// noopArgs is a job that does nothing.
type noopArgs struct {
	Num int `json:"num"`
}

// Kind is the job's name in river_job.
func (noopArgs) Kind() string { return "bench_noop" }

// noopSettings are those of a process that works jobs which do nothing.
type noopSettings struct {
	DatabaseURL string        `json:"database_url"`
	MaxWorkers  int           `json:"max_workers"`
	Cooldown    time.Duration `json:"cooldown"`
	Poll        time.Duration `json:"poll"`
	Session     []string      `json:"session,omitempty"` // statements that set up each session
}

// noop measures River itself, with jobs that do nothing: as its own benchmark does, on the tables of its own migrations; then
// on Onward's, with the settings of its benchmark and with the worker's. What the worker made of the same machine stands
// beside them, as a ratio to each: to the first as the figure that others know, to the last as what is left to gain.
func (b *bench) noop(ctx context.Context, p *Part) error {
	for round := range b.opts.Rounds {
		floor := p.line("River's own benchmark")
		b.step(PartNoop, round, floor.Name)
		if err := b.riverOnce(ctx, floor); err != nil {
			return err
		}
		theirs := p.line("River no-op, River's benchmark's settings")
		own := p.line("River no-op, the worker's settings")
		for _, run := range []struct {
			settings noopSettings
			line     *Line
		}{
			{noopSettings{DatabaseURL: b.dsn, MaxWorkers: riverMaxWorkers, Cooldown: riverCooldown, Poll: riverPoll}, theirs},
			{noopSettings{DatabaseURL: b.dsn, MaxWorkers: b.callbacksAtOnce(), Cooldown: app.FetchCooldown, Poll: workerPoll, Session: app.QueueSession()}, own},
		} {
			b.step(PartNoop, round, run.line.Name)
			if err := b.noopOnce(ctx, run.settings, run.line); err != nil {
				return err
			}
		}
		if round < len(b.applied) {
			for _, to := range []*Line{floor, own} {
				applied := p.line("worker, one campaign (apply, above), to " + to.Name)
				applied.add(perSecond, b.applied[round])
				applied.compare(to)
			}
		}
	}
	return nil
}

func (b *bench) noopOnce(ctx context.Context, s noopSettings, l *Line) (err error) {
	if _, err := b.populate(ctx, dataset{rows: b.size.noopJobs, jobs: noopArgs{}.Kind()}); err != nil {
		return err
	}
	if err := b.hold(ctx, jobs.QueueCallbacks); err != nil {
		return err
	}
	var ready bool
	c, err := b.start(ctx, roleNoop, s, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, c) }()
	_, err = b.measure(ctx, jobs.QueueCallbacks, c, l)
	return err
}

// noop is the process.
func (c *childProcess) noop(ctx context.Context) error {
	var s noopSettings
	if err := c.settings(&s); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(s.DatabaseURL)
	if err != nil {
		return errors.New("the database's URL can't be read")
	}
	config.MaxConns = workerPool
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, strings.Join(s.Session, ";"))
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("open a pool: %w", err)
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noopArgs]) error { return nil }))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Logger:        slog.New(slog.DiscardHandler),
		FetchCooldown: s.Cooldown, FetchPollInterval: s.Poll,
		Queues:  map[string]river.QueueConfig{jobs.QueueCallbacks: {MaxWorkers: s.MaxWorkers}},
		Workers: workers,
	})
	if err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	if err := c.out.Encode(true); err != nil {
		return err
	}
	for err == nil {
		_, err = c.next(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, client.Stop(context.WithoutCancel(ctx)))
}
