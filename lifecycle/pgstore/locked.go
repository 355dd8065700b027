package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Locked are the businesses of messages that were reported on, locked: enough to apply facts about these messages without asking
// first.
type Locked struct {
	businesses map[int64]*business
}

// lockTheirBusinesses follows [raiseMessages]: the businesses come behind the messages, locked by ascending id when all of
// these are. It asks nothing of facts: a plan that is made while there are none, and stays, may go by whatever index has their key.
const lockTheirBusinesses = `, whose AS MATERIALIZED (
			SELECT b.*
			FROM (SELECT DISTINCT business_id FROM report ORDER BY business_id) w
			CROSS JOIN LATERAL (
				SELECT id, reached, bounced, purchased, opted_out, website_status, subscription_status, ticket_status, folded_at, folded_key,
					erased_at IS NOT NULL AS erased
				FROM businesses
				WHERE id = w.business_id
				FOR NO KEY UPDATE
			) b
		)
		SELECT ` + raisedColumns + `,
			0, '', false, false, false, '', '', '', NULL::timestamptz, NULL::text, false
		FROM raised
		UNION ALL
		SELECT 0, 0, '', '', false, 0, 0, '', '', NULL,
			id, reached, bounced, purchased, opted_out, website_status, subscription_status, ticket_status, folded_at, folded_key, erased
		FROM whose`

// RaiseQueued is [RaiseAll], and locks the businesses of the messages, in one round trip: the statements are queued on first,
// and what comes back is there when that has been read. A report that does not find its message by name has no id in its
// Raised: there is none, or another report of these named it differently. What is left to be written, before the transaction
// ends, is [CloseQueued]'s.
func RaiseQueued(first *pgx.Batch, reports []Report) ([]Raised, *Locked) {
	out := make([]Raised, len(reports))
	locked := &Locked{businesses: map[int64]*business{}}
	left := make([]int, len(reports))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		var round []int
		round, left = nextRound(reports, left)
		queueRound(first, reports, round, out, locked)
	}
	return out, locked
}

// CloseQueued queues what follows from reports that were taken by [RaiseQueued] beside facts.
func CloseQueued(last *pgx.Batch, reports []Report, raised []Raised) {
	if ids := settled(raised); len(ids) > 0 {
		last.Queue(deleteDispatches, ids)
	}
	all := make([]int, len(reports))
	for i := range all {
		all[i] = i
	}
	if businesses := priced(reports, raised, all); len(businesses) > 0 {
		last.Queue(markChanged, businesses)
	}
}

// ApplyQueued is the package's ApplyQueued for facts that are new, as those are that a message's rise proves: nothing is left but
// to write, and all of that is queued. One whose key is there already fails the batch. FactID of what it returns is there when
// the batch has been read.
func (l *Locked) ApplyQueued(ctx context.Context, tx pgx.Tx, facts []Fact, batch *pgx.Batch) ([]Applied, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	facts, err := checked(facts)
	if err != nil {
		return nil, err
	}
	applied, fresh := make([]Applied, len(facts)), make([]int, len(facts))
	for i, f := range facts {
		b := l.businesses[f.BusinessID]
		if b == nil {
			return nil, fmt.Errorf("apply fact %s: business %d: %w", f.Key, f.BusinessID, ErrNoBusiness)
		}
		applied[i], fresh[i] = Applied{Fact: f, Erased: b.erased}, i
	}
	if err := foldFresh(ctx, tx, l.businesses, applied, fresh); err != nil {
		return nil, err
	}
	writeStatuses(batch, l.businesses)
	return applied, writeFacts(batch, applied, fresh)
}

// writeFacts queues facts and their transitions in one statement: ids are taken first, so that neither waits for the other.
// For facts that do one thing at most.
func writeFacts(batch *pgx.Batch, applied []Applied, fresh []int) error {
	facts := make([]Fact, len(fresh))
	at := make(map[string]int, len(fresh))
	axis, from, to, verdict := make([]*string, len(fresh)), make([]*string, len(fresh)), make([]*string, len(fresh)), make([]*string, len(fresh))
	for k, i := range fresh {
		facts[k], at[applied[i].Fact.Key] = applied[i].Fact, i
		switch changes := applied[i].Changes; len(changes) {
		case 0:
		case 1:
			c := changes[0]
			axis[k], from[k], to[k], verdict[k] = new(string(c.Axis)), new(string(c.From)), new(string(c.To)), new(string(c.Verdict))
		default:
			return fmt.Errorf("write fact %s: it speaks of %d axes", facts[k].Key, len(changes))
		}
	}
	batch.Queue(`
		WITH fact AS MATERIALIZED (
			SELECT nextval('facts_id_seq') AS id, u.*
			FROM unnest(`+factArrays+`, $13::text[], $14::text[], $15::text[], $16::text[])
				AS u (`+factColumns+`, changed, from_status, to_status, verdict)
		), stored AS (
			INSERT INTO facts (id, `+factColumns+`) OVERRIDING SYSTEM VALUE
			SELECT id, `+factColumns+` FROM fact
		), told AS (
			INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
			SELECT id, business_id, changed, from_status, to_status, verdict
			FROM fact
			WHERE changed IS NOT NULL
		)
		SELECT id, dedupe_key FROM fact`,
		append(factColumnsOf(facts), axis, from, to, verdict)...).Query(func(rows pgx.Rows) error {
		var id int64
		var key string
		if _, err := pgx.ForEachRow(rows, []any{&id, &key}, func() error { applied[at[key]].FactID = id; return nil }); err != nil {
			return fmt.Errorf("write facts: %w", err)
		}
		return nil
	})
	return nil
}
