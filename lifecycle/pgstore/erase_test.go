package pgstore_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func execSQL(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func howMany(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// traces lists the tables in which any of the needles stands, in text, JSON, arrays or bytes.
func traces(t *testing.T, pool *pgxpool.Pool, needles ...string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT c.oid::regclass::text
		FROM pg_class c
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
		ORDER BY 1`)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(tables), 20)
	var found []string
	for _, table := range tables {
		for _, needle := range needles {
			n := howMany(t, pool, `
				SELECT count(*)
				FROM `+table+` t
				WHERE strpos(lower(t::text), lower($1)) > 0 OR strpos(lower(t::text), encode(convert_to($1, 'UTF8'), 'hex')) > 0`, needle)
			if n > 0 {
				found = append(found, fmt.Sprintf("%s: %d rows with %s", table, n, needle))
			}
		}
	}
	return found
}

func erase(t *testing.T, pool *pgxpool.Pool, business int64) (e pgstore.Erasure) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) {
		var err error
		e, err = pgstore.Erase(t.Context(), tx, business)
		require.NoError(t, err)
	})
	return e
}

func suppressed(t *testing.T, pool *pgxpool.Pool, a pgstore.Address) (is bool) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) {
		var err error
		is, err = pgstore.Suppressed(t.Context(), tx, a)
		require.NoError(t, err)
	})
	return is
}

var (
	eraPhone = pgstore.Address{Channel: "sms", Address: "+50255559876"}
	eraMail  = pgstore.Address{Channel: "email", Address: "rosa@lupita.example"}
)

// rosa is a contact with a trace in every table that can hold one.
type rosa struct {
	business, other  int64
	queued, sent     int64
	status, reply    uuid.UUID
	bill, waits      uuid.UUID
	campaign, tokens int64
}

func rosaLives(t *testing.T, pool *pgxpool.Pool) rosa {
	t.Helper()
	ctx := t.Context()
	ids := addBusinesses(t, pool,
		pgstore.NewBusiness{Name: "Panadería Lupita", Phone: eraPhone.Address, Email: "Rosa@Lupita.example", City: "Xelajú", Country: "GT", Category: "panaderas", ExternalID: "crm-lupita"},
		pgstore.NewBusiness{Name: "Otra", Phone: "+50255550001"})
	l := rosa{business: ids[0], other: ids[1]}
	b, err := pgstore.BusinessByID(ctx, pool, l.business)
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status) VALUES (gen_random_uuid(), 'C', 'sms', 'Hi', '{}', 'sending')
		RETURNING id`).Scan(&l.campaign))
	message := func(campaign any, a pgstore.Address, state lifecycle.MessageState, sid any) (id int64) {
		require.NoError(t, pool.QueryRow(ctx, `
			INSERT INTO messages (public_id, campaign_id, business_id, channel, address, subject, body, state, provider_sid)
			VALUES (gen_random_uuid(), $1, $2, $3, $4, 'Lupita', 'Hola Panadería Lupita', $5, $6) RETURNING id`,
			campaign, l.business, a.Channel, a.Address, string(state), sid).Scan(&id))
		return id
	}
	l.queued = message(l.campaign, eraPhone, lifecycle.MessageQueued, nil)
	inTx(t, pool, func(tx pgx.Tx) { require.NoError(t, pgstore.CountMany(ctx, tx, l.campaign, []int64{l.queued}, nil)) })
	l.sent = message(nil, eraMail, lifecycle.MessageSent, "SMabc123")
	site := uuid.Must(uuid.NewV7())
	execSQL(t, pool, `INSERT INTO sites (public_id, business_id, url, subscription_id) VALUES ($1, $2, 'https://lupita.example', 'su_abc123')`, site, l.business)

	receipt := func(provider, kind, contact, dedupe, body, outcome, match string) uuid.UUID {
		id := uuid.Must(uuid.NewV7())
		execSQL(t, pool, `
			INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
			VALUES ($1, $2, $3, 'm=1', '{"X-Twilio-Signature": ["rosa@lupita.example"]}', $4, $5, NULLIF($6, ''), now())`,
			id, provider, kind, []byte(body), dedupe, contact)
		if outcome != "" {
			execSQL(t, pool, `INSERT INTO receipt_outcomes (receipt_id, outcome, match_key) VALUES ($1, $2, NULLIF($3, ''))`, id, outcome, match)
		}
		return id
	}
	l.status = receipt("twilio", "message_status", "", "ts:SMabc123:delivered", "To=%2B50255559876", "applied", "")
	l.reply = receipt("twilio", "inbound_message", "sms:+50255559876", "ti:SM9", "From=%2B50255559876&Body=soy+Rosa", "applied", "")
	l.bill = receipt("recurrente", "subscription.update", "email:owner@elsewhere.example", "rc:1", `{"id":"su_abc123","customer_email":"owner@elsewhere.example"}`, "ignored", "")
	l.waits = receipt("resend", "email.opened", "email:rosa@lupita.example", "rs:1", `{"to":"Rosa@Lupita.example"}`, "unmatched", "email:rosa@lupita.example")
	execSQL(t, pool, `
		INSERT INTO inbound_messages (public_id, receipt_id, business_id, channel, from_address, to_address, body, action, media, received_at)
		VALUES (gen_random_uuid(), $1, $2, 'sms', '+50255559876', '+15005550006', 'soy Rosa', 'reply', '{https://lupita.example/a.jpg}', now())`, l.reply, l.business)
	execSQL(t, pool, `
		INSERT INTO payments (business_id, amount_in_cents, currency, charge_key, receipt_id, paid_at)
		VALUES ($1, 100, 'GTQ', 'in_1', $2, now())`, l.business, l.bill)

	var action int64
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO operator_actions (actor, action, target_type, target_id, reason, details)
		VALUES ('ana', 'event.opted_out', 'business', $1, 'Rosa asked by phone', '{"was": "rosa@lupita.example"}') RETURNING id`, b.PublicID.String()).Scan(&action))
	execSQL(t, pool, `INSERT INTO operator_actions (actor, action, target_type, target_id, reason) VALUES ('ana', 'suppression.add', 'suppression', 'sms:+50255559876', 'Rosa asked')`)
	execSQL(t, pool, `INSERT INTO operator_actions (actor, action, target_type, target_id, reason) VALUES ('ana', 'business.update', 'business', 'somebody else', 'stays')`)
	inTx(t, pool, func(tx pgx.Tx) {
		_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{
			{BusinessID: l.business, Event: lifecycle.ReplyReceived, OccurredAt: time.Now(), Key: "in:SM9", Source: pgstore.SourceWebhook, ReceiptID: l.reply},
			{BusinessID: l.business, Event: lifecycle.OptedOut, OccurredAt: time.Now(), Key: "op:1", Source: pgstore.SourceOperator, ActionID: action, Note: "Rosa asked by phone"},
			{BusinessID: l.other, Event: lifecycle.TicketOpened, OccurredAt: time.Now(), Key: "op:2", Source: pgstore.SourceOperator, Note: "stays"},
		})
		require.NoError(t, err)
		_, err = pgstore.Suppress(ctx, tx, []pgstore.Suppression{{Address: eraPhone, Reason: "stop", Source: pgstore.SourceWebhook}})
		require.NoError(t, err)
	})
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO api_tokens (public_id, name, role, token_hash) VALUES (gen_random_uuid(), 'T', 'admin', 'x') RETURNING id`).Scan(&l.tokens))
	execSQL(t, pool, `
		INSERT INTO idempotency_keys (token_id, key, request_hash, status, response)
		VALUES ($1, 'k', 'h', 201, convert_to('{"location":"/x","body":{"id":"' || $2::text || '","name":"Panadería Lupita","phone":"+50255559876"}}', 'UTF8'))`, l.tokens, b.PublicID)
	execSQL(t, pool, `
		INSERT INTO river_job (kind, queue, args, max_attempts, errors)
		VALUES ('send', 'send_sms', jsonb_build_object('message_id', $1::bigint), 25, ARRAY['{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "To +50255559876 is wrong", "trace": ""}'::jsonb]),
			('send', 'send_sms', '{"message_id": 999999}', 25, ARRAY['{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "stays", "trace": ""}'::jsonb])`, l.queued)
	return l
}

