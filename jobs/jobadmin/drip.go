package jobadmin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// Drip is an act on all jobs that match, some at a time.
type Drip struct {
	Verb     Verb
	Filter   Filter
	Operator Operator
	// PerSecond is how many jobs are acted on in a second; 0: as fast as it goes.
	PerSecond float64
	// Progress is told after each chunk; may be nil.
	Progress func(done, total int64)
	// Wake is told the queues that got jobs, after each commit; may be nil.
	Wake func(queues []string)
}

// dripChunk is how many jobs are in one transaction at most: some 20 ms.
const dripChunk = 200

// dripBeat is how often a slow drip drips.
const dripBeat = 100 * time.Millisecond

// ErrStopped says that a drip was stopped before its end. What was done is in its result and in the operators' log.
var ErrStopped = errors.New("stopped before the end")

// Run acts on the jobs that match now, oldest first. Each chunk is committed with what it came to, so whatever ends the
// run, the operators' log tells how far it got; running it again goes on with what still matches.
func (d Drip) Run(ctx context.Context, pool *pgxpool.Pool, client *river.Client[pgx.Tx]) (Result, error) {
	var r Result
	f, err := d.Verb.Prepare(d.Filter)
	if err != nil {
		return r, err
	}
	ids, err := Select(ctx, pool, f)
	if err != nil || len(ids) == 0 {
		return r, err
	}
	r.Matched = len(ids)
	action, err := Begin(ctx, pool, d.Verb, d.Operator, f, len(ids))
	if err != nil {
		return r, err
	}
	begun := time.Now()
	for done := 0; done < len(ids); {
		due := d.due(time.Since(begun), done, len(ids))
		if due == 0 {
			select {
			case <-time.After(dripBeat):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return r, fmt.Errorf("%w: %d of %d jobs %s", ErrStopped, r.Done, len(ids), d.Verb.done())
		}
		if due == 0 {
			continue
		}
		chunk := ids[done : done+due]
		var part Result
		err := again(func() error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				var err error
				if part, err = Apply(ctx, tx, client, d.Verb, action, chunk, 0, 0); err != nil {
					return err
				}
				sum := r
				sum.add(part)
				return Note(ctx, tx, action, sum)
			})
		})
		if err != nil {
			return r, fmt.Errorf("%d of %d jobs %s, then: %w", r.Done, len(ids), d.Verb.done(), err)
		}
		r.add(part)
		done += due
		if d.Wake != nil && len(part.Queues) > 0 {
			d.Wake(part.Queues)
		}
		if d.Progress != nil {
			d.Progress(int64(done), int64(len(ids)))
		}
	}
	return r, nil
}

// again repeats what met a job of the same unique key that was enqueued at the same moment: next time it is seen.
func again(run func() error) error {
	err := run()
	for range 2 {
		if !MetTwin(err) {
			return err
		}
		err = run()
	}
	return err
}

// MetTwin reports whether an act failed because a job of the same unique key was enqueued at the same moment: done again,
// it says so of that job and goes on with the others.
func MetTwin(err error) bool {
	var pg *pgconn.PgError
	const uniqueViolation = "23505"
	return errors.As(err, &pg) && pg.Code == uniqueViolation && pg.ConstraintName == "river_job_unique_idx"
}

// due is how many more jobs are acted on now.
func (d Drip) due(elapsed time.Duration, done, total int) int {
	if d.PerSecond <= 0 {
		return min(dripChunk, total-done)
	}
	// The first at once.
	should := int(elapsed.Seconds()*d.PerSecond) + 1
	return max(min(should-done, total-done, dripChunk), 0)
}

// Dry says what Run would do.
func (d Drip) Dry(ctx context.Context, q Querier) (Result, error) {
	f, err := d.Verb.Prepare(d.Filter)
	if err != nil {
		return Result{}, err
	}
	ids, err := Select(ctx, q, f)
	if err != nil {
		return Result{}, err
	}
	return Inspect(ctx, q, d.Verb, ids)
}
