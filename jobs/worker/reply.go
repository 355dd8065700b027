package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workReply(ctx context.Context, job *river.Job[jobs.ReplyArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.reply)
}

// maxMedia bounds the media links kept of one message; Twilio sends at most 10.
const maxMedia = 10

func (a *applier) reply(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return failed("the body is not a form"), nil
	}
	from := pgstore.Address{Channel: jobs.ChannelSMS, Address: cleanKey(stripChannel(form.Get("From")))}.Normal()
	if from.Address == "" {
		return failed("no sender"), nil
	}
	sid := cleanKey(first(form, "MessageSid", "SmsSid", "SmsMessageSid"))
	if sid == "" {
		sid = r.DedupeKey
	}
	text := decodeBody(form.Get("Body"))
	action := classify(text, form.Get("OptOutType"))
	if action == actionOptIn && isYes(text) && form.Get("OptOutType") == "" {
		// "Yes" is an answer, too: it lifts an opt-out only where one stands.
		stands, err := pgstore.Suppressed(ctx, tx, from)
		if err != nil {
			return result{}, err
		}
		if !stands {
			action = actionReply
		}
	}
	contact, err := contactsOf(ctx, tx, from)
	if err != nil {
		return result{}, err
	}
	if err := saveInbound(ctx, tx, r, from, form, sid, text, action, contact); err != nil {
		return result{}, err
	}
	var facts []pgstore.Fact
	inbound := func(business int64, e lifecycle.Event) pgstore.Fact {
		return pgstore.Fact{
			BusinessID: business, Event: e, OccurredAt: r.ReceivedAt, Key: "in:" + sid + ":" + strconv.FormatInt(business, 10),
			Source: pgstore.SourceWebhook, ReceiptID: r.ID, JobID: r.JobID,
		}
	}
	switch action {
	case actionOptOut, actionOptIn:
		event := lifecycle.OptedOut
		if action == actionOptIn {
			event = lifecycle.OptedIn
		}
		for _, id := range contact.all {
			facts = append(facts, inbound(id, event))
		}
	case actionReply:
		if contact.wroteTo != 0 {
			facts = append(facts, inbound(contact.wroteTo, lifecycle.ReplyReceived))
		}
	}
	applied, err := pgstore.Apply(ctx, tx, facts)
	if err != nil {
		return result{}, err
	}
	if err := consent(ctx, tx, from, action, r); err != nil {
		return result{}, err
	}
	if contact.wroteTo == 0 {
		return unmatched(from.Channel + ":" + from.Address), nil
	}
	res := of(applied)
	if action == actionHelp {
		res.detail = "help: answered by the provider"
	}
	return res, nil
}

// contacts are the businesses behind an address.
type contacts struct {
	all       []int64 // everyone who has it: an opt-out counts for all of them
	wroteTo   int64   // whom we wrote to last, else the newest of all: the one who answers; 0: nobody
	messageID int64   // what we wrote last; 0: nothing
}

func contactsOf(ctx context.Context, tx pgx.Tx, from pgstore.Address) (contacts, error) {
	var c contacts
	// Locked as a row that names them will lock them, so that an erasure comes before this or after it, not between.
	var q string
	switch from.Channel {
	case jobs.ChannelEmail:
		q = `SELECT id FROM businesses WHERE lower(email) = $1 ORDER BY id FOR KEY SHARE`
	default:
		q = `SELECT id FROM businesses WHERE phone = $1 ORDER BY id FOR KEY SHARE`
	}
	rows, err := tx.Query(ctx, q, from.Address)
	if err != nil {
		return c, fmt.Errorf("find contacts of an address: %w", err)
	}
	if c.all, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return c, fmt.Errorf("find contacts of an address: %w", err)
	}
	err = tx.QueryRow(ctx, `
		SELECT business_id, id
		FROM messages
		WHERE address = $1 AND channel = $2
		ORDER BY id DESC
		LIMIT 1`, from.Address, from.Channel).Scan(&c.wroteTo, &c.messageID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if n := len(c.all); n > 0 {
			c.wroteTo = c.all[n-1]
		}
		return c, nil
	case err != nil:
		return c, fmt.Errorf("find the last message to an address: %w", err)
	}
	for _, id := range c.all {
		if id == c.wroteTo {
			return c, nil
		}
	}
	c.all = append(c.all, c.wroteTo) // its number changed since we wrote
	return c, nil
}

func saveInbound(ctx context.Context, tx pgx.Tx, r receipt, from pgstore.Address, form url.Values, sid, text string, action action, c contacts) error {
	media := []string{}
	for i := range maxMedia {
		if u := form.Get("MediaUrl" + strconv.Itoa(i)); u != "" {
			media = append(media, clean(u))
		}
	}
	public, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO inbound_messages (public_id, receipt_id, business_id, message_id, channel, from_address, to_address, body, action, media, provider_sid, received_at)
		VALUES ($1, $2, NULLIF($3, 0), NULLIF($4, 0), $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (receipt_id) DO UPDATE
		SET business_id = EXCLUDED.business_id, message_id = EXCLUDED.message_id`,
		public, r.ID, c.wroteTo, c.messageID, from.Channel, from.Address, clean(stripChannel(form.Get("To"))), clean(text),
		string(action), media, sid, r.ReceivedAt)
	if err != nil {
		return fmt.Errorf("save inbound message: %w", err)
	}
	return nil
}

// consent moves the suppression of an address as an opt-out or opt-in says. Of two that are applied in the
// wrong order the one received later counts; the address's lock makes them wait for each other.
func consent(ctx context.Context, tx pgx.Tx, from pgstore.Address, action action, r receipt) error {
	if action != actionOptOut && action != actionOptIn {
		return nil
	}
	if err := pgstore.LockAddress(ctx, tx, from); err != nil {
		return err
	}
	opposite := actionOptIn
	if action == actionOptIn {
		opposite = actionOptOut
	}
	var overtaken bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1 FROM inbound_messages
			WHERE channel = $1 AND from_address = $2 AND action = $3 AND action IN ('opt_out', 'opt_in')
				AND received_at >= $4 AND (received_at, receipt_id) > ($4, $5)
		)`, from.Channel, from.Address, string(opposite), r.ReceivedAt, r.ID).Scan(&overtaken)
	if err != nil {
		return fmt.Errorf("look for later consent: %w", err)
	}
	if overtaken {
		return nil
	}
	if action == actionOptIn {
		_, err := pgstore.Lift(ctx, tx, from, "recipient")
		return err
	}
	_, err = pgstore.Suppress(ctx, tx, []pgstore.Suppression{{
		Address: from, Reason: "stop", Source: pgstore.SourceWebhook, SourceID: r.ID.String(),
	}})
	return err
}
