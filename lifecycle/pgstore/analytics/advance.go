package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What one transaction takes: some 100 ms of the database and of this process.
const (
	chunkFacts      = 2000
	chunkBusinesses = 1000
	chunkChanged    = 1000
)

// AdvanceOptions say how [Advance] goes about it. The zero value is good.
type AdvanceOptions struct {
	// Patience is how long to wait for transactions that began before and are still open; 0: not at all. What they hold up
	// is counted by a later call.
	Patience time.Duration
	// Facts and Businesses bound what one transaction takes; 0: 2000 facts, 1000 businesses.
	Facts, Businesses int
	// Rest is how long to leave the database alone after each transaction that counted, as a multiple of the time that it
	// took; 0: not at all.
	Rest float64
	// Progress is told after each transaction of a rebuild the greatest id of a business that it counted. May be nil.
	Progress func(businessID int64)
}

// Advanced is what [Advance] did.
type Advanced struct {
	Businesses int64 // counted, again each time
	Chunks     int   // transactions that counted
	// Arrived is false where open transactions hold up what was committed since AsOf.
	Arrived bool
}

// Advance counts what was committed since the last call, chunk by chunk. Each chunk is one transaction that moves the
// sums and the place up to which they hold: a process that is killed between two, or within one, leaves sums that are
// right as of that place. Any number of processes may call it at once; they take turns.
//
// Facts are followed by their ids. An id is taken before its transaction commits, so ids become visible out of order.
// So a target is set: the greatest id that is visible, and a transaction id that is newer than every transaction that
// can hold a lower one. It is gone for when all older transactions are over. That relies on a transaction having an id of
// its own before it takes one for a fact, which whoever locks a business first has (pgstore.Apply).
func Advance(ctx context.Context, pool *pgxpool.Pool, o AdvanceOptions) (Advanced, error) {
	if o.Facts == 0 {
		o.Facts = chunkFacts
	}
	if o.Businesses == 0 {
		o.Businesses = chunkBusinesses
	}
	var done Advanced
	patience := time.Now().Add(o.Patience)
	pause := 5 * time.Millisecond
	targeted := false
	for {
		begun := time.Now()
		s, err := step(ctx, pool, o)
		if err != nil {
			return done, fmt.Errorf("advance analytics: %w", err)
		}
		if s.businesses > 0 {
			done.Chunks++
			done.Businesses += s.businesses
		}
		switch s.outcome {
		case counted:
			if s.walked > 0 && o.Progress != nil {
				o.Progress(s.walked)
			}
			if err := wait(ctx, time.Duration(o.Rest*float64(time.Since(begun)))); err != nil {
				return done, err
			}
		case arrived:
			if targeted {
				done.Arrived = true
				return done, nil
			}
			// At a target of an earlier call, which was held up: there is more by now.
		case aimless:
			if err := aim(ctx, pool); err != nil {
				return done, fmt.Errorf("advance analytics: %w", err)
			}
			targeted = true
		case heldUp:
			if time.Now().Add(pause).After(patience) {
				return done, nil
			}
			if err := wait(ctx, pause); err != nil {
				return done, err
			}
			pause = min(2*pause, 200*time.Millisecond)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("advance analytics: %w", context.Cause(ctx))
	case <-t.C:
		return nil
	}
}

// outcome is what a step came to.
type outcome int

const (
	aimless outcome = iota // there is no target
	heldUp                 // older transactions are open
	counted                // a chunk was counted; there may be more
	arrived                // at the target: the sums hold as of it
)

type stepped struct {
	outcome    outcome
	businesses int64
	walked     int64
}

// aim sets a target where there is none: first the facts are looked at, then a transaction id is taken, in a transaction
// of its own, so that it is newer than that of every fact up to the target.
func aim(ctx context.Context, pool *pgxpool.Pool) error {
	var fact int64
	var at time.Time
	// now() is not after the snapshot: what was committed before now() is seen.
	if err := pool.QueryRow(ctx, `SELECT COALESCE(max(id), 0), now() FROM facts`).Scan(&fact, &at); err != nil {
		return fmt.Errorf("look for the newest fact: %w", err)
	}
	_, err := pool.Exec(ctx, `
		UPDATE analytics_progress
		SET target_fact_id = GREATEST($1, fact_id), target_xid = pg_current_xact_id(), target_at = $2
		WHERE target_fact_id IS NULL`, fact, at)
	if err != nil {
		return fmt.Errorf("set the target: %w", err)
	}
	return nil
}

// step takes one step towards the target.
func step(ctx context.Context, pool *pgxpool.Pool, o AdvanceOptions) (stepped, error) {
	var s stepped
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// A crash may lose the last of it, with the place that it holds for: it is counted again then. Plans are kept for the
		// session's life, and one that was made while a table was empty would compare each of its rows with each business.
		// By their costs they would be compiled, which takes 60 ms.
		if _, err := tx.Exec(ctx, `SELECT set_config('synchronous_commit', 'off', true), set_config('enable_seqscan', 'off', true),
			set_config('jit', 'off', true)`); err != nil {
			return err
		}
		var err error
		s, err = stepIn(ctx, tx, o)
		return err
	})
	return s, err
}

