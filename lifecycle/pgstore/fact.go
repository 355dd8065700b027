package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Source says who reported a fact.
type Source string

// The sources.
const (
	SourceWebhook  Source = "webhook"
	SourceMessage  Source = "message" // our own send
	SourceOperator Source = "operator"
	SourceAPI      Source = "api"
	SourceImport   Source = "import"
	SourceSystem   Source = "system"
)

// Fact is what happened to a business, and where it can be followed back to.
type Fact struct {
	BusinessID int64
	SiteID     int64 // 0: names no site
	Event      lifecycle.Event
	OccurredAt time.Time
	Key        string // unique over all facts: what makes the effect happen once
	Source     Source
	ReceiptID  uuid.UUID // Nil: not from a webhook
	MessageID  int64     // 0: not about a message
	ActionID   int64     // operator_actions.id; 0: nobody's
	JobID      int64     // river_job.id; 0: applied without a job
	Note       string
}

// Applied is what came of one fact.
type Applied struct {
	Fact      Fact
	FactID    int64
	Duplicate bool // the key was there already: nothing changed
	Erased    bool // the business was erased: what brought the fact must not keep personal data
	Changes   []lifecycle.Change
}

// Changed reports whether any status moved.
func (a Applied) Changed() bool {
	return slices.ContainsFunc(a.Changes, func(c lifecycle.Change) bool { return c.From != c.To })
}

// ErrNoBusiness says that a fact names a business that does not exist.
var ErrNoBusiness = errors.New("no such business")

// business is the fold's state of one business as stored.
type business struct {
	id       int64
	state    lifecycle.State
	foldedAt *time.Time
	key      *string
	erased   bool
	changed  bool
	facts    []lifecycle.Fact // loaded only when an older fact makes a refold
}

func (b *business) position() (lifecycle.Fact, bool) {
	if b.foldedAt == nil || b.key == nil {
		return lifecycle.Fact{}, false
	}
	return lifecycle.Fact{OccurredAt: *b.foldedAt, Key: *b.key}, true
}

// Apply records facts and moves the statuses that follow from them, in the caller's transaction: it locks
// the businesses, inserts the facts that are new, folds, and writes statuses and transitions, each with one
// statement whatever the number of facts. The result is in the order of the argument.
//
// After Apply the stored statuses are the fold of the stored facts. A fact that occurred after all others
// is folded on top; an older one makes a refold of its business and is recorded as corrected or stale.
func Apply(ctx context.Context, tx pgx.Tx, facts []Fact) ([]Applied, error) {
	batch := &pgx.Batch{}
	applied, err := ApplyQueued(ctx, tx, facts, batch)
	if err != nil || batch.Len() == 0 {
		return applied, err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("write statuses and transitions: %w", err)
	}
	return applied, nil
}

// ApplyQueued is [Apply], but for its last statements, which write statuses and transitions: they are queued on batch,
// which the caller sends in the same transaction, with statements of its own behind them and without a round trip for each.
func ApplyQueued(ctx context.Context, tx pgx.Tx, facts []Fact, batch *pgx.Batch) ([]Applied, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	facts, err := checked(facts)
	if err != nil {
		return nil, err
	}
	first := &pgx.Batch{}
	businesses, ids := lockBusinesses(first, facts), insertFacts(first, facts)
	if err := tx.SendBatch(ctx, first).Close(); err != nil {
		return nil, fmt.Errorf("lock businesses and insert facts: %w", err)
	}
	applied := make([]Applied, len(facts))
	var fresh []int
	for i, f := range facts {
		applied[i] = Applied{Fact: f, Erased: businesses[f.BusinessID].erased}
		id, ok := ids[f.Key]
		if !ok {
			applied[i].Duplicate = true
			continue
		}
		applied[i].FactID = id
		delete(ids, f.Key) // the same key again in this call is a duplicate
		fresh = append(fresh, i)
	}
	if len(fresh) == 0 {
		return applied, nil
	}
	if err := foldFresh(ctx, tx, businesses, applied, fresh); err != nil {
		return nil, err
	}
	writeStatuses(batch, businesses)
	writeTransitions(batch, applied, fresh)
	return applied, nil
}

// foldFresh folds new facts into their businesses and sites; what they changed stands in applied.
func foldFresh(ctx context.Context, tx pgx.Tx, businesses map[int64]*business, applied []Applied, fresh []int) error {
	slices.SortStableFunc(fresh, func(a, b int) int { return lifecycle.Compare(pure(applied[a].Fact), pure(applied[b].Fact)) })
	if err := loadForRefold(ctx, tx, businesses, applied, fresh); err != nil {
		return err
	}
	for _, i := range fresh {
		applied[i].Changes = businesses[applied[i].Fact.BusinessID].fold(pure(applied[i].Fact))
	}
	return foldSites(ctx, tx, applied, fresh)
}

