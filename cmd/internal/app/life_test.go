package app_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

// The life of a lead, over HTTP only: one test for each way that a status can take.

func TestLife_emailCampaign(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, email := s.business("")
	campaign := s.campaign("email", id)
	s.awaitStatus(id, "contact_status", "emailed")
	m := s.awaitMessage(campaign, id, "delivered") // the mail provider's event, matched by our header
	require.Equal(t, email, m.str("to"))
	s.awaitCampaign(campaign, "sent")
	mails := s.sim.Mails()
	require.Len(t, mails, 1)
	h := mails[0].Header
	require.Contains(t, h.Get("List-Unsubscribe"), publicURL+"/u/")
	require.Equal(t, "List-Unsubscribe=One-Click", h.Get("List-Unsubscribe-Post"))
	require.NotEmpty(t, mails[0].MessageID())
}

func TestLife_smsCampaign(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	// Handed over, and no callback comes: sent is what we know.
	silent, _, _ := s.business(providersim.MagicNoCallbacks)
	campaign := s.campaign("sms", silent)
	s.awaitStatus(silent, "contact_status", "sms_sent")
	m := s.awaitMessage(campaign, silent, "accepted")
	require.NotEmpty(t, m.str("provider_sid"))

	// Delivered confirms: the message moves on, the contact stays.
	heard, _, _ := s.business("")
	campaign = s.campaign("sms", heard)
	m = s.awaitMessage(campaign, heard, "delivered")
	require.NotEmpty(t, m.str("delivered_at"))
	s.awaitStatus(heard, "contact_status", "sms_sent")
	s.eventually("delivery is in the timeline", func() bool { return len(s.transitions(heard, "sms_delivered")) == 1 })
	require.Equal(t, "no_change", s.transitions(heard, "sms_delivered")[0].str("verdict"))
	c := s.awaitCampaign(campaign, "sent")
	counters, _ := c["counters"].(map[string]any)
	require.InDelta(t, 1, counters["delivered"], 0)
}

func TestLife_failedAndUndeliveredBounce(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for number, state := range map[string]string{providersim.MagicFailed: "failed", providersim.MagicUnreachable: "undelivered"} {
		id, _, _ := s.business(number)
		campaign := s.campaign("sms", id)
		m := s.awaitMessage(campaign, id, state)
		require.NotEmpty(t, m.str("error_code"))
		s.awaitStatus(id, "contact_status", "bounced")
	}
	// Refused at the door: no message ever went out.
	id, _, _ := s.business(providersim.MagicInvalid)
	m := s.awaitMessage(s.campaign("sms", id), id, "failed")
	require.Equal(t, "21211", m.str("error_code"))
	s.awaitStatus(id, "contact_status", "bounced")
	require.Empty(t, s.transitions(id, "sms_sent"))
}

func TestLife_reply(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	_, err := s.sim.Reply(t.Context(), phone, from, "Looks great!", nil)
	require.NoError(t, err)
	s.awaitStatus(id, "contact_status", "replied")
	got := s.transitions(id, "reply_received")
	require.Len(t, got, 1)
	require.Equal(t, "sms_sent", got[0].str("from"))
	source, _ := got[0]["source"].(map[string]any)
	require.Equal(t, "webhook", source["type"])
	var receipt object
	s.call("GET", "/webhook-events/"+source["id"].(string), nil, &receipt, 200)
	require.Equal(t, "inbound_message", receipt.str("kind"))
	require.Equal(t, "applied", receipt.str("outcome"))
}

func TestLife_everyStopWordUnsubscribes(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	words := []string{
		"STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT", "OPT OUT", "OPT-OUT",
		"ALTO", "PARAR", "BAJA", "CANCELAR", "SALIR", "stop", " Stop. ",
	}
	ids := make([]string, len(words))
	phones := map[string]bool{}
	for i, w := range words {
		id, phone, _ := s.business("")
		ids[i], phones[phone] = id, true
		require.Equal(t, 200, s.reply(newSID("SM"), phone, w), w)
	}
	for i, w := range words {
		s.awaitStatus(ids[i], "contact_status", "unsubscribed")
		require.Len(t, s.transitions(ids[i], "opted_out"), 1, w)
	}
	// Terminal: a later reply is remembered, and nothing more.
	stopped := ids[0]
	var b object
	s.call("GET", "/crm/businesses/"+stopped, nil, &b, 200)
	require.Equal(t, 200, s.reply(newSID("SM"), b.str("phone"), "on second thoughts"))
	s.eventually("the reply is in the timeline", func() bool { return len(s.transitions(stopped, "reply_received")) == 1 })
	require.Equal(t, "blocked", s.transitions(stopped, "reply_received")[0].str("verdict"))
	s.awaitStatus(stopped, "contact_status", "unsubscribed")
	// And no further send, by text or by mail.
	for _, channel := range []string{"sms", "email"} {
		c := s.awaitCampaign(s.campaign(channel, ids...), "sent")
		counters, _ := c["counters"].(map[string]any)
		for state, n := range counters {
			require.InDelta(t, 0, n, 0, state)
		}
		skipped, _ := c["skipped"].(map[string]any)
		require.InDelta(t, len(ids), skipped["suppressed"].(float64)+skipped["unsubscribed"].(float64), 0)
	}
	for _, call := range s.sim.Calls() {
		require.False(t, phones[call.To], "a text after STOP")
	}
	require.Empty(t, s.sim.Mails())
}