func TestErase(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	l := rosaLives(t, pool)
	needles := []string{
		"50255559876", "rosa@", "rosa", "lupita.example", "Panadería", "Lupita", "soy ", "Xelaj", "panaderas", "crm-lupita", "owner@elsewhere",
	}
	require.NotEmpty(t, traces(t, pool, needles...))
	statuses := func() string {
		var s string
		require.NoError(t, pool.QueryRow(ctx, `
			SELECT (SELECT string_agg(to_jsonb(f)::text, ' ' ORDER BY id) FROM (SELECT id, business_id, event, axis, occurred_at, source, dedupe_key, receipt_id FROM facts) f)
				|| (SELECT string_agg(t::text, ' ' ORDER BY id) FROM transitions t)
				|| (SELECT concat_ws(' ', contact_status, reached, bounced, purchased, opted_out, folded_at, folded_key, country) FROM businesses WHERE id = $1)
				|| (SELECT p::text FROM payments p)`, l.business).Scan(&s))
		return s
	}
	before := statuses()

	e := erase(t, pool, l.business)
	require.False(t, e.Already)
	require.Equal(t, []int{2, 1, 4, 1}, []int{e.Messages, e.Replies, e.Receipts, e.Suppressions})
	require.Empty(t, traces(t, pool, needles...))
	require.Equal(t, before, statuses(), "facts, transitions, statuses and payments stay")

	// What is not its own stays.
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM facts WHERE note = 'stays'`))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM operator_actions WHERE reason = 'stays'`))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM river_job WHERE errors[1] ->> 'error' = 'stays'`))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM businesses WHERE phone = '+50255550001'`))

	// The rows stay, blank; what waited for a match no longer does; what was queued is cancelled, and counted so.
	require.Equal(t, 4, howMany(t, pool, `SELECT count(*) FROM webhook_events WHERE erased_at IS NOT NULL AND body = '' AND headers = '{}'`))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM receipt_outcomes WHERE receipt_id = $1 AND outcome = 'ignored' AND detail = 'erased' AND match_key IS NULL`, l.waits))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM receipt_outcomes WHERE receipt_id = $1 AND outcome = 'applied'`, l.reply))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM messages WHERE id = $1 AND state = 'canceled' AND reason = 'erased'`, l.queued))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM messages WHERE id = $1 AND state = 'sent' AND provider_sid = 'SMabc123'`, l.sent))
	require.Equal(t, 1, howMany(t, pool, `SELECT sum(n) FROM campaign_counters WHERE campaign_id = $1 AND state = 'canceled'`, l.campaign))
	require.Equal(t, 0, howMany(t, pool, `SELECT sum(n) FROM campaign_counters WHERE campaign_id = $1 AND state = 'queued'`, l.campaign))
	drifts, err := pgstore.Verify(ctx, pool, pgstore.VerifyOptions{})
	require.NoError(t, err)
	require.Zero(t, drifts.Drifted)

	// Still blocked, though nobody can read who; and the same again changes nothing.
	require.True(t, suppressed(t, pool, eraPhone))
	require.False(t, suppressed(t, pool, eraMail))
	again := erase(t, pool, l.business)
	require.True(t, again.Already)
	require.Zero(t, again.Receipts)
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := pgstore.Erase(ctx, tx, 1<<40)
		return err
	})
	require.ErrorIs(t, err, pgstore.ErrNoBusiness)
}