func stepIn(ctx context.Context, tx pgx.Tx, o AdvanceOptions) (stepped, error) {
	p, err := lockProgress(ctx, tx)
	switch {
	case err != nil:
		return stepped{}, err
	case p.target == nil:
		return stepped{outcome: aimless}, nil
	case p.unknown:
		// From a backup of another server: its transaction ids say nothing here.
		_, err := tx.Exec(ctx, `UPDATE analytics_progress SET target_fact_id = NULL, target_xid = NULL, target_at = NULL`)
		return stepped{outcome: aimless}, err
	case !p.settled:
		return stepped{outcome: heldUp}, nil
	case p.walked != nil:
		return walk(ctx, tx, *p.walked, *p.target, o)
	}
	return follow(ctx, tx, p.fact, *p.target, o)
}

// place is how far the sums go.
type place struct {
	fact     int64
	walked   *int64 // nil: no rebuild
	target   *int64
	settled  bool // every transaction that may have held up the target is over
	unknown  bool // the target's transaction is in this server's future
	complete bool
}

// lockProgress reads the place and keeps others from moving it.
func lockProgress(ctx context.Context, tx pgx.Tx) (place, error) {
	var p place
	err := tx.QueryRow(ctx, `
		SELECT fact_id, walked, target_fact_id, as_of IS NOT NULL,
			COALESCE(pg_snapshot_xmin(pg_current_snapshot()) >= target_xid, false), COALESCE(target_xid > pg_current_xact_id(), false)
		FROM analytics_progress
		FOR UPDATE`).Scan(&p.fact, &p.walked, &p.target, &p.complete, &p.settled, &p.unknown)
	if err != nil {
		return p, fmt.Errorf("lock the progress: %w", err)
	}
	return p, nil
}

// walk counts the next businesses of a rebuild.
func walk(ctx context.Context, tx pgx.Tx, walked, target int64, o AdvanceOptions) (stepped, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM businesses WHERE id > $1 ORDER BY id LIMIT $2`, walked, o.Businesses)
	if err != nil {
		return stepped{}, fmt.Errorf("read the next businesses: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return stepped{}, fmt.Errorf("read the next businesses: %w", err)
	}
	if len(ids) == 0 {
		// Every fact up to the target was there when the walk began.
		_, err := tx.Exec(ctx, `UPDATE analytics_progress SET walked = NULL, fact_id = $1`, target)
		return stepped{outcome: counted}, err
	}
	if err := count(ctx, tx, ids); err != nil {
		return stepped{}, err
	}
	last := ids[len(ids)-1]
	_, err = tx.Exec(ctx, `UPDATE analytics_progress SET walked = $1`, last)
	return stepped{outcome: counted, businesses: int64(len(ids)), walked: last}, err
}

// follow counts the businesses of the next facts, and those that changed without one.
func follow(ctx context.Context, tx pgx.Tx, from, target int64, o AdvanceOptions) (stepped, error) {
	rows, err := tx.Query(ctx, `
		DELETE FROM analytics_changed
		WHERE id IN (SELECT id FROM analytics_changed ORDER BY id LIMIT $1)
		RETURNING business_id`, chunkChanged)
	if err != nil {
		return stepped{}, fmt.Errorf("take changed businesses: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return stepped{}, fmt.Errorf("take changed businesses: %w", err)
	}
	more := len(ids) == chunkChanged
	rows, err = tx.Query(ctx, `
		SELECT id, business_id
		FROM facts
		WHERE id > $1 AND id <= $2
		ORDER BY id
		LIMIT $3`, from, target, o.Facts)
	if err != nil {
		return stepped{}, fmt.Errorf("read the next facts: %w", err)
	}
	facts, to := 0, from
	var business int64
	if _, err := pgx.ForEachRow(rows, []any{&to, &business}, func() error {
		facts++
		ids = append(ids, business)
		return nil
	}); err != nil {
		return stepped{}, fmt.Errorf("read the next facts: %w", err)
	}
	more = more || facts == o.Facts
	if len(ids) > 0 {
		if err := count(ctx, tx, ids); err != nil {
			return stepped{}, err
		}
	}
	if more {
		_, err := tx.Exec(ctx, `UPDATE analytics_progress SET fact_id = $1`, to)
		return stepped{outcome: counted, businesses: int64(len(ids))}, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE analytics_progress
		SET fact_id = target_fact_id, as_of = target_at, target_fact_id = NULL, target_xid = NULL, target_at = NULL`)
	return stepped{outcome: arrived, businesses: int64(len(ids))}, err
}

// Reset begins a rebuild: everything is counted anew, by the calls of [Advance] that follow. Until they are through, the
// numbers are not complete, and say so by having no AsOf.
func Reset(ctx context.Context, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := lockProgress(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			TRUNCATE analytics_businesses, analytics_funnel, analytics_campaigns, analytics_costs, analytics_credits, analytics_credit_sums,
				analytics_customers`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE analytics_progress
			SET fact_id = 0, walked = 0, target_fact_id = NULL, target_xid = NULL, target_at = NULL, as_of = NULL,
				reset_at = now()`)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin to rebuild analytics: %w", err)
	}
	return nil
}
