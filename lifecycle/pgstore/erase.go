package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Erased stands where personal data was that may not be null: a name, the address of a message. The database
// dispatches nothing to such an address.
const Erased = "erased"

// ErrUnderWay says that a contact can't be erased at this moment: a message to it is being sent, or a receipt that
// concerns it is accepted and not applied. Both are over within seconds where workers run.
var ErrUnderWay = errors.New("something of this contact is under way: a message being sent, or a receipt that is not applied yet")

// Erasure is what [Erase] did.
type Erasure struct {
	BusinessID int64     `json:"-"`
	PublicID   uuid.UUID `json:"business_id"`
	Already    bool      `json:"already"` // it was erased before: nothing was left to do

	Messages     int `json:"messages"`
	Replies      int `json:"replies"`
	Receipts     int `json:"receipts"`
	Suppressions int `json:"suppressions"`
}

// Erase takes a contact's personal data out of the database, in the caller's transaction: name, addresses, place and
// ids of its own from businesses (the country stays: it names nobody), address and text of messages and replies, the
// raw requests that concern it, notes and reasons that operators wrote, the errors of its jobs. What may still be
// sent is cancelled.
//
// Facts, transitions, statuses and payments stay as they are, so that every status is still the fold of its facts.
// Suppressions of its addresses stay as keyed hashes and still block. An address that another business has, too, is
// no longer this one's alone: its suppressions and the receipts that only it links to this business stay.
//
// A contact that was erased before is left alone. [ErrUnderWay]: try again in a moment, in a new transaction. The
// caller records who asked for it and why, after Erase, which blanks what was recorded until then.
func Erase(ctx context.Context, tx pgx.Tx, businessID int64) (Erasure, error) {
	e := eraser{tx: tx, id: businessID}
	if err := e.run(ctx); err != nil {
		return Erasure{}, fmt.Errorf("erase business %d: %w", businessID, err)
	}
	return e.did, nil
}

// eraser is one erasure.
type eraser struct {
	tx  pgx.Tx
	id  int64
	did Erasure

	createdAt time.Time
	messages  []erasedMessage
	addresses []Address // its alone
	shared    []Address // another business has them, too
	sites     []erasedSite
	receipts  []string // ids, as text: see uuidText
}

type erasedMessage struct {
	id       int64
	public   uuid.UUID
	campaign *int64
	address  Address
	state    lifecycle.MessageState
	sid      *string
}

type erasedSite struct {
	public       uuid.UUID
	subscription *string
}