// An erased suppression blocks a contact that comes back with the same address, and is lifted as any other.
func TestPromise4_erasedSuppressionStillBlocks(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	l := rosaLives(t, pool)
	erase(t, pool, l.business)

	back := addBusinesses(t, pool, pgstore.NewBusiness{Name: "De vuelta", Phone: eraPhone.Address})[0]
	dispatch := func(business int64, address string) error {
		_, err := pool.Exec(ctx, `
			INSERT INTO messages (public_id, business_id, channel, address, body, state) VALUES (gen_random_uuid(), $1, 'sms', $2, '', 'dispatching')`, business, address)
		return err
	}
	refused := func(err error) {
		t.Helper()
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg)
		require.Equal(t, "ON001", pg.Code)
	}
	refused(dispatch(back, eraPhone.Address))
	refused(dispatch(l.business, pgstore.Erased))

	// Another opt-out adds nothing, least of all the number.
	inTx(t, pool, func(tx pgx.Tx) {
		n, err := pgstore.Suppress(ctx, tx, []pgstore.Suppression{{Address: eraPhone, Reason: "stop", Source: pgstore.SourceWebhook}})
		require.NoError(t, err)
		require.Zero(t, n)
	})
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM suppressions`))

	// Erased a second time, with one that came between, it is still one.
	execSQL(t, pool, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', $1, 'stop', 'webhook')`, eraPhone.Address)
	execSQL(t, pool, `INSERT INTO suppressions (channel, address, reason, source, lifted_at) VALUES ('sms', $1, 'stop', 'webhook', now())`, eraPhone.Address)
	erase(t, pool, back)
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM suppressions WHERE lifted_at IS NULL`))
	require.Empty(t, traces(t, pool, "50255559876"))

	inTx(t, pool, func(tx pgx.Tx) {
		lifted, err := pgstore.Lift(ctx, tx, eraPhone, "recipient")
		require.NoError(t, err)
		require.True(t, lifted)
	})
	require.False(t, suppressed(t, pool, eraPhone))
	again := addBusinesses(t, pool, pgstore.NewBusiness{Name: "Otra vez", Phone: eraPhone.Address})[0]
	require.NoError(t, dispatch(again, eraPhone.Address))

	// An opt-out after the erasure counts, whether or not one stood before.
	inTx(t, pool, func(tx pgx.Tx) {
		n, err := pgstore.Suppress(ctx, tx, []pgstore.Suppression{{Address: eraMail, Reason: "unsubscribe", Source: pgstore.SourceWebhook}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
	require.True(t, suppressed(t, pool, eraMail))
}

// What is promised to others comes first: an accepted receipt is applied before it is blanked, and an opt-out's answer
// waits for a call that may still begin.
func TestErase_waitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	l := rosaLives(t, pool)
	underWay := func() {
		t.Helper()
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := pgstore.Erase(ctx, tx, l.business)
			return err
		})
		require.ErrorIs(t, err, pgstore.ErrUnderWay)
		require.NotEmpty(t, traces(t, pool, "50255559876"))
	}
	open := addReceipt(t, pool, "recurrente", "subscription.cancel", "", "")
	execSQL(t, pool, `UPDATE webhook_events SET body = '{"id":"su_abc123"}' WHERE id = $1`, open)
	underWay()
	execSQL(t, pool, `INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, 'applied')`, open)

	execSQL(t, pool, `UPDATE messages SET state = 'unknown' WHERE id = $1`, l.sent)
	execSQL(t, pool, `INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at) VALUES ($1, 'email', $2, 1, now())`, l.sent, eraMail.Address)
	underWay()
	execSQL(t, pool, `UPDATE dispatches SET dispatched_at = now() - interval '10 seconds'`)

	// A receipt that ran out of attempts holds its address: it may have been an opt-out, and is taken for one.
	lost := addReceipt(t, pool, "twilio", "inbound_message", "failed", "")
	execSQL(t, pool, `UPDATE webhook_events SET contact_key = 'email:rosa@lupita.example' WHERE id = $1`, lost)
	execSQL(t, pool, `INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'email', $2)`, lost, eraMail.Address)
	erase(t, pool, l.business)
	require.Empty(t, traces(t, pool, "50255559876", "rosa"))
	require.True(t, suppressed(t, pool, eraMail))
	require.Equal(t, 0, howMany(t, pool, `SELECT count(*) FROM dispatches`))
	require.Equal(t, 0, howMany(t, pool, `SELECT count(*) FROM inbound_pending`))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM messages WHERE id = $1 AND state = 'canceled'`, l.sent))
}

