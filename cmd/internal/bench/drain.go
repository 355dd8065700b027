package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/jobs"
)

const (
	// drainPoll is how exactly the end of a drain is seen.
	drainPoll = 20 * time.Millisecond
	// drainPatience bounds how long a measurement waits for work to be done.
	drainPatience = 3 * time.Minute
	// startPatience is how long a worker may take to be idle after its start.
	startPatience = 30 * time.Second
)

// hold keeps a queue's jobs back, so that a worker can start, connect and do what it does at each start, before it is
// measured.
func (b *bench) hold(ctx context.Context, queue string) error {
	_, err := b.pool.Exec(ctx, `
		INSERT INTO river_queue (name, paused_at, created_at, updated_at)
		VALUES ($1, now(), now(), now())
		ON CONFLICT (name) DO UPDATE SET paused_at = now(), updated_at = now()`, queue)
	if err != nil {
		return fmt.Errorf("hold the queue %s: %w", queue, err)
	}
	return nil
}

// idle waits until a worker has done its jobs of each start: the upkeep of partitions and the checks. What sleeps a few
// seconds (analytics does, for ever) is available as of then.
func (b *bench) idle(ctx context.Context) error {
	return b.waitFor(ctx, startPatience, "the worker is not idle after its start", `
		SELECT count(*) FILTER (WHERE state = 'completed') > 0
			AND count(*) FILTER (WHERE state = 'running' OR state = 'available' AND scheduled_at <= now()) = 0
		FROM river_job
		WHERE queue = $1`, jobs.QueueMaintenance)
}

// drained is what a worker made of a queue.
type drained struct {
	jobs int // completed
	took time.Duration
}

// drain lets go of a queue's jobs and waits until every one is completed, or for so long, whichever comes first. It counts
// from the first job's start.
func (b *bench) drain(ctx context.Context, queue string, atMost time.Duration) (drained, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainPatience, fmt.Errorf("time-out of %s: the jobs are not done", drainPatience))
	defer cancel()
	if err := b.release(ctx, queue); err != nil {
		return drained{}, err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return drained{}, fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	// By the index a look takes a fraction of a millisecond; the planner may prefer to read all jobs for a first one.
	if _, err := conn.Exec(ctx, `SET enable_seqscan = off`); err != nil {
		return drained{}, fmt.Errorf("set up: %w", err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), `RESET enable_seqscan`) }()
	open := true
	for until := time.Now().Add(atMost); open && time.Now().Before(until); {
		err := conn.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM river_job WHERE state = 'available' AND queue = $1)
				OR EXISTS (SELECT FROM river_job WHERE state = 'running' AND queue = $1)
				OR EXISTS (SELECT FROM river_job WHERE state IN ('retryable', 'scheduled') AND queue = $1)`, queue).Scan(&open)
		if err != nil {
			return drained{}, errors.Join(context.Cause(ctx), fmt.Errorf("look for open jobs: %w", err))
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return drained{}, err
		}
	}
	end := time.Now()
	var begun *time.Time
	var d drained
	var bad int
	err = conn.QueryRow(ctx, `
		SELECT min(attempted_at), count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE errors IS NOT NULL)
		FROM river_job
		WHERE queue = $1`, queue).Scan(&begun, &d.jobs, &bad)
	switch {
	case err != nil:
		return d, fmt.Errorf("count the jobs: %w", err)
	case bad > 0:
		return d, fmt.Errorf("%d jobs failed", bad)
	case begun == nil || d.jobs == 0:
		return d, fmt.Errorf("no job was completed within %s", atMost)
	}
	d.took = end.Sub(*begun)
	return d, nil
}

// release lets a worker have a queue's jobs.
func (b *bench) release(ctx context.Context, queue string) error {
	client, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	if err := client.QueueResume(ctx, queue, nil); err != nil {
		return fmt.Errorf("let go of the queue %s: %w", queue, err)
	}
	return nil
}

// waitFor asks a yes-or-no question until it is answered yes.
func (b *bench) waitFor(ctx context.Context, patience time.Duration, otherwise, query string, args ...any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("time-out of %s: %s", patience, otherwise))
	defer cancel()
	for {
		var yes bool
		if err := b.pool.QueryRow(ctx, query, args...).Scan(&yes); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		if yes {
			return nil
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return err
		}
	}
}