func TestLife_startLiftsTheSuppressionAlone(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "STOP"))
	s.awaitStatus(id, "contact_status", "unsubscribed")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "YES"))
	s.eventually("START is in the timeline", func() bool { return len(s.transitions(id, "opted_in")) == 1 })
	s.awaitStatus(id, "contact_status", "unsubscribed")
	require.Zero(t, s.count(`SELECT count(*) FROM suppressions WHERE lifted_at IS NULL`))
	// An operator reopens the contact, and says why.
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "operator_reopened"}, nil, 422)
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "operator_reopened", "note": "asked for it by phone"}, nil, 202)
	s.awaitStatus(id, "contact_status", "pending")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
}

func TestLife_yesIsAReplyWhereNothingIsToLift(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Yes"))
	s.awaitStatus(id, "contact_status", "replied")
}

func TestLife_purchase(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	site := s.site(id, "")
	_, charge, err := s.sim.Charge(providersim.Charge{SiteID: site, SubscriptionID: "su_1", AmountInCents: 25000, Currency: "GTQ"})
	require.NoError(t, err)
	s.awaitStatus(id, "contact_status", "purchased")
	s.awaitStatus(id, "website_status", "sold")
	require.NoError(t, s.sim.Drain(t.Context()))
	s.awaitApplied()
	// Unified and legacy are one purchase and one payment.
	require.Len(t, s.transitions(id, "purchase_completed"), 3) // contact, website and the site itself
	require.Equal(t, 1, s.count(`SELECT count(*) FROM payments WHERE charge_key = $1 AND amount_in_cents = 25000`, charge.IntentID))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM payments`))
	var st object
	s.call("GET", "/crm/sites/"+site, nil, &st, 200)
	require.Equal(t, "owned", st.str("status"))
	require.Equal(t, "su_1", st.str("subscription_id"))
}

func TestLife_subscription(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	site := s.site(id, "su_1")
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "site_deployed", "site_id": site}, nil, 202)
	at := time.Now()
	for i, step := range []struct{ kind, subscription, website string }{
		{"create", "active", "deployed"},
		{"past_due", "past_due", "deployed"},
		{"paused", "paused", "deployed"},
		{"unpause", "active", "deployed"},
		{"canceled", "cancelled", "archived"},
		{"reactivate", "active", "sold"},
		{"cancel", "cancelled", "archived"},
	} {
		_, err := s.sim.SubscriptionEvent(step.kind, providersim.Subscription{ID: "su_1", At: at.Add(time.Duration(i) * time.Second)})
		require.NoError(t, err)
		s.awaitStatus(id, "subscription_status", step.subscription)
		s.awaitStatus(id, "website_status", step.website)
	}
	var st object
	s.call("GET", "/crm/sites/"+site, nil, &st, 200)
	require.Equal(t, "cancelled", st.str("subscription_status"))
}

func TestLife_sandboxIsStoredAndNotApplied(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	site := s.site(id, "")
	_, _, err := s.sim.Charge(providersim.Charge{SiteID: site, Sandbox: true})
	require.NoError(t, err)
	require.NoError(t, s.sim.Drain(t.Context()))
	s.awaitApplied()
	require.Equal(t, 2, s.count(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'ignored' AND detail LIKE 'sandbox%'`))
	s.awaitStatus(id, "contact_status", "pending")
}

// A callback that comes before the provider's answer was stored finds its message by our own id, and is the evidence
// that settles it.
func TestLife_callbackBeforeTheSIDIsStored(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business(providersim.MagicHangOut) // goes out; the answer never comes
	m := s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.NotEmpty(t, m.str("provider_sid"))
	require.InDelta(t, 1, m["attempt"], 0)
	s.awaitStatus(id, "contact_status", "sms_sent")
	require.Len(t, s.sim.Calls(), 1)
}

