package app_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
	"onward/lifecycle/pgstore"
)

// traces lists the tables in which a needle stands, in text, JSON, arrays or bytes.
func (s *stack) traces(needles ...string) (found []string) {
	s.Helper()
	rows, err := s.db.Pool.Query(s.Context(), `
		SELECT c.oid::regclass::text
		FROM pg_class c
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
		ORDER BY 1`)
	require.NoError(s, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s, err)
	for _, table := range tables {
		for _, needle := range needles {
			n := s.count(`
				SELECT count(*)
				FROM `+table+` t
				WHERE strpos(lower(t::text), lower($1)) > 0 OR strpos(lower(t::text), encode(convert_to($1, 'UTF8'), 'hex')) > 0
					OR strpos(lower(t::text), encode(convert_to(replace(replace($1, '+', '%2B'), '@', '%40'), 'UTF8'), 'hex')) > 0`, needle)
			if n > 0 {
				found = append(found, fmt.Sprintf("%s: %d rows with %s", table, n, needle))
			}
		}
	}
	return found
}

// life plays a contact's whole life through both channels and every kind of webhook, and returns when all is applied.
func (s *stack) life(name, phone, email string) (id string) {
	s.Helper()
	var b object
	s.call("POST", "/crm/businesses", object{
		"name": name, "phone": phone, "email": email, "city": "Quetzaltenango", "country": "GT", "category": "bakery", "external_id": "crm-" + phone,
	}, &b, 201)
	id = b.str("id")
	site := s.site(id, "")
	s.call("PATCH", "/crm/sites/"+site, object{"url": "https://lupita.example"}, nil, 200)
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	s.awaitMessage(s.campaign("email", id), id, "delivered")
	require.Equal(s, 200, s.reply(newSID("SM"), phone, "Me interesa, soy Rosa"))
	subscription := "su_" + uuid.NewString()
	require.Equal(s, 200, s.recurrente("msg_"+uuid.NewString(), object{
		"id": "in_" + site, "event_type": "intent.succeeded", "amount_in_cents": 50000, "currency": "GTQ", "created_at": time.Now().Format(time.RFC3339Nano),
		"customer":      object{"email": "owner@elsewhere.example", "full_name": "Rosa Itzep"},
		"checkout":      object{"id": "ch_" + site, "metadata": object{"site_id": site}},
		"payment":       object{"id": "pa_1", "paymentable": object{"type": "Subscription", "id": subscription}},
		"customer_name": "Rosa Itzep",
	}))
	s.awaitStatus(id, "contact_status", "purchased")
	require.Equal(s, 200, s.recurrente("msg_"+uuid.NewString(), object{
		"id": subscription, "event_type": "subscription.update", "customer_email": "owner@elsewhere.example", "created_at": time.Now().Format(time.RFC3339Nano),
	}))
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "ticket_opened", "note": "Rosa cannot log in"}, nil, 202)
	require.Equal(s, 200, s.reply(newSID("SM"), phone, "STOP"))
	s.awaitStatus(id, "contact_status", "unsubscribed")
	require.NoError(s, s.sim.Drain(s.Context()))
	s.awaitApplied()
	return id
}