// checked are facts as they are stored.
func checked(facts []Fact) ([]Fact, error) {
	facts = slices.Clone(facts)
	for i := range facts {
		if !facts[i].Event.Known() {
			return nil, fmt.Errorf("apply fact %s: unknown event %q", facts[i].Key, facts[i].Event)
		}
		if facts[i].Key == "" {
			return nil, fmt.Errorf("apply fact %s: no key", facts[i].Event)
		}
		// What the column keeps: without this the first fold and a later refold would see different times.
		facts[i].OccurredAt = facts[i].OccurredAt.UTC().Truncate(time.Microsecond)
	}
	return facts, nil
}

func pure(f Fact) lifecycle.Fact {
	return lifecycle.Fact{Event: f.Event, OccurredAt: f.OccurredAt, Key: f.Key}
}

// fold takes one more fact: on top where it is the newest, else by folding everything anew.
func (b *business) fold(f lifecycle.Fact) []lifecycle.Change {
	b.changed = true
	pos, any := b.position()
	if b.facts != nil {
		b.facts = append(b.facts, f)
	}
	if !any || lifecycle.Compare(f, pos) > 0 {
		b.foldedAt, b.key = &f.OccurredAt, &f.Key
		var changes []lifecycle.Change
		b.state, changes = lifecycle.Transition(b.state, f.Event)
		return changes
	}
	before := b.state
	b.state = lifecycle.Fold(b.facts)
	changes := make([]lifecycle.Change, 0, 2)
	for _, a := range f.Event.Axes() {
		c := lifecycle.Change{Axis: a, From: before.Status(a), To: b.state.Status(a), Verdict: lifecycle.Stale}
		if c.From != c.To {
			c.Verdict = lifecycle.Corrected
		}
		changes = append(changes, c)
	}
	return changes
}

// columns are where a row of businesses goes, in the order of lockBusinesses.
func (b *business) columns() []any {
	return []any{
		&b.id, &b.state.Contact.Reached, &b.state.Contact.Bounced, &b.state.Contact.Purchased, &b.state.Contact.OptedOut,
		&b.state.Website, &b.state.Subscription, &b.state.Ticket, &b.foldedAt, &b.key, &b.erased,
	}
}

// lockBusinesses queues the read and lock, by ascending id, of every business that a fact names. The result is filled when
// the batch has been read.
func lockBusinesses(batch *pgx.Batch, facts []Fact) map[int64]*business {
	ids := make([]int64, 0, len(facts))
	for _, f := range facts {
		ids = append(ids, f.BusinessID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	found := make(map[int64]*business, len(ids))
	batch.Queue(`
		SELECT id, reached, bounced, purchased, opted_out, website_status, subscription_status, ticket_status, folded_at, folded_key,
			erased_at IS NOT NULL
		FROM businesses
		WHERE id = ANY($1)
		ORDER BY id
		FOR NO KEY UPDATE`, ids).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			b := &business{}
			if err := rows.Scan(b.columns()...); err != nil {
				return fmt.Errorf("lock businesses: %w", err)
			}
			found[b.id] = b
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("lock businesses: %w", err)
		}
		for _, id := range ids {
			if found[id] == nil {
				return fmt.Errorf("lock business %d: %w", id, ErrNoBusiness)
			}
		}
		return nil
	})
	return found
}

// factColumns are those of facts that are written, and factArrays what they come in, from [factColumnsOf].
const (
	factColumns = `business_id, site_id, event, axis, occurred_at, source, receipt_id, message_id, action_id, job_id, dedupe_key, note`
	factArrays  = `$1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[],
			$7::text[]::uuid[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[]`
)

func factColumnsOf(facts []Fact) []any {
	n := len(facts)
	var (
		business, message, action, job = make([]int64, n), make([]*int64, n), make([]*int64, n), make([]*int64, n)
		site                           = make([]*int64, n)
		event, axis, source, key       = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		at                             = make([]time.Time, n)
		receipt                        = make([]*string, n)
		note                           = make([]*string, n)
	)
	for i, f := range facts {
		business[i], site[i], event[i], axis[i] = f.BusinessID, orNil(f.SiteID), string(f.Event), string(f.Event.Axes()[0])
		at[i], source[i], receipt[i], message[i] = f.OccurredAt, string(f.Source), uuidText(f.ReceiptID), orNil(f.MessageID)
		action[i], job[i], key[i], note[i] = orNil(f.ActionID), orNil(f.JobID), f.Key, orNil(f.Note)
	}
	return []any{business, site, event, axis, at, source, receipt, message, action, job, key, note}
}