func (e *eraser) run(ctx context.Context) error {
	business, err := e.lock(ctx)
	if err != nil || e.did.Already {
		return err
	}
	if err := e.collectAddresses(ctx, business); err != nil {
		return err
	}
	for _, a := range e.addresses {
		if err := LockAddress(ctx, e.tx, a); err != nil {
			return err
		}
	}
	if err := e.collectSites(ctx); err != nil {
		return err
	}
	if err := e.collectReceipts(ctx); err != nil {
		return err
	}
	if err := e.refuseUnderWay(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"holds", e.resolveHolds},
		{"suppressions", e.hashSuppressions},
		{"receipts", e.blankReceipts},
		{"replies", e.blankReplies},
		{"operators' log", e.blankActions},
		{"kept answers", e.blankAnswers},
		{"jobs", e.blankJobErrors},
		{"notes", e.blankNotes},
		{"business", e.blankBusiness},
		{"messages", e.blankMessages}, // last: it moves counters, whose row locks are held shortest
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// lock takes the locks in the order of whoever else takes several of them: messages, then the business (a status
// callback), then addresses. Whoever inserts a row that names the business waits, or is waited for.
func (e *eraser) lock(ctx context.Context) (Business, error) {
	if _, err := e.lockMessages(ctx); err != nil {
		return Business{}, err
	}
	var erasedAt *time.Time
	err := e.tx.QueryRow(ctx, `
		SELECT erased_at, created_at
		FROM businesses
		WHERE id = $1
		FOR UPDATE`, e.id).Scan(&erasedAt, &e.createdAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Business{}, ErrNoBusiness
	}
	if err != nil {
		return Business{}, fmt.Errorf("lock it: %w", err)
	}
	b, err := BusinessByID(ctx, e.tx, e.id)
	if err != nil {
		return b, err
	}
	e.did.BusinessID, e.did.PublicID, e.did.Already = b.ID, b.PublicID, erasedAt != nil
	// Those that a fan-out committed meanwhile are there now, and no more can come.
	e.messages, err = e.lockMessages(ctx)
	return b, err
}

func (e *eraser) lockMessages(ctx context.Context) ([]erasedMessage, error) {
	rows, err := e.tx.Query(ctx, `
		SELECT id, public_id, campaign_id, channel, address, state, provider_sid
		FROM messages
		WHERE business_id = $1
		ORDER BY id
		FOR NO KEY UPDATE`, e.id)
	if err != nil {
		return nil, fmt.Errorf("lock its messages: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (erasedMessage, error) {
		var m erasedMessage
		err := row.Scan(&m.id, &m.public, &m.campaign, &m.address.Channel, &m.address.Address, &m.state, &m.sid)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock its messages: %w", err)
	}
	return list, nil
}

// collectAddresses lists where it can be, or was, written to, and tells which of them another business has.
func (e *eraser) collectAddresses(ctx context.Context, b Business) error {
	all := b.Addresses()
	for _, m := range e.messages {
		all = append(all, m.address.Normal())
	}
	rows, err := e.tx.Query(ctx, `
		SELECT DISTINCT channel, from_address
		FROM inbound_messages
		WHERE business_id = $1`, e.id)
	if err != nil {
		return fmt.Errorf("read the senders of its replies: %w", err)
	}
	replied, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Address])
	if err != nil {
		return fmt.Errorf("read the senders of its replies: %w", err)
	}
	all = append(all, replied...)
	slices.SortFunc(all, func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Address, b.Address))
	})
	for _, a := range slices.Compact(all) {
		if a.Address == Erased {
			continue
		}
		column := "phone"
		if a.Channel == "email" {
			column = "lower(email)"
		}
		var others bool
		err := e.tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM businesses WHERE `+column+` = $1 AND id <> $2)`, a.Address, e.id).Scan(&others)
		if err != nil {
			return fmt.Errorf("look for others with its address: %w", err)
		}
		if others {
			e.shared = append(e.shared, a)
		} else {
			e.addresses = append(e.addresses, a)
		}
	}
	return nil
}

func (e *eraser) collectSites(ctx context.Context) error {
	rows, err := e.tx.Query(ctx, `
		SELECT public_id, subscription_id
		FROM sites
		WHERE business_id = $1
		ORDER BY id`, e.id)
	if err != nil {
		return fmt.Errorf("read its sites: %w", err)
	}
	e.sites, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (erasedSite, error) {
		var s erasedSite
		err := row.Scan(&s.public, &s.subscription)
		return s, err
	})
	if err != nil {
		return fmt.Errorf("read its sites: %w", err)
	}
	return nil
}

// callWindow is how long after a dispatch its provider call may be about to begin, by the database's clock, with room
// to spare: a worker starts it within a second. The answer to an opt-out relies on the dispatch's row until then.
const callWindow = 5 * time.Second

// refuseUnderWay keeps an erasure from undoing what has been promised: an accepted receipt is applied before it is
// blanked, and an opt-out's answer waits for a call that may still begin.
func (e *eraser) refuseUnderWay(ctx context.Context) error {
	var calling bool
	err := e.tx.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM dispatches d
			JOIN messages m ON m.id = d.message_id
			WHERE m.business_id = $1 AND d.state = 'calling'
				AND d.dispatched_at > clock_timestamp() - make_interval(secs => $2)
		)`, e.id, callWindow.Seconds()).Scan(&calling)
	if err != nil {
		return fmt.Errorf("look for calls under way: %w", err)
	}
	var open bool
	err = e.tx.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM unnest($1::text[]::uuid[]) AS r (id)
			WHERE NOT EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = r.id)
		)`, e.receipts).Scan(&open)
	if err != nil {
		return fmt.Errorf("look for receipts under way: %w", err)
	}
	if calling || open {
		return ErrUnderWay
	}
	return nil
}

// addressArrays are its own addresses as two columns.
func (e *eraser) addressArrays() (channels, addresses []string) {
	channels, addresses = make([]string, len(e.addresses)), make([]string, len(e.addresses))
	for i, a := range e.addresses {
		channels[i], addresses[i] = a.Channel, a.Address
	}
	return channels, addresses
}

// resolveHolds ends the holds of receipts that ran out of attempts. Each may have been an opt-out, which nobody can
// tell any more once it is blanked: so it is taken for one.
func (e *eraser) resolveHolds(ctx context.Context) error {
	channels, addresses := e.addressArrays()
	_, err := e.tx.Exec(ctx, `
		WITH freed AS (
			DELETE FROM inbound_pending p
			USING unnest($1::text[], $2::text[]) AS a (channel, address)
			WHERE p.channel = a.channel AND p.address = a.address
			RETURNING p.channel, p.address
		)
		INSERT INTO suppressions (channel, address, reason, source)
		SELECT DISTINCT channel, address, 'erasure', 'system'
		FROM freed
		WHERE NOT onward_suppressed(channel, address)
		ORDER BY channel, address
		ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING`, channels, addresses)
	return err
}

// hashSuppressions keeps what stands, and stood, against its addresses without naming them.
func (e *eraser) hashSuppressions(ctx context.Context) error {
	channels, addresses := e.addressArrays()
	// A plain one that stands beside an erased one, from an earlier life of the address, says nothing more.
	_, err := e.tx.Exec(ctx, `
		DELETE FROM suppressions s
		USING unnest($1::text[], $2::text[]) AS a (channel, address)
		WHERE s.channel = a.channel AND s.address = a.address AND s.lifted_at IS NULL
			AND EXISTS (
				SELECT 1 FROM suppressions h
				WHERE h.channel = a.channel AND h.address = onward_address_hash(a.channel, a.address) AND h.lifted_at IS NULL
			)`, channels, addresses)
	if err != nil {
		return err
	}
	tag, err := e.tx.Exec(ctx, `
		UPDATE suppressions s
		SET address = onward_address_hash(a.channel, a.address)
		FROM unnest($1::text[], $2::text[]) AS a (channel, address)
		WHERE s.channel = a.channel AND s.address = a.address`, channels, addresses)
	e.did.Suppressions = int(tag.RowsAffected())
	return err
}

// blankReplies takes address, text and links from what it, or somebody at an address of its alone, wrote to us.
func (e *eraser) blankReplies(ctx context.Context) error {
	channels, addresses := e.addressArrays()
	tag, err := e.tx.Exec(ctx, `
		UPDATE inbound_messages i
		SET from_address = $4, body = '', media = '{}'
		WHERE i.business_id = $1
			OR (i.channel, i.from_address) IN (SELECT * FROM unnest($2::text[], $3::text[]))`, e.id, channels, addresses, Erased)
	e.did.Replies = int(tag.RowsAffected())
	return err
}

// blankNotes takes the notes from its facts: the one change that their trigger lets through.
func (e *eraser) blankNotes(ctx context.Context) error {
	if _, err := e.tx.Exec(ctx, `SELECT set_config('onward.erasure', 'on', true)`); err != nil {
		return err
	}
	if _, err := e.tx.Exec(ctx, `UPDATE facts SET note = NULL WHERE business_id = $1 AND note IS NOT NULL`, e.id); err != nil {
		return err
	}
	_, err := e.tx.Exec(ctx, `SELECT set_config('onward.erasure', 'off', true)`)
	return err
}

// blankBusiness keeps the country, which names nobody. The address of a site often spells the name.
func (e *eraser) blankBusiness(ctx context.Context) error {
	_, err := e.tx.Exec(ctx, `
		UPDATE businesses
		SET name = $2, external_id = NULL, phone = NULL, email = NULL, city = NULL, timezone = NULL, category = NULL,
			erased_at = now(), updated_at = now()
		WHERE id = $1`, e.id, Erased)
	if err != nil {
		return err
	}
	_, err = e.tx.Exec(ctx, `UPDATE sites SET url = NULL, updated_at = now() WHERE business_id = $1 AND url IS NOT NULL`, e.id)
	return err
}

// blankMessages takes address and text from its messages and ends those whose outcome is open: nothing is sent, or
// sent again, to a contact that was erased. Evidence of what an open one came to still counts: its id at the provider
// stays.
func (e *eraser) blankMessages(ctx context.Context) error {
	tag, err := e.tx.Exec(ctx, `
		UPDATE messages
		SET address = $2, subject = '', body = '',
			reason = CASE WHEN state IN ('queued', 'dispatching', 'unknown', 'held') THEN 'erased' ELSE reason END,
			state = CASE WHEN state IN ('queued', 'dispatching', 'unknown', 'held') THEN 'canceled' ELSE state END,
			updated_at = now()
		WHERE business_id = $1`, e.id, Erased)
	if err != nil {
		return err
	}
	e.did.Messages = int(tag.RowsAffected())
	_, err = e.tx.Exec(ctx, `
		DELETE FROM dispatches d
		USING messages m
		WHERE m.id = d.message_id AND m.business_id = $1`, e.id)
	if err != nil {
		return err
	}
	for _, m := range e.messages {
		if m.campaign == nil || m.state.Rank() > lifecycle.MessageDispatching.Rank() {
			continue
		}
		if err := Count(ctx, e.tx, *m.campaign, m.id, string(m.state), string(lifecycle.MessageCanceled)); err != nil {
			return err
		}
	}
	return nil
}
