package pgstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// scene is a database in which invariants are broken by hand.
type scene struct {
	*testing.T
	ctx  context.Context
	pool *pgxpool.Pool
	n    int
}

func newScene(t *testing.T) *scene { return &scene{T: t, ctx: t.Context(), pool: newDB(t)} }

func (s *scene) exec(sql string, args ...any) {
	s.Helper()
	byHand(s.ctx, s, s.pool, sql, args...)
}

// uuidAgo is a UUIDv7 that was made some time ago.
func (s *scene) uuidAgo(ago time.Duration) uuid.UUID {
	s.Helper()
	id := uuid.Must(uuid.NewV7())
	ms := time.Now().Add(-ago).UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// message inserts a message to an address of its own, queued some time ago; its columns are set as given.
func (s *scene) message(queued time.Duration, address, set string, args ...any) (id int64, public uuid.UUID) {
	s.Helper()
	s.n++
	business, _ := newBusiness(s.ctx, s, s.pool)
	public = s.uuidAgo(queued)
	require.NoError(s, s.pool.QueryRow(s.ctx, `
		INSERT INTO messages (public_id, business_id, channel, address, body) VALUES ($1, $2, 'sms', $3, 'Hello')
		RETURNING id`, public, business, address).Scan(&id))
	if set != "" {
		// The guard would refuse what some of these tests must see.
		inTx(s.T, s.pool, func(tx pgx.Tx) {
			_, err := tx.Exec(s.ctx, `SET LOCAL session_replication_role = replica`)
			require.NoError(s, err)
			_, err = tx.Exec(s.ctx, `UPDATE messages SET `+set+` WHERE id = $1`, append([]any{id}, args...)...)
			require.NoError(s, err)
		})
	}
	return id, public
}

func (s *scene) receipt(ago time.Duration, kind, query, body string) uuid.UUID {
	s.Helper()
	id := s.uuidAgo(ago)
	s.exec(`INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, received_at)
		VALUES ($1, 'twilio', $2, $3, '{}', $4, $5, now())`, id, kind, query, []byte(body), id.String())
	return id
}

func (s *scene) outcome(receipt uuid.UUID) {
	s.Helper()
	s.exec(`INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, 'applied')`, receipt)
}

// broken are the invariants that are violated, with the ids that are shown.
func (s *scene) broken(o pgstore.InvariantOptions) map[pgstore.Invariant][]string {
	s.Helper()
	list, err := pgstore.CheckInvariants(s.ctx, s.pool, o)
	require.NoError(s, err)
	require.Len(s, list, len(pgstore.Invariants()))
	found := map[pgstore.Invariant][]string{}
	for i, v := range list {
		require.Equal(s, pgstore.Invariants()[i], v.Invariant)
		require.NotEmpty(s, v.Means)
		if v.Count > 0 {
			found[v.Invariant] = v.Examples
			require.Len(s, v.Examples, min(v.Count, 5))
		}
	}
	return found
}

// requireBroken wants exactly one invariant violated, by these, whether all is looked at or the last day.
func (s *scene) requireBroken(name pgstore.Invariant, ids ...any) {
	s.Helper()
	want := map[pgstore.Invariant][]string{}
	for _, id := range ids {
		want[name] = append(want[name], fmt.Sprint(id))
	}
	for what, o := range map[string]pgstore.InvariantOptions{"all": {}, "a day": {Since: time.Now().Add(-24 * time.Hour)}} {
		found := s.broken(o)
		require.Len(s, found, min(len(want), 1), "%s: %v", what, found)
		require.ElementsMatch(s, want[name], found[name], what)
	}
}

func (s *scene) requireSound() {
	s.Helper()
	s.requireBroken("")
}

func TestInvariant_sendAfterOptOut(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	suppress := func(address, since, lifted string) {
		s.exec(`INSERT INTO suppressions (channel, address, reason, source, since, lifted_at)
			VALUES ('sms', $1, 'stop', 'webhook', now() - $2::interval, now() - NULLIF($3, '')::interval)`, address, since, lifted)
	}
	const sent = `state = 'sent', dispatched_at = now() - $2::interval`
	suppress("+15550000001", "1 hour", "")
	s.message(0, "+15550000001", sent, "2 hours") // before
	s.message(0, "+15550000001", "")              // never dispatched
	s.message(0, "+15550000001", sent, "3599 s")  // one that the suppression had to wait for
	suppress("+15550000002", "3 hours", "2 hours")
	s.message(0, "+15550000002", sent, "1 hour")                         // after it was lifted
	s.message(0, "+15550000003", sent, "1 hour")                         // another address
	s.message(0, "+15550000001", "channel = 'email', "+sent, "1 minute") // another channel
	s.requireSound()

	_, after := s.message(0, "+15550000001", sent, "1 minute")
	_, between := s.message(48*time.Hour, "+15550000002", sent, "150 minutes") // an old message, a young suppression
	suppress("+15550000004", "48 hours", "")
	_, young := s.message(0, "+15550000004", sent, "1 minute") // a young message, an old suppression
	s.requireBroken(pgstore.SendAfterOptOut, after, between, young)

	// A suppression that outlived an erasure holds for whoever has the address now.
	s.exec(`INSERT INTO suppressions (channel, address, reason, source, since)
		SELECT 'sms', onward_address_hash('sms', '+15550000005'), 'stop', 'webhook', now() - interval '1 hour'`)
	_, again := s.message(0, "+15550000005", sent, "1 minute")
	s.requireBroken(pgstore.SendAfterOptOut, after, between, young, again)

	suppress("+15550000006", "72 hours", "")
	_, old := s.message(48*time.Hour, "+15550000006", sent, "47 hours")
	require.Contains(t, s.broken(pgstore.InvariantOptions{})[pgstore.SendAfterOptOut], old.String())
	require.NotContains(t, s.broken(pgstore.InvariantOptions{Since: time.Now().Add(-24 * time.Hour)})[pgstore.SendAfterOptOut], old.String())
}

func TestInvariant_sentTwice(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	callback := func(message uuid.UUID, attempt int, sid string) {
		query := fmt.Sprintf("m=%s&a=%d", message, attempt)
		s.outcome(s.receipt(time.Hour, "message_status", query, "AccountSid=AC1&SmsSid="+sid+"&MessageStatus=sent&MessageSid="+sid))
	}
	_, once := s.message(0, "+15550000001", `state = 'sent', provider_sid = 'SM01', attempt = 2`)
	callback(once, 1, "SM01")
	callback(once, 2, "SM01")
	_, unknown := s.message(0, "+15550000002", `state = 'delivered', provider_sid = NULL`)
	callback(unknown, 1, "SM02")
	s.outcome(s.receipt(time.Hour, "message_status", "m=nonsense&a=1", "MessageSid=SM77"))
	s.outcome(s.receipt(time.Hour, "message_status", "m="+once.String(), "\x00\xff no form"))
	_, resolved := s.message(0, "+15550000003", `state = 'sent', provider_sid = 'SM03', attempt = 2`)
	callback(resolved, 1, "SM04")
	s.exec(`INSERT INTO operator_actions (actor, action, target_type, target_id, reason) VALUES ('ana', 'message.resolve.not_sent', 'message', $1, 'asked them')`, resolved.String())
	s.requireSound()

	_, twice := s.message(0, "+15550000004", `state = 'sent', provider_sid = 'SM05', attempt = 2`)
	callback(twice, 1, "SM06")
	callback(twice, 1, "SM06")
	s.requireBroken(pgstore.SentTwice, twice)
}

func TestInvariant_dispatchMismatch(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	row := func(message int64, state string, attempt int) {
		s.exec(`INSERT INTO dispatches (message_id, channel, address, attempt, state, dispatched_at) VALUES ($1, 'sms', '+1', $2, $3, now())`, message, attempt, state)
	}
	var all []any
	for state, of := range map[string]string{"dispatching": "calling", "unknown": "unknown", "held": "held"} {
		id, public := s.message(0, "+15550000001", `attempt = 1, dispatched_at = now(), state = $2`, state)
		row(id, of, 1)
		all = append(all, public)
	}
	s.message(0, "+15550000001", `attempt = 1, state = 'delivered'`)
	s.requireSound()

	s.exec(`UPDATE messages SET attempt = 2 WHERE public_id = $1`, all[0])
	s.exec(`UPDATE messages SET state = 'accepted' WHERE public_id = $1`, all[1])
	s.exec(`DELETE FROM dispatches WHERE message_id = (SELECT id FROM messages WHERE public_id = $1)`, all[2])
	s.requireBroken(pgstore.DispatchMismatch, all...)
}

func TestInvariant_dispatchStuck(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var stuck uuid.UUID
	for _, ago := range []string{"4 minutes", "6 minutes"} {
		id, public := s.message(0, "+15550000001", `attempt = 1, state = 'dispatching', dispatched_at = now() - $2::interval`, ago)
		s.exec(`INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at) VALUES ($1, 'sms', '+1', 1, now() - $2::interval)`, id, ago)
		stuck = public
	}
	s.requireBroken(pgstore.DispatchStuck, stuck)
	s.exec(`UPDATE dispatches SET state = 'unknown'`)
	s.exec(`UPDATE messages SET state = 'unknown'`)
	s.requireSound()
}

func TestInvariant_receiptLost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	job := func(receipt uuid.UUID, state, finalized string) {
		s.exec(`INSERT INTO river_job (args, kind, max_attempts, state, finalized_at, attempted_at)
			VALUES (jsonb_build_object('receipt_id', $1::text), 'reply', 25, $2::text::river_job_state, NULLIF($3, '')::timestamptz, now())`, receipt.String(), state, finalized)
	}
	s.receipt(10*time.Second, "inbound_message", "", "") // young: its commit may be under way
	s.outcome(s.receipt(time.Hour, "inbound_message", "", ""))
	for _, state := range []string{"available", "running", "retryable", "scheduled", "pending"} {
		job(s.receipt(time.Hour, "inbound_message", "", ""), state, "")
	}
	for _, state := range []string{"cancelled", "discarded"} {
		job(s.receipt(time.Hour, "inbound_message", "", ""), state, "now")
	}
	s.requireSound()

	lost := s.receipt(2*time.Minute, "inbound_message", "", "")
	done := s.receipt(time.Hour, "inbound_message", "", "")
	job(done, "completed", "now")
	s.requireBroken(pgstore.ReceiptLost, lost, done)
	s.outcome(done)
	s.requireBroken(pgstore.ReceiptLost, lost)
}

