package worker

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider"
)

// everything is what the database holds, a line a table.
func (b *bundle) everything() (lines []string) {
	b.Helper()
	rows, err := b.pool.Query(b.ctx, `
		SELECT c.oid::regclass::text
		FROM pg_class c
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
		ORDER BY 1`)
	require.NoError(b, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b, err)
	for _, table := range tables {
		var line string
		require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT $1::text || ' ' || count(*) || ' ' || COALESCE(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM `+table+` t`, table).Scan(&line))
		lines = append(lines, line)
	}
	return lines
}

// post stores a receipt as the inbox does, without a job.
func (b *bundle) post(provider, kind, query, body string) uuid.UUID {
	b.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := b.pool.Exec(b.ctx, `
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, received_at)
		VALUES ($1, $2, $3, $4, '{}', $5, $6, now())`, id, provider, kind, query, []byte(body), id.String())
	require.NoError(b, err)
	return id
}

func (b *bundle) replayer() *Replayer {
	b.Helper()
	p, err := NewReplayer(ReplayOptions{Pool: b.pool, RecurrenteLive: true})
	require.NoError(b, err)
	return p
}

func TestReplay_dryRunSaysWhatAReplayWouldDo(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, business := b.message(0, jobs.ChannelSMS, someone)
	var public uuid.UUID
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT public_id FROM businesses WHERE id = $1`, business).Scan(&public))
	_, err := b.pool.Exec(b.ctx, `UPDATE messages SET state = 'sent', attempt = 1, provider_sid = 'SM1', sent_at = now() WHERE id = $1`, message)
	require.NoError(t, err)
	status := func(of string) uuid.UUID {
		return b.post(jobs.ProviderTwilio, jobs.KindMessageStatus, "", "MessageSid=SM1&MessageStatus="+of)
	}
	applied := status("undelivered")
	b.apply(applied, b.a.statusCallback)
	delivered := status("delivered")
	stop := b.post(jobs.ProviderTwilio, jobs.KindInboundMessage, "", "MessageSid=SM2&Body=STOP&From=%2B12025550001")
	stranger := b.post(jobs.ProviderTwilio, jobs.KindInboundMessage, "", "MessageSid=SM3&Body=Hi&From=%2B12025559999")
	unreadable := b.post(jobs.ProviderRecurrente, "intent.succeeded", "", "{")
	nobodys := b.post(jobs.ProviderRecurrente, "checkout.expired", "", "{}")
	// It waits for a site that is there by now, and for which nobody woke it.
	waits := b.post(jobs.ProviderRecurrente, "subscription.past_due", "", `{"id":"su_1","event_type":"subscription.past_due","created_at":"2026-10-01T12:00:00Z"}`)
	_, err = b.pool.Exec(b.ctx, `INSERT INTO receipt_outcomes (receipt_id, outcome, match_key) VALUES ($1, 'unmatched', 'subscription:su_1')`, waits)
	require.NoError(t, err)
	_, err = b.pool.Exec(b.ctx, `INSERT INTO sites (public_id, business_id, subscription_id) VALUES (gen_random_uuid(), $1, 'su_1')`, business)
	require.NoError(t, err)
	blank := status("read")
	_, err = b.pool.Exec(b.ctx, `UPDATE webhook_events SET body = '', erased_at = now() WHERE id = $1`, blank)
	require.NoError(t, err)

	before := b.everything()
	p := b.replayer()
	for _, c := range []struct {
		name      string
		id        uuid.UUID
		then, now string
		facts     int
		changes   []string
		stands    bool
	}{
		{name: "applied before", id: applied, then: "applied", now: "no_change", stands: true},
		{name: "not applied yet", id: delivered, then: "pending", now: "applied", facts: 1, changes: []string{"contact: bounced → sms_sent by sms_delivered"}},
		{name: "a STOP", id: stop, then: "pending", now: "applied", facts: 1, changes: []string{"contact: bounced → unsubscribed by opted_out"}},
		{name: "nobody known", id: stranger, then: "pending", now: "unmatched"},
		{name: "unreadable", id: unreadable, then: "pending", now: "failed"},
		{name: "nobody applies it", id: nobodys, then: "pending", now: "ignored", stands: true},
		{
			name: "matches by now", id: waits, then: "unmatched", now: "applied", facts: 1,
			changes: []string{"subscription: none → past_due by subscription_past_due", "site_subscription: none → past_due by subscription_past_due"},
		},
		{name: "erased", id: blank, then: "pending", now: "ignored", stands: true},
	} {
		r, err := p.DryRun(t.Context(), c.id)
		require.NoError(t, err, c.name)
		require.Equal(t, []any{c.then, c.now, c.facts}, []any{r.Then, r.Now, r.Facts}, c.name)
		var changes []string
		for _, d := range r.Changes {
			require.Equal(t, public, d.BusinessID)
			changes = append(changes, fmt.Sprintf("%s: %s → %s by %s", d.Axis, d.From, d.To, d.Event))
		}
		require.Equal(t, c.changes, changes, c.name)
		if c.now != "unmatched" && c.now != "failed" {
			require.Equal(t, c.stands, r.Stands(), c.name)
		}
	}
	_, err = p.DryRun(t.Context(), uuid.Must(uuid.NewV7()))
	require.ErrorIs(t, err, ErrNoReceipt)
	require.Equal(t, before, b.everything(), "a dry run leaves nothing behind")
}

