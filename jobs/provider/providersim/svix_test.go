package providersim_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

// verify checks a delivery as Onward will, and decodes it.
func (r request) verify(t *testing.T, prefix string) map[string]any {
	t.Helper()
	seconds, err := strconv.ParseInt(r.header.Get(prefix+"-Timestamp"), 10, 64)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), time.Unix(seconds, 0), time.Minute)
	want, err := providersim.SignSvix(secret, r.header.Get(prefix+"-Id"), time.Unix(seconds, 0), r.body)
	require.NoError(t, err)
	require.Equal(t, want, r.header.Get(prefix+"-Signature"))
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	var body map[string]any
	require.NoError(t, json.Unmarshal(r.body, &body))
	return body
}

// at follows a path of keys.
func at(t *testing.T, body map[string]any, path string) any {
	t.Helper()
	var value any = body
	for key := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		require.True(t, ok, path)
		value = object[key]
	}
	return value
}

func TestSubscriptionEvent(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	id, err := b.sim.SubscriptionEvent("cancel", providersim.Subscription{ID: "su_1", SiteID: "site-1"})
	require.NoError(t, err)
	_, err = b.sim.WaitDelivered(t.Context(), id)
	require.NoError(t, err)
	got := b.onward.got()
	require.Len(t, got, 1)
	require.Equal(t, "/webhooks/recurrente", got[0].path)
	require.Equal(t, id, got[0].header.Get("Svix-Id"))
	body := got[0].verify(t, "Svix")
	require.Equal(t, "subscription.cancel", body["event_type"])
	require.Equal(t, "su_1", body["id"])
	require.Equal(t, "su_1", at(t, body, "payment.paymentable.id"))
	require.Equal(t, "Subscription", at(t, body, "payment.paymentable.type"))
	require.NotContains(t, body, "sandbox_id")
}

func TestChargeArrivesTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	ids, charge, err := b.sim.Charge(providersim.Charge{SubscriptionID: "su_1", SiteID: "site-1", AmountInCents: 19900})
	require.NoError(t, err)
	require.NotEqual(t, ids[0], ids[1])
	b.drain(t)
	bodies := map[string]map[string]any{}
	for _, r := range b.onward.got() {
		bodies[r.header.Get("Svix-Id")] = r.verify(t, "Svix")
	}
	require.Len(t, bodies, 2)
	unified, legacy := bodies[ids[0]], bodies[ids[1]]
	require.Equal(t, "intent.succeeded", unified["event_type"])
	require.Equal(t, "payment_intent.succeeded", legacy["event_type"])
	require.Equal(t, charge.IntentID, unified["id"])
	require.NotEqual(t, unified["id"], legacy["id"])
	for _, body := range bodies {
		for path, want := range map[string]any{
			"checkout.latest_intent.id": charge.IntentID, "checkout.id": charge.CheckoutID, "payment.id": charge.PaymentID,
			"payment.paymentable.id": "su_1", "checkout.metadata.site_id": "site-1",
			"amount_in_cents": float64(19900), "currency": "GTQ", "checkout.status": "paid",
		} {
			require.Equal(t, want, at(t, body, path), path)
		}
	}
}

func TestChargeVariants(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		charge          providersim.Charge
		unified, legacy string
	}{
		"failed":  {providersim.Charge{Failed: true}, "intent.failed", "payment_intent.failed"},
		"bank":    {providersim.Charge{Bank: true}, "intent.succeeded", "bank_transfer_intent.succeeded"},
		"sandbox": {providersim.Charge{Sandbox: true}, "intent.succeeded", "payment_intent.succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{}, nil)
			_, _, err := b.sim.Charge(tc.charge)
			require.NoError(t, err)
			b.drain(t)
			var events []string
			for _, r := range b.onward.got() {
				body := r.verify(t, "Svix")
				events = append(events, body["event_type"].(string))
				require.Equal(t, "OneTimePayment", at(t, body, "payment.paymentable.type"))
				require.Equal(t, tc.charge.Sandbox, body["sandbox_id"] != nil)
				require.Equal(t, !tc.charge.Sandbox, at(t, body, "checkout.live_mode"))
			}
			require.ElementsMatch(t, []string{tc.unified, tc.legacy}, events)
		})
	}
}

