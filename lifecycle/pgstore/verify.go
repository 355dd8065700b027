package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle"
)

// VerifyOptions say what [Verify] looks at and what it does about it. The zero value looks at every business and
// changes nothing.
type VerifyOptions struct {
	// Sample is how many businesses, drawn at random, are looked at; 0: all of them.
	Sample int
	// BatchSize is how many businesses are read in one transaction; 0: 1000, some 20 ms and 2 MB.
	BatchSize int
	// Repair writes the folded statuses where the stored ones drifted; nil: only look.
	Repair *Repair

	Progress func(done, total int64) // after each batch; may be nil
	Found    func(Drift)             // each drift, once it is certain; may be nil
}

// Repair says who repairs, and why: both go to the operators' log.
type Repair struct {
	Actor, Reason string
}

// Verification is what [Verify] found.
type Verification struct {
	Businesses int64 `json:"businesses"` // looked at
	Drifted    int64 `json:"drifted"`    // of those, how many are not the fold of their facts
	Repaired   int64 `json:"repaired"`
	// Newer counts businesses that have a fact of an event which this version does not know: a newer version recorded
	// it, and only that one can fold it.
	Newer int64 `json:"newer"`
}

// Drift is one stored value that is not what the facts fold to.
type Drift struct {
	Business uuid.UUID      `json:"business"`
	Site     uuid.UUID      `json:"site,omitzero"` // of the site's own axes
	Axis     lifecycle.Axis `json:"axis"`          // "" of the position, which all axes share
	Field    DriftField     `json:"field"`
	Stored   string         `json:"stored"`
	Folded   string         `json:"folded"`
	// LastFacts are the newest facts that speak of the axis, newest first: at most lastFacts.
	LastFacts []LastFact `json:"last_facts"`
	// Repaired is false, in a repair, only of transitions of a business without any fact: nothing can extend those.
	Repaired bool `json:"repaired"`
}

// DriftField says which stored value of its axis drifted.
type DriftField string

// What can drift.
const (
	FieldStatus      DriftField = "status"
	FieldReached     DriftField = "reached"   // the marks beneath contact_status
	FieldBounced     DriftField = "bounced"   //
	FieldPurchased   DriftField = "purchased" //
	FieldOptedOut    DriftField = "opted_out" //
	FieldPosition    DriftField = "position"  // folded_at, folded_key
	FieldTransitions DriftField = "transitions"
)

// LastFact is a fact as an explanation shows it.
type LastFact struct {
	ID         int64           `json:"id"`
	Event      lifecycle.Event `json:"event"`
	OccurredAt time.Time       `json:"occurred_at"`
	RecordedAt time.Time       `json:"recorded_at"`
	Source     Source          `json:"source"`
}

// lastFacts is how many facts explain a drift.
const lastFacts = 5

const verifyBatch = 1000

// ErrNoReason says that a repair lacks what the operators' log wants.
var ErrNoReason = errors.New("a repair needs an actor and a reason")

// Verify recomputes the statuses of businesses and of their sites, the marks and the position beneath, from the
// stored facts, and compares: with what is stored, and with where the transitions lead. It holds one batch of
// businesses in memory, and no lock while it looks: each batch is one snapshot, in which what writers commit is there
// as a whole or not at all. What looks like drift is read again under the business's lock before it is called that.
func Verify(ctx context.Context, pool *pgxpool.Pool, o VerifyOptions) (Verification, error) {
	var v Verification
	if o.BatchSize <= 0 {
		o.BatchSize = verifyBatch
	}
	if r := o.Repair; r != nil && (strings.TrimSpace(r.Actor) == "" || strings.TrimSpace(r.Reason) == "") {
		return v, ErrNoReason
	}
	next, total, err := toVerify(ctx, pool, o)
	if err != nil {
		return v, err
	}
	for {
		ids, err := next()
		if err != nil {
			return v, err
		}
		if len(ids) == 0 {
			return v, nil
		}
		if err := verifyBatchOf(ctx, pool, o, ids, &v); err != nil {
			return v, err
		}
		if o.Progress != nil {
			// Businesses may have come since they were counted.
			o.Progress(v.Businesses, max(total, v.Businesses))
		}
	}
}