func TestInvariant_suppressionConflict(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	insert := func(channel, address string, lifted any) (id int64) {
		require.NoError(t, s.pool.QueryRow(s.ctx, `INSERT INTO suppressions (channel, address, reason, source, lifted_at)
			VALUES ($1, $2, 'stop', 'webhook', $3) RETURNING id`, channel, address, lifted).Scan(&id))
		return id
	}
	insert("sms", "+15550000001", time.Now())
	insert("sms", "+15550000001", nil)
	insert("email", "+15550000001", nil)
	insert("email", "b@x.example", time.Now())
	insert("email", "B@x.example", nil)
	s.requireSound()

	spelled := insert("email", "a@x.example", nil)
	insert("email", "A@X.example", nil)
	s.requireBroken(pgstore.SuppressionConflict, spelled)
	_, err := s.pool.Exec(s.ctx, `DROP INDEX suppressions_active`)
	require.NoError(t, err)
	same := insert("sms", "+15550000002", nil)
	insert("sms", "+15550000002", nil)
	s.requireBroken(pgstore.SuppressionConflict, spelled, same)
}

func TestInvariant_counterMismatch(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	campaign := func() (id int64, public uuid.UUID) {
		public = uuid.Must(uuid.NewV7())
		require.NoError(t, s.pool.QueryRow(s.ctx, `
			INSERT INTO campaigns (public_id, name, channel, body, audience, status) VALUES ($1, 'c', 'sms', 'b', '{}', 'sending') RETURNING id`, public).Scan(&id))
		return id, public
	}
	id, _ := campaign()
	var messages []int64
	for range 3 {
		m, _ := s.message(0, "+15550000001", `campaign_id = $2`, id)
		messages = append(messages, m)
	}
	inTx(t, s.pool, func(tx pgx.Tx) {
		require.NoError(t, pgstore.CountMany(s.ctx, tx, id, messages, map[string]int64{"skipped_no_address": 7}))
	})
	inTx(t, s.pool, func(tx pgx.Tx) {
		r, err := pgstore.Raise(s.ctx, tx, pgstore.Report{MessageID: messages[0], State: lifecycle.MessageDelivered, At: time.Now()})
		require.NoError(t, err)
		require.NoError(t, r.Count(s.ctx, tx))
	})
	s.requireSound()

	_, uncounted := campaign()
	s.message(0, "+15550000001", `campaign_id = (SELECT id FROM campaigns WHERE public_id = $2)`, uncounted)
	other, overcounted := campaign()
	s.exec(`INSERT INTO campaign_counters (campaign_id, shard, state, n) VALUES ($1, 0, 'sent', 1)`, other)
	s.requireBroken(pgstore.CounterMismatch, uncounted, overcounted)
}