// An address that another contact has, too, is not this one's alone.
func TestErase_leavesWhatASecondContactShares(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	l := rosaLives(t, pool)
	second := addBusinesses(t, pool, pgstore.NewBusiness{Name: "Hermana", Phone: eraPhone.Address})[0]
	both := addReceipt(t, pool, "twilio", "inbound_message", "applied", "")
	execSQL(t, pool, `UPDATE webhook_events SET contact_key = 'sms:+50255559876', body = 'From=%2B50255559876' WHERE id = $1`, both)
	inTx(t, pool, func(tx pgx.Tx) {
		var facts []pgstore.Fact
		for i, id := range []int64{l.business, second} {
			facts = append(facts, pgstore.Fact{BusinessID: id, Event: lifecycle.ReplyReceived, OccurredAt: time.Now(), Key: fmt.Sprint("both", i), Source: pgstore.SourceWebhook, ReceiptID: both})
		}
		_, err := pgstore.Apply(t.Context(), tx, facts)
		require.NoError(t, err)
	})
	erase(t, pool, l.business)
	require.Empty(t, traces(t, pool, "Panadería", "rosa@"))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM webhook_events WHERE id = $1 AND erased_at IS NULL AND body <> ''`, both))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM suppressions WHERE address = $1`, eraPhone.Address))
	require.Equal(t, 1, howMany(t, pool, `SELECT count(*) FROM webhook_events WHERE id = $1 AND erased_at IS NOT NULL`, l.reply), "it led to facts of this one alone")
	// With the second, nothing is left.
	erase(t, pool, second)
	require.Empty(t, traces(t, pool, "50255559876", "Hermana"))
	require.True(t, suppressed(t, pool, eraPhone))
}