// After an erasure nothing in the whole database speaks of the contact: not in a text, not in JSON, not in a raw request.
// Every status is still the fold of its facts, and the address is still blocked.
func TestErasure_leavesNoTrace(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	const name, email = "Panadería Lupita", "rosa.itzep@lupita.example"
	phone := s.phone()
	kept, keptPhone, _ := s.business("")
	id := s.life(name, phone, email)
	require.Equal(t, 200, s.reply(newSID("SM"), keptPhone, "I stay"))
	s.awaitStatus(kept, "contact_status", "replied")
	needles := []string{name, phone, phone[1:], email, "lupita.example", "Rosa", "Itzep", "Quetzaltenango", "owner@elsewhere.example", "crm-" + phone}
	require.NotEmpty(t, s.traces(needles...))
	var before object
	s.call("GET", "/crm/businesses/"+id, nil, &before, 200)
	facts := s.count(`SELECT count(*) FROM facts`)

	s.call("DELETE", "/crm/businesses/"+id+"?reason=asked+by+letter", nil, nil, 204)
	require.Empty(t, s.traces(needles...))
	var after object
	s.call("GET", "/crm/businesses/"+id, nil, &after, 200)
	for _, axis := range []string{"contact_status", "website_status", "subscription_status", "ticket_status", "country", "created_at"} {
		require.Equal(t, before[axis], after[axis], axis)
	}
	require.Equal(t, facts, s.count(`SELECT count(*) FROM facts`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM payments WHERE amount_in_cents = 50000`))
	drift, err := pgstore.Verify(t.Context(), s.db.Pool, pgstore.VerifyOptions{})
	require.NoError(t, err)
	require.Zero(t, drift.Drifted)
	broken, err := pgstore.CheckInvariants(t.Context(), s.db.Pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, v := range broken {
		require.Zero(t, v.Count, v)
	}
	require.NotEmpty(t, s.traces("I stay", keptPhone), "others are left alone")

	// Imported again with the same number, it is not written to: the campaign passes it over, and says why.
	var back object
	s.call("POST", "/crm/businesses", object{"name": "B", "phone": phone}, &back, 201)
	calls := len(s.sim.Calls())
	s.awaitCampaign(s.campaign("sms", back.str("id")), "sent")
	require.Len(t, s.sim.Calls(), calls)
	require.Zero(t, s.count(`SELECT count(*) FROM messages m JOIN businesses b ON b.id = m.business_id WHERE b.public_id = $1::text::uuid AND m.state <> 'canceled'`, back.str("id")))
}

// Every receipt of a life is given to the workers again: not a fact, not a message, not a provider call comes of it.
func TestReplay_ofAWholeLifeChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id := s.life("Panadería Lupita", s.phone(), "rosa@lupita.example")
	state := func() []int {
		return []int{
			len(s.sim.Calls()), len(s.sim.Mails()), s.count(`SELECT count(*) FROM facts`), s.count(`SELECT count(*) FROM transitions`),
			s.count(`SELECT count(*) FROM messages`), s.count(`SELECT count(*) FROM payments`), s.count(`SELECT count(*) FROM suppressions`),
			s.count(`SELECT count(*) FROM inbound_messages`), s.count(`SELECT count(*) FROM river_job WHERE kind IN ('send', 'campaign_fan_out', 'reconcile_send')`),
		}
	}
	before, timeline := state(), s.transitions(id, "")

	replayer, err := worker.NewReplayer(worker.ReplayOptions{Pool: s.db.Pool, RecurrenteLive: true})
	require.NoError(t, err)
	receipts, err := pgstore.ReceiptsAfter(t.Context(), s.db.Pool, pgstore.ReceiptFilter{}, uuid.Nil, 1000)
	require.NoError(t, err)
	require.Greater(t, len(receipts), 5)
	for _, r := range receipts {
		would, err := replayer.DryRun(t.Context(), r.ID)
		require.NoError(t, err)
		require.True(t, would.Stands(), "%+v", would)
		if jobs.ForReceipt(r.Provider, r.Kind, "") != nil {
			s.call("POST", "/webhook-events/"+r.ID.String()+"/replay", nil, nil, 202)
		}
	}
	s.eventually("every job has run", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE state NOT IN ('completed', 'cancelled', 'discarded') AND args ? 'receipt_id'`) == 0
	})
	require.Equal(t, before, state())
	require.Equal(t, len(timeline), len(s.transitions(id, "")))
}

// One call answers why a contact is where it is: the transition, its job, the raw request; or the operator and the
// reason.
func TestTimeline_answersWhy(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "STOP"))
	s.awaitStatus(id, "contact_status", "unsubscribed")
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "operator_reopened", "note": "asked to by phone"}, nil, 202)

	var stopped object
	s.eventually("the job is done", func() bool {
		stopped = s.transitions(id, "opted_out")[0]
		job, _ := stopped["job"].(map[string]any)
		return job["state"] == "completed"
	})
	job, receipt := stopped["job"].(map[string]any), stopped["receipt"].(map[string]any)
	require.Equal(t, []any{"reply", 1.0, stopped["job_id"]}, []any{job["kind"], job["attempt"], job["id"]})
	require.Equal(t, []any{"twilio", "inbound_message", "applied", stopped["receipt_id"]}, []any{receipt["provider"], receipt["kind"], receipt["outcome"], receipt["id"]})
	var raw object
	s.call("GET", "/webhook-events/"+receipt["id"].(string), nil, &raw, 200)
	form, err := url.ParseQuery(raw.str("body"))
	require.NoError(t, err)
	require.Equal(t, []string{phone, "STOP"}, []string{form.Get("From"), form.Get("Body")})

	sent := s.transitions(id, "sms_sent")[0]
	require.Equal(t, "send", sent["job"].(map[string]any)["kind"])
	require.NotContains(t, sent, "receipt")
	reopened := s.transitions(id, "operator_reopened")[0]
	require.Equal(t, []any{"test", "asked to by phone"}, []any{reopened["source"].(map[string]any)["id"], reopened["note"]})
	require.NotContains(t, reopened, "job")
}

// A text whose callbacks are lost is looked up by the fleet's periodic job, and counted.
func TestPoll_ofALostCallback(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) {
		o.Tune = func(w *worker.Options) {
			w.PollAfter = []time.Duration{time.Millisecond, time.Hour}
		}
	}, nil)
	id, _, _ := s.business(providersim.MagicNoCallbacks)
	campaign := s.campaign("sms", id)
	s.awaitMessage(campaign, id, "accepted")
	require.NoError(t, s.sim.Drain(t.Context()))
	client, err := river.NewClient(riverpgxv5.New(s.db.Pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = client.Insert(t.Context(), jobs.PollMessagesArgs{}, nil)
	require.NoError(t, err)
	s.awaitMessage(campaign, id, "delivered")
	confirmed := s.transitions(id, "sms_delivered")
	require.Len(t, confirmed, 1)
	require.Equal(t, "system", confirmed[0]["source"].(map[string]any)["type"])
	var timeline page
	s.call("GET", "/crm/businesses/"+id+"/timeline", nil, &timeline, 200)
	asked := 0
	for _, i := range timeline.Items {
		if job, ok := i["job"].(map[string]any); ok && i.str("event") == "sms_delivered" && job["kind"] == "poll_messages" {
			asked++
		}
	}
	require.Equal(t, 1, asked, "the job that asked is shown")
}