// insertFacts queues the insert of facts. The result, the ids of those that were new by key, is filled when the batch has
// been read.
func insertFacts(batch *pgx.Batch, facts []Fact) map[string]int64 {
	ids := make(map[string]int64, len(facts))
	batch.Queue(`
		INSERT INTO facts (`+factColumns+`)
		SELECT *
		FROM unnest(`+factArrays+`)
		ON CONFLICT (dedupe_key) DO NOTHING
		RETURNING id, dedupe_key`, factColumnsOf(facts)...).Query(func(rows pgx.Rows) error {
		var id int64
		var k string
		if _, err := pgx.ForEachRow(rows, []any{&id, &k}, func() error { ids[k] = id; return nil }); err != nil {
			return fmt.Errorf("insert facts: %w", err)
		}
		return nil
	})
	return ids
}

// loadForRefold reads the whole history of each business that got a fact older than what it has folded.
func loadForRefold(ctx context.Context, tx pgx.Tx, businesses map[int64]*business, applied []Applied, fresh []int) error {
	var ids []int64
	inCall := map[string]struct{}{}
	for _, i := range fresh {
		f := applied[i].Fact
		inCall[f.Key] = struct{}{}
		if pos, any := businesses[f.BusinessID].position(); any && lifecycle.Compare(pure(f), pos) <= 0 {
			ids = append(ids, f.BusinessID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT business_id, event, occurred_at, dedupe_key
		FROM facts
		WHERE business_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("read facts for a refold: %w", err)
	}
	for _, id := range ids {
		businesses[id].facts = []lifecycle.Fact{}
	}
	var id int64
	var f lifecycle.Fact
	_, err = pgx.ForEachRow(rows, []any{&id, &f.Event, &f.OccurredAt, &f.Key}, func() error {
		// This call's own facts are folded one by one, so that each gets its verdict.
		if _, own := inCall[f.Key]; !own {
			businesses[id].facts = append(businesses[id].facts, f)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read facts for a refold: %w", err)
	}
	return nil
}

func writeStatuses(batch *pgx.Batch, businesses map[int64]*business) {
	var (
		ids                                    []int64
		contact, reached, website, sub, ticket []string
		bounced, purchased, optedOut           []bool
		at                                     []*time.Time
		key                                    []*string
	)
	for _, b := range businesses {
		if !b.changed {
			continue
		}
		ids = append(ids, b.id)
		contact = append(contact, string(b.state.Contact.Status()))
		reached = append(reached, string(b.state.Contact.Reached))
		bounced = append(bounced, b.state.Contact.Bounced)
		purchased = append(purchased, b.state.Contact.Purchased)
		optedOut = append(optedOut, b.state.Contact.OptedOut)
		website = append(website, string(b.state.Website))
		sub = append(sub, string(b.state.Subscription))
		ticket = append(ticket, string(b.state.Ticket))
		at = append(at, b.foldedAt)
		key = append(key, b.key)
	}
	batch.Queue(`
		UPDATE businesses b
		SET contact_status = u.contact, reached = u.reached, bounced = u.bounced, purchased = u.purchased, opted_out = u.opted_out,
			website_status = u.website, subscription_status = u.subscription, ticket_status = u.ticket,
			folded_at = u.at, folded_key = u.key, updated_at = now()
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bool[], $5::bool[], $6::bool[], $7::text[], $8::text[], $9::text[],
			$10::timestamptz[], $11::text[])
			AS u (id, contact, reached, bounced, purchased, opted_out, website, subscription, ticket, at, key)
		WHERE b.id = u.id`,
		ids, contact, reached, bounced, purchased, optedOut, website, sub, ticket, at, key)
}

func writeTransitions(batch *pgx.Batch, applied []Applied, fresh []int) {
	var (
		fact, business          []int64
		axis, from, to, verdict []string
	)
	for _, i := range fresh {
		for _, c := range applied[i].Changes {
			fact = append(fact, applied[i].FactID)
			business = append(business, applied[i].Fact.BusinessID)
			axis = append(axis, string(c.Axis))
			from = append(from, string(c.From))
			to = append(to, string(c.To))
			verdict = append(verdict, string(c.Verdict))
		}
	}
	batch.Queue(`
		INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
		SELECT *
		FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])`,
		fact, business, axis, from, to, verdict)
}

// uuidText is an id as text, which every protocol mode of pgx can put in an array, behind a pooler too.
func uuidText(id uuid.UUID) *string {
	if id == uuid.Nil {
		return nil
	}
	s := id.String()
	return &s
}

// orNil maps a zero value to NULL.
func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