// What this version makes worse, or at last finds, is shown as such, though no status would differ.
func TestReplay_standsOrNot(t *testing.T) {
	t.Parallel()
	require.True(t, Replay{Then: "applied", Now: "no_change"}.Stands())
	require.True(t, Replay{Then: "unmatched", Now: "unmatched"}.Stands())
	require.True(t, Replay{Then: "applied", Now: "ignored"}.Stands(), "as a soft bounce, or what was erased since")
	require.False(t, Replay{Then: "applied", Now: "failed"}.Stands())
	require.False(t, Replay{Then: "no_change", Now: "unmatched"}.Stands())
	require.False(t, Replay{Then: "failed", Now: "no_change"}.Stands())
	require.False(t, Replay{Then: "applied", Now: "applied"}.Stands())
	require.False(t, Replay{Then: "applied", Now: "no_change", Facts: 1}.Stands())
}

// A replayer can't hold what sends: not by its options, which have no place for it, and not by what it is made of.
func TestPromise3_replayCannotSend(t *testing.T) {
	t.Parallel()
	sender, lookup := reflect.TypeFor[provider.Sender](), reflect.TypeFor[provider.Lookup]()
	client := reflect.TypeFor[*river.Client[pgx.Tx]]()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[ReplayOptions]()) {
		if f.Type == reflect.TypeFor[*pgxpool.Pool]() {
			continue
		}
		require.False(t, f.Type.Implements(sender) || f.Type.Implements(lookup) || f.Type == client, f.Name)
		require.Contains(t, []reflect.Kind{reflect.Bool, reflect.Int64}, f.Type.Kind(), "%s: a value, nothing that acts", f.Name)
	}
	b := setup(t, nil)
	p := b.replayer()
	require.Nil(t, p.applier.SMS)
	require.Nil(t, p.applier.Email)
	require.Nil(t, p.applier.SMSLookup)
	require.Nil(t, p.applier.Wake)
	require.Nil(t, p.applier.Observer.Sent)

	// What would enqueue a send is noted instead: a mail that bounced softly is sent again, but not by a dry run.
	message, _ := b.message(0, jobs.ChannelEmail, "a@example.test")
	_, err := b.pool.Exec(b.ctx, `UPDATE messages SET state = 'accepted', attempt = 1, provider_sid = 're_1', sent_at = now() WHERE id = $1`, message)
	require.NoError(t, err)
	bounce := b.post(jobs.ProviderResend, "email.bounced", "", `{"type":"email.bounced","data":{"email_id":"re_1","bounce":{"type":"Transient"}}}`)
	before := b.everything()
	r, err := p.DryRun(t.Context(), bounce)
	require.NoError(t, err)
	require.Equal(t, []string{"send"}, r.Enqueued)
	require.False(t, r.Stands())
	require.Equal(t, before, b.everything())

	// Once it was taken, not even a replay that is none of a dry run sends: the receipt's mark keeps it single.
	b.apply(bounce, b.a.emailEvent)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM river_job WHERE kind = 'send'`))
	_, err = b.pool.Exec(b.ctx, `UPDATE messages SET state = 'accepted'`) // sent again meanwhile, and taken
	require.NoError(t, err)
	r, err = p.DryRun(t.Context(), bounce)
	require.NoError(t, err)
	require.Empty(t, r.Enqueued)
	require.True(t, r.Stands())
	b.apply(bounce, b.a.emailEvent)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM river_job WHERE kind = 'send'`))
	state, _ := b.state(message)
	require.Equal(t, "accepted", state)
	require.Empty(t, b.sim.Calls())
	require.Empty(t, b.sim.Mails())
}

// Whatever job a receipt has, a dry run applies it with the worker's own function; and it is none that sends.
func TestReplay_knowsEveryJobOfAReceipt(t *testing.T) {
	t.Parallel()
	a := &applier{}
	kinds := map[string]bool{}
	for _, p := range []string{jobs.ProviderTwilio, jobs.ProviderRecurrente, jobs.ProviderResend, jobs.ProviderOnward, "other"} {
		for _, kind := range []string{
			jobs.KindMessageStatus, jobs.KindInboundMessage, jobs.KindUnsubscribe, jobs.KindOpen, jobs.KindClick,
			"subscription.create", "subscription.cancel", "subscription.canceled", "subscription.update", "intent.succeeded",
			"payment_intent.succeeded", "setup_intent.succeeded", "email.delivered", "email.complained", "email.opened", "other",
		} {
			args := jobs.ForReceipt(p, kind, "")
			require.Equal(t, args != nil, a.funcFor(p, kind) != nil, "%s %s", p, kind)
			if args != nil {
				kinds[args.Kind()] = true
			}
		}
	}
	require.Len(t, kinds, 8)
	require.NotContains(t, kinds, jobs.SendArgs{}.Kind())
	require.NotContains(t, kinds, jobs.ReconcileArgs{}.Kind())
	require.NotContains(t, kinds, jobs.FanOutArgs{}.Kind())
}

// A dry run does not wait long for a business that a worker holds, and keeps nobody waiting afterwards.
func TestReplay_dryRunGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, business := b.message(0, jobs.ChannelSMS, someone)
	stop := b.post(jobs.ProviderTwilio, jobs.KindInboundMessage, "", "MessageSid=SM2&Body=STOP&From=%2B12025550001")
	worker, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = worker.Exec(b.ctx, `SELECT 1 FROM businesses WHERE id = $1 FOR NO KEY UPDATE`, business)
	require.NoError(t, err)
	p, err := NewReplayer(ReplayOptions{Pool: b.pool, LockTimeout: 10 * time.Millisecond})
	require.NoError(t, err)
	_, err = p.DryRun(t.Context(), stop)
	require.ErrorContains(t, err, "lock timeout")
	require.NoError(t, worker.Rollback(context.WithoutCancel(b.ctx)))
	r, err := p.DryRun(t.Context(), stop)
	require.NoError(t, err)
	require.Equal(t, "applied", r.Now)
}
