package app_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider/providersim"
)

// playEverything plays a day in the life of an installation that is well.
func (s *stack) playEverything() {
	s.Helper()
	buyer, phone, _ := s.business("")
	other, otherPhone, _ := s.business("")
	failing, _, _ := s.business(providersim.MagicUnreachable)
	invalid, _, _ := s.business(providersim.MagicInvalid)
	site := s.site(buyer, "su_1")
	for _, e := range []string{"generation_started", "generation_completed", "site_deployed"} {
		s.call("POST", "/crm/businesses/"+buyer+"/events", object{"event": e, "site_id": site}, nil, 202)
	}
	for _, channel := range []string{"email", "sms"} {
		c := s.campaign(channel, buyer, other, failing, invalid)
		s.awaitMessage(c, buyer, "delivered")
		s.awaitMessage(c, other, "delivered")
	}
	require.Equal(s, 200, s.reply(newSID("SM"), phone, "Great"))
	require.Equal(s, 200, s.reply(newSID("SM"), otherPhone, "STOP"))
	s.awaitStatus(other, "contact_status", "unsubscribed")
	s.awaitCampaign(s.campaign("sms", other), "sent")
	_, _, err := s.sim.Charge(providersim.Charge{SiteID: site, SubscriptionID: "su_1", AmountInCents: 25000, Currency: "GTQ"})
	require.NoError(s, err)
	_, err = s.sim.SubscriptionEvent("create", providersim.Subscription{ID: "su_1"})
	require.NoError(s, err)
	s.awaitStatus(buyer, "contact_status", "purchased")
	s.awaitStatus(buyer, "subscription_status", "active")
	require.NoError(s, s.sim.Drain(s.Context()))
	s.awaitApplied()
}

// breakEverything makes what each alert of broken is for.
func (s *stack) breakEverything() {
	s.Helper()
	queue, err := river.NewClient(riverpgxv5.New(s.db.Pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(s, err)

	// Sends: an answer that never came and that nothing settled; an account that is refused; a provider that puts us off.
	lost, _, _ := s.business(providersim.MagicDrop)
	s.awaitMessage(s.campaign("sms", lost), lost, "held")
	s.exec(`UPDATE dispatches SET unknown_at = now() - interval '2 hours', dispatched_at = now() - interval '2 hours'`)
	refused, _, _ := s.business(providersim.MagicBadToken)
	s.awaitCampaign(s.campaign("sms", refused), "paused")
	var putOff []string
	for range 6 {
		id, _, _ := s.business("")
		putOff = append(putOff, id)
	}
	s.exec(`UPDATE businesses SET phone = $1 WHERE public_id = ANY($2::uuid[])`, providersim.MagicRateLimited, putOff)
	s.campaign("sms", putOff...)

	// Webhooks: forged ones, and one by the secret before the last.
	for i := range 40 {
		form := url.Values{"MessageSid": {newSID("SM")}, "MessageStatus": {"sent"}}
		require.Equal(s, 403, s.post("/webhooks/twilio/status", http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"}, "X-Twilio-Signature": {fmt.Sprint("forged", i)},
		}, []byte(form.Encode())))
	}
	const inbound = "/webhooks/twilio/inbound"
	old := url.Values{"AccountSid": {account}, "MessageSid": {newSID("SM")}, "From": {s.phone()}, "To": {from}, "Body": {"hello"}, "NumMedia": {"0"}}
	require.Equal(s, 200, s.post(inbound, http.Header{
		"Content-Type":       {"application/x-www-form-urlencoded"},
		"X-Twilio-Signature": {providersim.SignTwilio(oldAuthToken, publicURL+inbound, old)},
	}, []byte(old.Encode())))
	s.overload()

	// A receipt that can't be applied, and jobs that ran out of attempts over it.
	_, phone, _ := s.business("")
	s.exec(`CREATE FUNCTION test_fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$`)
	s.exec(`CREATE TRIGGER test_fails BEFORE INSERT ON inbound_messages FOR EACH ROW WHEN (NEW.body = 'boom') EXECUTE FUNCTION test_fails()`)
	require.Equal(s, 200, s.reply(newSID("SM"), phone, "boom"))
	var receipt uuid.UUID
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), `SELECT id FROM webhook_events ORDER BY id DESC LIMIT 1`).Scan(&receipt))
	for range 30 {
		_, err := queue.Insert(s.Context(), jobs.ReplyArgs{ReceiptArgs: jobs.ReceiptArgs{ReceiptID: receipt.String()}}, &river.InsertOpts{MaxAttempts: 1})
		require.NoError(s, err)
	}
	s.eventually("30 jobs are discarded", func() bool { return s.count(`SELECT count(*) FROM river_job WHERE state = 'discarded'`) == 30 })

	// The queue: paused, late, and a job that does not end although its worker lives.
	require.NoError(s, queue.QueuePause(s.Context(), jobs.QueueBilling, nil))
	s.eventually("a job waits in the paused queue", func() bool {
		_, err := queue.Insert(s.Context(), jobs.PurchaseArgs{ReceiptArgs: jobs.ReceiptArgs{ReceiptID: uuid.NewString()}}, &river.InsertOpts{
			ScheduledAt: time.Now().Add(-time.Hour),
		})
		require.NoError(s, err)
		// Until the worker has heard of the pause, it takes them at once.
		return s.count(`SELECT count(*) FROM river_job WHERE queue = 'billing' AND state = 'available' AND created_at < now() - interval '200 milliseconds'`) > 0
	})
	// In another process, which lives: what this one does not really run, it would put back.
	s.exec(`
		WITH elsewhere AS (
			INSERT INTO worker_processes (client_id, host, pid, version, queues, capacity, seen_at)
			VALUES ('elsewhere', 'elsewhere', 1, 'test', '{callbacks}', 1, now() + interval '1 hour')
			RETURNING client_id
		)
		INSERT INTO river_job (state, kind, queue, args, max_attempts, attempt, priority, scheduled_at, attempted_at, attempted_by)
		SELECT 'running', 'track', 'callbacks', '{}', 25, 1, 1, now() - interval '9 minutes', now() - interval '9 minutes', ARRAY[client_id]
		FROM elsewhere`)
	s.exec(`
		DO $$
		DECLARE part text;
		BEGIN
			FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'webhook_events'::regclass AND inhrelid <> 'webhook_events_default'::regclass
				ORDER BY inhrelid::regclass::text OFFSET 1
			LOOP
				EXECUTE 'DROP TABLE ' || part;
			END LOOP;
		END
		$$`)

	// The truth: a status by hand, a campaign's counter by hand, an opt-out that the database was told of too late.
	drifted, _, _ := s.business("")
	s.exec(`UPDATE businesses SET contact_status = 'replied' WHERE public_id = $1`, drifted)
	s.exec(`UPDATE campaign_counters SET n = n + 1`)
	s.exec(`
		INSERT INTO suppressions (channel, address, reason, source, since)
		SELECT DISTINCT channel, address, 'test', 'operator', now() - interval '1 hour'
		FROM messages
		WHERE state = 'delivered' AND channel = 'email'`)
	_, err = queue.Insert(s.Context(), jobs.VerifySampleArgs{}, nil)
	require.NoError(s, err)
}