// toVerify returns what yields the ids of one batch after the other, and how many there are.
func toVerify(ctx context.Context, pool *pgxpool.Pool, o VerifyOptions) (next func() ([]int64, error), total int64, err error) {
	if o.Sample > 0 {
		ids, err := sampleBusinesses(ctx, pool, o.Sample)
		batches := slices.Collect(slices.Chunk(ids, o.BatchSize))
		return func() (batch []int64, _ error) {
			if len(batches) > 0 {
				batch, batches = batches[0], batches[1:]
			}
			return batch, nil
		}, int64(len(ids)), err
	}
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM businesses`).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count businesses: %w", err)
	}
	var after int64
	return func() ([]int64, error) {
		ids, err := businessesAfter(ctx, pool, after, o.BatchSize)
		if len(ids) > 0 {
			after = ids[len(ids)-1]
		}
		return ids, err
	}, total, nil
}

func businessesAfter(ctx context.Context, q Querier, after int64, limit int) ([]int64, error) {
	rows, err := q.Query(ctx, `
		SELECT id
		FROM businesses
		WHERE id > $1
		ORDER BY id
		LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list businesses: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("list businesses: %w", err)
	}
	return ids, nil
}

// sampleBusinesses draws ids at random, without a scan: random numbers between the least and the greatest id, and of
// each the business at or after it. Where there are gaps, the business behind one is drawn more often.
func sampleBusinesses(ctx context.Context, q Querier, n int) ([]int64, error) {
	var least, greatest int64
	err := q.QueryRow(ctx, `SELECT COALESCE(min(id), 0), COALESCE(max(id), 0) FROM businesses`).Scan(&least, &greatest)
	if err != nil {
		return nil, fmt.Errorf("draw businesses: %w", err)
	}
	if span := greatest - least + 1; int64(n) >= span {
		return businessesAfter(ctx, q, least-1, n)
	}
	drawn := make([]int64, n)
	for i := range drawn {
		drawn[i] = least + rand.Int64N(greatest-least+1)
	}
	rows, err := q.Query(ctx, `
		SELECT DISTINCT b.id
		FROM unnest($1::bigint[]) AS r (id)
		CROSS JOIN LATERAL (SELECT id FROM businesses WHERE id >= r.id ORDER BY id LIMIT 1) b
		ORDER BY b.id`, drawn)
	if err != nil {
		return nil, fmt.Errorf("draw businesses: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("draw businesses: %w", err)
	}
	return ids, nil
}

// verifyBatchOf looks at some businesses in one snapshot, then at those that seem to have drifted again.
func verifyBatchOf(ctx context.Context, pool *pgxpool.Pool, o VerifyOptions, ids []int64, v *Verification) error {
	var suspects []int64
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		ledgers, err := readLedgers(ctx, tx, ids, false)
		if err != nil {
			return err
		}
		for _, l := range ledgers {
			v.Businesses++
			switch {
			case l.newer:
				v.Newer++
			case len(l.drifts()) > 0:
				suspects = append(suspects, l.id)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify businesses %d to %d: %w", ids[0], ids[len(ids)-1], err)
	}
	for _, id := range suspects {
		found, err := confirm(ctx, pool, o.Repair, id)
		if err != nil {
			return fmt.Errorf("verify business %d: %w", id, err)
		}
		if len(found) == 0 {
			continue // somebody else put it right
		}
		v.Drifted++
		if !slices.ContainsFunc(found, func(d Drift) bool { return !d.Repaired }) {
			v.Repaired++
		}
		if o.Found != nil {
			for _, d := range found {
				o.Found(d)
			}
		}
	}
	return nil
}

// confirm reads one business again, under its lock, and repairs it where that is asked for.
func confirm(ctx context.Context, pool *pgxpool.Pool, r *Repair, id int64) (found []Drift, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		ledgers, err := readLedgers(ctx, tx, []int64{id}, true)
		if err != nil || len(ledgers) == 0 || ledgers[0].newer {
			return err
		}
		l := ledgers[0]
		found = l.drifts()
		for i := range found {
			if found[i].LastFacts, err = l.lastFacts(ctx, tx, found[i]); err != nil {
				return err
			}
		}
		if r == nil || len(found) == 0 {
			return nil
		}
		return l.repair(ctx, tx, *r, found)
	})
	return found, err
}
