package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle"
)

// Invariant names something that always holds, beside the statuses. The names are a closed set: they label a metric.
type Invariant string

// The invariants, each named after what breaks it.
const (
	SendAfterOptOut     Invariant = "send_after_opt_out"
	SentTwice           Invariant = "sent_twice"
	DispatchMismatch    Invariant = "dispatch_mismatch"
	DispatchStuck       Invariant = "dispatch_stuck"
	ReceiptLost         Invariant = "receipt_lost"
	SuppressionConflict Invariant = "suppression_conflict"
	CounterMismatch     Invariant = "counter_mismatch"
	FactMalformed       Invariant = "fact_malformed"
)

// Invariants lists them all.
func Invariants() []Invariant {
	checks := invariantChecks()
	list := make([]Invariant, len(checks))
	for i, c := range checks {
		list[i] = c.name
	}
	return list
}

// InvariantOptions bound the look at the invariants. The zero value looks at everything there is.
type InvariantOptions struct {
	// Since leaves out what is older, so that the look stays cheap as history grows: receipts received, messages queued
	// and campaigns changed before it, and suppressions of before against messages of before. Of facts, it looks at the
	// newest 200 000.
	Since time.Time
	// Timeout bounds each invariant's query; 0: none.
	Timeout time.Duration
	// Progress is told after each; may be nil.
	Progress func(done, total int64)
}

// Violations is what broke one invariant.
type Violations struct {
	Invariant Invariant `json:"invariant"`
	// Means says, in a sentence, what it is that was found.
	Means string `json:"means"`
	// Count stops at maxViolations.
	Count int `json:"count"`
	// Examples are ids of at most five, never addresses. Of says ids of what: message, receipt, suppression, campaign
	// (as the API shows them), or fact.
	Of       string   `json:"of"`
	Examples []string `json:"examples"`
}

const (
	// maxViolations bounds counting: past ten thousand the number says nothing more.
	maxViolations   = 10_000
	violationSample = 5
)

// CheckInvariants looks for violations. It returns an entry for each invariant that could be checked, in the order of
// [Invariants], and the errors of those that could not.
func CheckInvariants(ctx context.Context, pool *pgxpool.Pool, o InvariantOptions) ([]Violations, error) {
	checks := invariantChecks()
	list := make([]Violations, 0, len(checks))
	var errs []error
	for i, c := range checks {
		v, err := c.run(ctx, pool, o)
		if err == nil {
			list = append(list, v)
		} else {
			errs = append(errs, fmt.Errorf("check invariant %s: %w", c.name, err))
		}
		if ctx.Err() != nil {
			break
		}
		if o.Progress != nil {
			o.Progress(int64(i+1), int64(len(checks)))
		}
	}
	return list, errors.Join(errs...)
}

func (c invariantCheck) run(ctx context.Context, pool *pgxpool.Pool, o InvariantOptions) (Violations, error) {
	v := Violations{Invariant: c.name, Means: c.means, Of: c.of, Examples: []string{}}
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if o.Timeout > 0 {
			if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true)`, strconv.FormatInt(o.Timeout.Milliseconds(), 10)); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `
			SELECT id, count(*) OVER ()
			FROM (`+c.sql+` LIMIT `+strconv.Itoa(maxViolations)+`) v
			ORDER BY id
			LIMIT `+strconv.Itoa(violationSample), o.args())
		if err != nil {
			return err
		}
		var id string
		_, err = pgx.ForEachRow(rows, []any{&id, &v.Count}, func() error {
			v.Examples = append(v.Examples, id)
			return nil
		})
		return err
	})
	var pg *pgconn.PgError
	const canceled = "57014"
	if o.Timeout > 0 && ctx.Err() == nil && errors.As(err, &pg) && pg.Code == canceled {
		return v, fmt.Errorf("the invariant's time-out of %s: %w", o.Timeout, err)
	}
	return v, err
}

// recentFacts is how many facts a look with a Since takes: a day of two a second, ten minutes of 300.
const recentFacts = 200_000

// args are the values that the queries may name.
func (o InvariantOptions) args() pgx.NamedArgs {
	args := pgx.NamedArgs{"since": o.Since, "recent_facts": recentFacts}
	if o.Since.IsZero() {
		// The least time that a UUIDv7 can carry, and more facts than there can be.
		args["since"], args["recent_facts"] = time.Unix(0, 0), math.MaxInt64
	}
	var events, axes []string
	for _, e := range lifecycle.Events() {
		events, axes = append(events, string(e)), append(axes, string(e.Axes()[0]))
	}
	args["events"], args["axes"] = events, axes
	return args
}
