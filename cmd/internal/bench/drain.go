package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// drainPoll is how exactly the end of a drain is seen.
const drainPoll = 20 * time.Millisecond

// drained waits until every job of a queue is completed, and returns how long that took from the first one's start.
func (b *bench) drained(ctx context.Context, queue string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainPatience, fmt.Errorf("time-out of %s: the jobs are not done", drainPatience))
	defer cancel()
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	// By the index a look takes a fraction of a millisecond; the planner may prefer to read all jobs for a first one.
	if _, err := conn.Exec(ctx, `SET enable_seqscan = off`); err != nil {
		return 0, fmt.Errorf("set up: %w", err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), `RESET enable_seqscan`) }()
	for {
		var open bool
		err := conn.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM river_job WHERE state = 'available' AND queue = $1)
				OR EXISTS (SELECT FROM river_job WHERE state = 'running' AND queue = $1)
				OR EXISTS (SELECT FROM river_job WHERE state IN ('retryable', 'scheduled') AND queue = $1)`, queue).Scan(&open)
		if err != nil {
			return 0, errors.Join(context.Cause(ctx), fmt.Errorf("look for open jobs: %w", err))
		}
		if !open {
			break
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return 0, err
		}
	}
	end := time.Now()
	var begun time.Time
	var bad int
	err = conn.QueryRow(ctx, `
		SELECT min(attempted_at), count(*) FILTER (WHERE state <> 'completed')
		FROM river_job
		WHERE queue = $1`, queue).Scan(&begun, &bad)
	if err != nil {
		return 0, fmt.Errorf("look for the first job: %w", err)
	}
	if bad > 0 {
		return 0, fmt.Errorf("%d jobs failed", bad)
	}
	return end.Sub(begun), nil
}