// Even a callback that names the message by its SID alone, before we know the SID, is not lost: it waits unmatched,
// and is applied as soon as the SID is stored.
func TestLife_callbackThatKnowsTheSIDAlone(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business(providersim.MagicNoCallbacks)
	sid := newSID("SM")
	require.Equal(t, 204, s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {sid}, "MessageStatus": {"delivered"}, "AccountSid": {account}}))
	s.eventually("it is visible as unmatched", func() bool {
		var p page
		s.call("GET", "/webhook-events?outcome=unmatched", nil, &p, 200)
		return len(p.Items) == 1
	})
	m := s.awaitMessage(s.campaign("sms", id), id, "accepted")
	// The provider's sid of the message is what the callback spoke of.
	_, err := s.db.Pool.Exec(t.Context(), `UPDATE messages SET provider_sid = $1 WHERE public_id = $2`, sid, m.str("id"))
	require.NoError(t, err)
	m = s.awaitMessage(m.str("campaign_id"), id, "delivered")
	require.Equal(t, sid, m.str("provider_sid"))
}

func TestLife_eventWithoutAKnownBusiness(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	phone := s.phone()
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Who is this?"))
	require.Equal(t, 204, s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {newSID("SM")}, "MessageStatus": {"sent"}}))
	require.Equal(t, 200, s.recurrente("msg_1", object{"event_type": "subscription.create", "id": "su_unknown", "created_at": "2026-10-13T13:59:27.931Z"}))
	require.Equal(t, 200, s.recurrente("msg_2", object{"event_type": "something.new", "id": "x"}))
	require.Equal(t, 204, s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {newSID("SM")}, "MessageStatus": {"levitating"}}))
	s.awaitApplied()
	require.Equal(t, 3, s.count(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'unmatched'`))
	require.Equal(t, 2, s.count(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'ignored'`))
	require.Zero(t, s.count(`SELECT count(*) FROM river_job WHERE errors IS NOT NULL`))

	// Who or what was missing turns up: the receipts are applied without anybody's doing.
	id, _, _ := s.business(phone)
	s.awaitStatus(id, "contact_status", "replied")
	other, _, _ := s.business("")
	s.site(other, "su_unknown")
	s.awaitStatus(other, "subscription_status", "active")
}

// TestLife_everythingTwice delivers each kind of webhook twice, by the same delivery and by one with another id, and
// finds nothing changed by the second.
func TestLife_everythingTwice(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(o *providersim.Options) { o.Faults.DuplicateCallback = 1 })
	id, phone, _ := s.business("")
	site := s.site(id, "")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	reply := newSID("SM")
	charge := object{
		"id": "in_1", "event_type": "intent.succeeded", "created_at": time.Now().Format(time.RFC3339Nano), "amount_in_cents": 500, "currency": "GTQ",
		"checkout": object{"id": "ch_1", "latest_intent": object{"id": "in_1"}, "metadata": object{"site_id": site}},
		"payment":  object{"id": "pa_1", "paymentable": object{"type": "Subscription", "id": "su_1"}},
	}
	created := object{"event_type": "subscription.create", "id": "su_1", "created_at": time.Now().Format(time.RFC3339Nano)}
	cancelled := object{"event_type": "subscription.cancel", "id": "su_1", "created_at": time.Now().Add(time.Second).Format(time.RFC3339Nano)}
	deliver := func(suffix string) {
		require.Equal(t, 200, s.reply(reply, phone, "Great"))
		require.Equal(t, 200, s.recurrente("msg_charge"+suffix, charge))
		require.Equal(t, 200, s.recurrente("msg_created"+suffix, created))
		require.Equal(t, 200, s.recurrente("msg_cancelled"+suffix, cancelled))
	}
	deliver("")
	s.awaitStatus(id, "contact_status", "purchased")
	s.awaitStatus(id, "subscription_status", "cancelled")
	s.awaitStatus(id, "website_status", "archived")
	require.NoError(t, s.sim.Drain(t.Context()))
	s.awaitApplied()
	withoutJobs := func() []object {
		list := s.transitions(id, "")
		for _, i := range list {
			delete(i, "job") // which may still be on its way to completed
		}
		return list
	}
	before := withoutJobs()
	facts := s.count(`SELECT count(*) FROM facts`)
	deliver("")       // the same deliveries
	deliver("_again") // the same events under other ids
	s.awaitApplied()
	require.Equal(t, before, withoutJobs())
	require.Equal(t, facts, s.count(`SELECT count(*) FROM facts`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM payments`))
	// sms_sent, sms_delivered, reply, purchase, create, cancel: each once.
	require.Equal(t, 6, facts)
}