// overload makes the database refuse some receipts, then holds up every commit of one: when the inbox is full (64 MiB), others
// are refused.
func (s *stack) overload() {
	s.Helper()
	const path, large, failing, senders = "/webhooks/twilio/status", 900 << 10, 10, 80
	post := func(padding int) (int, error) {
		form := url.Values{"MessageSid": {"SM00000000000000000000000000000001"}, "MessageStatus": {"sent"}, "Padding": {strings.Repeat("x", padding)}}
		req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.public+path, strings.NewReader(form.Encode()))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Twilio-Signature", providersim.SignTwilio(authToken, publicURL+path, form))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	type answer struct {
		code int
		err  error
	}
	answers := make(chan answer, senders)
	send := func(n, padding int) {
		for range n {
			go func() {
				code, err := post(padding)
				answers <- answer{code, err}
			}()
		}
	}
	s.exec(`ALTER TABLE webhook_events ADD CONSTRAINT test_refuses CHECK (false) NOT VALID`)
	send(failing, 0)
	for range failing {
		a := <-answers
		require.NoError(s, a.err)
		require.Equal(s, http.StatusServiceUnavailable, a.code)
	}
	s.exec(`ALTER TABLE webhook_events DROP CONSTRAINT test_refuses`)

	tx, err := s.db.Pool.Begin(s.Context())
	require.NoError(s, err)
	_, err = tx.Exec(s.Context(), `LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE`)
	require.NoError(s, err)
	send(senders, large)
	refused := false
	for range senders {
		a := <-answers
		require.NoError(s, a.err)
		if a.code == http.StatusServiceUnavailable && !refused {
			refused = true
			require.NoError(s, tx.Rollback(s.Context())) // the others are stored
		}
	}
	require.True(s, refused)
}

func (s *stack) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.db.Pool.Exec(s.Context(), sql, args...)
	require.NoError(s, err, sql)
}