// The database's own hash is HMAC-SHA256 with a key that no two databases share.
func TestAddressHash_isHMAC(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	var ipad, opad []byte
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT inner_pad, outer_pad FROM erasure_key`).Scan(&ipad, &opad))
	key := make([]byte, len(ipad))
	for i := range key {
		key[i] = ipad[i] ^ 0x36
		require.Equal(t, key[i], opad[i]^0x5c)
	}
	require.Equal(t, make([]byte, len(key)-32), key[32:], "32 bytes, filled up with zeroes")
	require.NotEqual(t, make([]byte, 32), key[:32])
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("sms:+50255559876"))
	var hash string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT onward_address_hash('sms', '+50255559876')`).Scan(&hash))
	require.Equal(t, "hmac:"+hex.EncodeToString(mac.Sum(nil)), hash)
}

// A message that a fan-out is just making is erased with the rest, or never made: the row that it names decides.
func TestErase_meetsAFanOut(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	l := rosaLives(t, pool)
	fanOut, err := pool.Begin(ctx)
	require.NoError(t, err)
	_, err = fanOut.Exec(ctx, `
		INSERT INTO messages (public_id, business_id, channel, address, body) VALUES (gen_random_uuid(), $1, 'sms', '+50255559876', 'Hola Lupita')`, l.business)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		done <- pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := pgstore.Erase(ctx, tx, l.business)
			return err
		})
	}()
	require.Eventually(t, func() bool {
		return howMany(t, pool, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) > 0
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, fanOut.Commit(context.WithoutCancel(ctx)))
	require.NoError(t, <-done)
	require.Empty(t, traces(t, pool, "50255559876", "Lupita"))
	require.Equal(t, 2, howMany(t, pool, `SELECT count(*) FROM messages WHERE state = 'canceled' AND reason = 'erased'`))
}
