package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/jobs/provider"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// What a send does in the database, for many at a time: a slot in the sender's pace, the decision, the outcome. Only the
// common course is taken together. Whatever else a message needs (it is suppressed, quiet, cut off, refused) it does alone,
// in the transaction of one that there is for it anyway; and so do all members of a group that failed.

// slotItem is a message that wants a slot.
type slotItem struct {
	member
	messageID        int64
	channel, address string
	ahead            time.Duration
	got              slot
}

// takeSlots takes the next slots of senders, in the order of the items.
//
// The commit does not wait for the disk: a crash of the database may forget the slots of the last fraction of a
// second, which costs a few calls too soon and no promise, while waiting would bound every sender to the disk's
// pace, since each holds the sender's row.
func (s *sender) takeSlots(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []*slotItem) error {
	// One order of locks for everybody.
	order := slices.Clone(items)
	slices.SortStableFunc(order, func(a, b *slotItem) int {
		return cmp.Or(cmp.Compare(a.channel, b.channel), cmp.Compare(a.address, b.address))
	})
	for len(order) > 0 {
		n := 1
		for n < len(order) && order[n].channel == order[0].channel && order[n].address == order[0].address {
			n++
		}
		if err := takeSlotsOf(ctx, tx, last, order[:n]); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// pace is what decides about one message's slot.
type pace struct {
	spacing float64 // seconds from this slot to the next, at full pace
	alone   bool    // it has no campaign
	goes    bool    // it is to be sent now
}

// pacer is a sender's row, in Unix seconds of the database's clock.
type pacer struct {
	now, next, slowdown float64
	eases               bool
}

// takeSlotsOf takes slots of one sender. A sender that is not listed gives none.
func takeSlotsOf(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []*slotItem) error {
	channel, address := items[0].channel, items[0].address
	ids := make([]int64, len(items))
	for i, item := range items {
		ids[i] = item.messageID
	}
	var p *pacer
	paces := make([]pace, 0, len(items))
	batch := &pgx.Batch{}
	batch.Queue(`SET LOCAL synchronous_commit = off`)
	// The lock by a statement of its own: the next sees what whoever had it has written.
	batch.Queue(`SELECT 1 FROM senders WHERE channel = $1 AND address = $2 FOR NO KEY UPDATE`, channel, address)
	batch.Queue(`
		SELECT extract(epoch FROM clock_timestamp())::float8, extract(epoch FROM next_slot_at)::float8, slowdown::float8,
			updated_at < clock_timestamp() - make_interval(secs => $3)
		FROM senders
		WHERE channel = $1 AND address = $2`, channel, address, easeAfter.Seconds()).QueryRow(func(row pgx.Row) error {
		var got pacer
		err := row.Scan(&got.now, &got.next, &got.slowdown, &got.eases)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		p = &got
		return err
	})
	batch.Queue(`
		SELECT COALESCE($4::float8 / LEAST(s.per_second, COALESCE(c.per_second, s.per_second))::float8, 0), c.id IS NULL,
			m.id IS NOT NULL AND s.id IS NOT NULL AND m.state IN ('queued', 'dispatching') AND (c.id IS NULL OR c.status = 'sending')
		FROM unnest($3::bigint[]) WITH ORDINALITY AS u (id, n)
		LEFT JOIN messages m ON m.id = u.id
		LEFT JOIN campaigns c ON c.id = m.campaign_id
		LEFT JOIN senders s ON s.channel = $1 AND s.address = $2 AND m.channel = s.channel
		ORDER BY u.n`, channel, address, ids, margin).Query(func(rows pgx.Rows) error {
		var one pace
		_, err := pgx.ForEachRow(rows, []any{&one.spacing, &one.alone, &one.goes}, func() error {
			paces = append(paces, one)
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("look at the sender's pace: %w", err)
	}
	if p == nil {
		return nil
	}
	taken := p.take(items, paces)
	if taken == 0 {
		return nil
	}
	last.Queue(`
		UPDATE senders
		SET next_slot_at = to_timestamp($3::float8), slowdown = $4::float8::numeric
		WHERE channel = $1 AND address = $2`, channel, address, p.next, p.slowdown)
	return nil
}

// take gives each item the next slot, where one is near, and moves the pacer behind them.
func (p *pacer) take(items []*slotItem, paces []pace) (taken int) {
	here := time.Now()
	for i, item := range items {
		item.got = slot{}
		c := paces[i]
		if !c.goes {
			continue
		}
		item.got = slot{spacing: max(time.Duration(c.spacing*float64(time.Second)), 1), alone: c.alone}
		near := max(nearSlot.Seconds(), min(nearSlots*c.spacing, 5))
		if c.alone {
			near *= 2
		}
		if p.next > p.now+near {
			continue
		}
		at := max(p.next, p.now+item.ahead.Seconds())
		item.got.at = here.Add(time.Duration((at - p.now) * float64(time.Second)))
		p.next = at + p.slowdown*c.spacing
		item.got.fine = p.slowdown*c.spacing < finestSpacing.Seconds()
		if p.eases {
			p.slowdown = max(1, p.slowdown*0.98)
		}
		taken++
	}
	return taken
}

// dispatchItem is a message that is decided about.
type dispatchItem struct {
	member
	ctx   context.Context //nolint:containedctx // each job's message carries the trace of its own job
	jobID int64
	candidate
}

// decideAll dispatches the messages against which nothing speaks; the others are left alone.
func (s *sender) decideAll(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []*dispatchItem) error {
	byID := make(map[int64]*dispatchItem, len(items))
	ids := make([]int64, 0, len(items))
	for _, i := range items {
		if byID[i.id] != nil {
			i.lone = true // one message, two jobs: the second sees what the first did
			continue
		}
		byID[i.id] = i
		ids = append(ids, i.id)
	}
	found, err := lockCandidates(ctx, tx, ids)
	if err != nil {
		return fmt.Errorf("lock messages: %w", err)
	}
	for _, i := range byID {
		i.lone = true // unless it turns out to go
	}
	var going []*dispatchItem
	for _, c := range found {
		i := byID[c.id]
		i.candidate = c
		if s.goes(i) {
			going = append(going, i)
		}
	}
	if going, err = lockAddresses(ctx, tx, going); err != nil || len(going) == 0 {
		return err
	}
	if err := openDispatches(ctx, tx, going); err != nil {
		return err
	}
	moved := make([]pgstore.Raised, len(going))
	for k, i := range going {
		i.lone = false
		moved[k] = pgstore.Raised{
			MessageID: i.id, CampaignID: i.campaignID, Up: true, From: lifecycle.MessageQueued, To: lifecycle.MessageDispatching,
		}
	}
	pgstore.CountRaisedQueued(last, moved)
	return nil
}

// goes reports whether nothing speaks against a message; it is composed then.
func (s *sender) goes(i *dispatchItem) bool {
	switch {
	case i.state != lifecycle.MessageQueued, i.campaignStatus == "cancelled", i.campaignStatus == "paused",
		i.erased, i.suppressed, i.optedOut, i.holds, s.quiet(i.channel, i.address, i.zone, i.country) > 0:
		return false
	}
	i.attempt++
	return s.compose(i.ctx, &i.dispatch, i.public, i.subject, i.body) == nil && i.via != nil
}

// lockAddresses takes the locks that dispatches hold (onward_guard_dispatch) and returns the messages for which it got
// them: whoever has one alone is deciding about that address right now, and neither the other messages nor the lock that
// it may want next should wait for that.
func lockAddresses(ctx context.Context, tx pgx.Tx, going []*dispatchItem) ([]*dispatchItem, error) {
	if len(going) == 0 {
		return nil, nil
	}
	channels, addresses := make([]string, len(going)), make([]string, len(going))
	for k, i := range going {
		channels[k], addresses[k] = i.channel, i.address
	}
	rows, err := tx.Query(ctx, `
		SELECT pg_try_advisory_xact_lock_shared(onward_address_key(u.channel, u.address))
		FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (channel, address, n)
		ORDER BY u.n`, channels, addresses)
	if err != nil {
		return nil, fmt.Errorf("lock addresses: %w", err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		return nil, fmt.Errorf("lock addresses: %w", err)
	}
	var locked []*dispatchItem
	for k, i := range going {
		if got[k] {
			locked = append(locked, i)
		}
	}
	return locked, nil
}

// openDispatches makes messages dispatching. The database's guards look at each of them.
func openDispatches(ctx context.Context, tx pgx.Tx, going []*dispatchItem) error {
	ids, attempts, jobIDs := make([]int64, len(going)), make([]int, len(going)), make([]int64, len(going))
	byID := make(map[int64]*dispatchItem, len(going))
	for k, i := range going {
		ids[k], attempts[k], jobIDs[k] = i.id, i.attempt, i.jobID
		byID[i.id] = i
	}
	rows, err := tx.Query(ctx, `
		WITH moved AS (
			UPDATE messages m
			SET state = 'dispatching', attempt = u.attempt, dispatched_at = clock_timestamp(), reason = NULL, updated_at = now()
			FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS u (id, attempt, job_id)
			WHERE m.id = u.id
			RETURNING m.id, m.channel, m.address, m.attempt, m.dispatched_at, u.job_id
		), opened AS (
			INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at, job_id)
			SELECT id, channel, address, attempt, dispatched_at, job_id
			FROM moved
		)
		SELECT id, dispatched_at
		FROM moved`, ids, attempts, jobIDs)
	if err != nil {
		return fmt.Errorf("dispatch messages: %w", err)
	}
	var id int64
	var at time.Time
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		byID[id].at = at
		n++
		return nil
	})
	if err != nil {
		return fmt.Errorf("dispatch messages: %w", err)
	}
	if n != len(going) {
		return fmt.Errorf("dispatch messages: %d of %d", n, len(going))
	}
	return nil
}

// settleItem is a message that the provider took.
type settleItem struct {
	member
	d        dispatch
	jobID    int64
	accepted provider.Accepted

	applied []pgstore.Applied
	wake    []string
}

// acceptedAll is [sender.accepted] for many.
func (s *sender) acceptedAll(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []*settleItem) error {
	reports, facts, keys := make([]pgstore.Report, len(items)), make([]pgstore.Fact, len(items)), make([]string, len(items))
	for k, i := range items {
		sid := cleanKey(i.accepted.SID)
		reports[k] = pgstore.Report{
			MessageID: i.d.id, State: lifecycle.MessageAccepted, ProviderSID: sid, Segments: i.accepted.Segments,
			Price: i.accepted.Price, PriceUnit: i.accepted.PriceUnit, At: i.d.at,
		}
		facts[k] = pgstore.Fact{
			BusinessID: i.d.businessID, Event: channelEvent(i.d.channel, lifecycle.SMSSentEvent, lifecycle.EmailSent), OccurredAt: i.d.at,
			Key: messageKey(i.d.id, "sent"), Source: pgstore.SourceMessage, MessageID: i.d.id, JobID: i.jobID,
		}
		keys[k] = "message:" + sid
	}
	raised, err := pgstore.RaiseAll(ctx, tx, reports)
	if err != nil {
		return err
	}
	applied, err := pgstore.ApplyQueued(ctx, tx, facts, last)
	if err != nil {
		return err
	}
	wake, err := requeueMatching(ctx, tx, keys...)
	if err != nil {
		return err
	}
	pgstore.CountRaisedQueued(last, raised)
	for k, i := range items {
		i.applied = applied[k : k+1]
	}
	items[0].wake = wake
	return nil
}