func TestInvariant_factMalformed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	business, site, _ := customer(s.ctx, t, s.pool)
	fact := func(business int64, site *int64, event, axis string) (id int64) {
		s.n++
		require.NoError(t, s.pool.QueryRow(s.ctx, `
			INSERT INTO facts (business_id, site_id, event, axis, occurred_at, source, dedupe_key)
			VALUES ($1, $2, $3, $4, now(), 'import', $5) RETURNING id`, business, site, event, axis, fmt.Sprint("k", s.n)).Scan(&id))
		return id
	}
	for _, e := range lifecycle.Events() {
		fact(business, &site, string(e), string(e.Axes()[0]))
	}
	s.requireSound()
	nowhere := site + 1000
	s.requireBroken(pgstore.FactMalformed,
		fact(business, nil, "purchase_completed", "website"), fact(business, nil, "levitated", "contact"),
		fact(business+1000, nil, "opted_out", "contact"), fact(business, &nowhere, "site_deployed", "website"))
}

// What can't be looked at is an error that names the invariant and the time-out; the others are checked all the same.
func TestCheckInvariants_timeOut(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	inTx(t, s.pool, func(tx pgx.Tx) {
		_, err := tx.Exec(s.ctx, `LOCK TABLE suppressions IN ACCESS EXCLUSIVE MODE`)
		require.NoError(t, err)
		list, err := pgstore.CheckInvariants(s.ctx, s.pool, pgstore.InvariantOptions{Timeout: time.Second})
		require.Len(t, list, len(pgstore.Invariants())-2)
		require.ErrorContains(t, err, "check invariant send_after_opt_out: the invariant's time-out of 1s")
		require.ErrorContains(t, err, "check invariant suppression_conflict")
	})
}

// However much is broken, the count is bounded and the examples are few.
func TestCheckInvariants_isBounded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	business, _, _ := customer(s.ctx, t, s.pool)
	s.exec(`INSERT INTO facts (business_id, event, axis, occurred_at, source, dedupe_key)
		SELECT $1, 'levitated', 'contact', now(), 'import', n::text FROM generate_series(1, 10001) n`, business)
	var steps int64
	list, err := pgstore.CheckInvariants(s.ctx, s.pool, pgstore.InvariantOptions{Progress: func(done, total int64) {
		steps++
		require.Equal(t, steps, done)
		require.Equal(t, int64(len(pgstore.Invariants())), total)
	}})
	require.NoError(t, err)
	require.Equal(t, int64(len(pgstore.Invariants())), steps)
	for _, v := range list {
		if v.Invariant == pgstore.FactMalformed {
			require.Equal(t, 10_000, v.Count)
			require.Len(t, v.Examples, 5)
		}
	}
}