func TestCreatedAtHasBothZones(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	for i := range 20 {
		_, err := b.sim.SubscriptionEvent("update", providersim.Subscription{ID: "su_" + strconv.Itoa(i)})
		require.NoError(t, err)
	}
	b.drain(t)
	zones := map[string]bool{}
	for _, r := range b.onward.got() {
		created := r.verify(t, "Svix")["created_at"].(string)
		parsed, err := time.Parse(time.RFC3339, created)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), parsed, time.Minute)
		zones[regexp.MustCompile(`(Z|[+-]\d\d:\d\d)$`).FindString(created)] = true
	}
	require.Equal(t, map[string]bool{"Z": true, "-06:00": true}, zones)
}

func TestRefund(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	_, charge, err := b.sim.Charge(providersim.Charge{})
	require.NoError(t, err)
	b.drain(t)
	id, err := b.sim.Refund(charge, 100)
	require.NoError(t, err)
	_, err = b.sim.WaitDelivered(t.Context(), id)
	require.NoError(t, err)
	got := b.onward.got()
	body := got[len(got)-1].verify(t, "Svix")
	require.Equal(t, "refund.create", body["event_type"])
	require.Equal(t, charge.IntentID, at(t, body, "checkout.latest_intent.id"))
	require.Equal(t, float64(100), body["amount_in_cents"])
}

func TestSvixRetriesUntilTaken(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	b := setup(t, providersim.Options{SvixScale: 1e-6}, func(request) int {
		if calls.Add(1) < 4 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	id, err := b.sim.SubscriptionEvent("pause", providersim.Subscription{ID: "su_1"})
	require.NoError(t, err)
	d, err := b.sim.WaitDelivered(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 4, d.Attempt)
	got := b.onward.got()
	for _, r := range got {
		require.Equal(t, id, r.header.Get("Svix-Id"), "the id stays")
		r.verify(t, "Svix")
	}
	require.Equal(t, got[0].body, got[3].body)
}

func TestSvixGivesUpAfterItsSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{SvixScale: 1e-7}, func(request) int { return http.StatusUnauthorized })
	_, err := b.sim.EmailEvent("opened", providersim.EmailEvent{To: "ana@example.com"})
	require.NoError(t, err)
	b.drain(t)
	require.Len(t, b.onward.got(), 8, "one attempt and seven retries")
}

func TestStandardHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{StandardHeaders: true}, nil)
	_, err := b.sim.SubscriptionEvent("create", providersim.Subscription{ID: "su_1"})
	require.NoError(t, err)
	b.drain(t)
	b.onward.got()[0].verify(t, "Webhook")
	require.Empty(t, b.onward.got()[0].header.Get("Svix-Id"))
}

func TestEmailEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	event := providersim.EmailEvent{
		To: "ana@example.com", From: "hello@onward.example", Subject: "Hi", MessageID: "m1.1@onward.example",
		Headers: map[string]string{"X-Onward-Message": "m1; attempt=1"}, Link: "https://example.com", UserAgent: "Mozilla/5.0",
	}
	bodies := map[string]map[string]any{}
	for _, kind := range []string{"delivered", "email.bounced", "complained", "opened", "clicked"} {
		_, err := b.sim.EmailEvent(kind, event)
		require.NoError(t, err)
	}
	b.drain(t)
	for _, r := range b.onward.got() {
		require.Equal(t, "/webhooks/resend", r.path)
		body := r.verify(t, "Svix")
		bodies[body["type"].(string)] = body
		require.Equal(t, []any{"ana@example.com"}, at(t, body, "data.to"))
		require.Contains(t, at(t, body, "data.headers"), map[string]any{"name": "X-Onward-Message", "value": "m1; attempt=1"})
		require.Contains(t, at(t, body, "data.headers"), map[string]any{"name": "Message-ID", "value": "<m1.1@onward.example>"})
	}
	require.Len(t, bodies, 5)
	require.Equal(t, "Permanent", at(t, bodies["email.bounced"], "data.bounce.type"))
	require.Equal(t, "https://example.com", at(t, bodies["email.clicked"], "data.click.link"))
}

func TestNoSecretNoDelivery(t *testing.T) {
	t.Parallel()
	sim := start(t, providersim.Options{AccountSID: accountSID, AuthToken: authToken, PublicURL: "http://127.0.0.1:1"})
	_, err := sim.SubscriptionEvent("cancel", providersim.Subscription{ID: "su_1"})
	require.Error(t, err)
	_, err = sim.EmailEvent("opened", providersim.EmailEvent{})
	require.Error(t, err)
}
