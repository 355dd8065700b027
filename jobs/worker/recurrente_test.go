package worker

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestParseRecurrente(t *testing.T) {
	t.Parallel()
	received := time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC)
	site := uuid.MustParse("01930000-0000-7000-8000-000000000001")
	for _, c := range []struct {
		name, body           string
		charge, subscription string
		site                 uuid.UUID
		at                   time.Time
		sandbox              bool
	}{
		{
			name: "unified charge",
			body: `{"id":"in_1","event_type":"intent.succeeded","type":"payment","created_at":"2026-10-02T17:05:21.535-06:00","amount_in_cents":500,
				"currency":"GTQ","checkout":{"id":"ch_1","latest_intent":{"id":"in_1"},"payment":{"id":"pa_1"},"metadata":{"site_id":"01930000-0000-7000-8000-000000000001"}},
				"payment":{"id":"pa_1","paymentable":{"type":"Subscription","id":"su_1"}}}`,
			charge: "in_1", subscription: "su_1", site: site, at: time.Date(2026, 10, 2, 23, 5, 21, 535e6, time.UTC),
		},
		{
			name: "its legacy twin",
			body: `{"id":"pa_2","event_type":"payment_intent.succeeded","created_at":"2026-10-02T17:05:21.535-06:00","amount_in_cents":500,
				"currency":"GTQ","checkout":{"id":"ch_1","latest_intent":{"id":"in_1"},"payment":{"id":"pa_1"},"metadata":{}},"payment":{"id":"pa_1"}}`,
			charge: "in_1", at: time.Date(2026, 10, 2, 23, 5, 21, 535e6, time.UTC),
		},
		{
			name:   "older charge, paid by a subscription that only the checkout names",
			body:   `{"id":"x","event_type":"payment_intent.succeeded","checkout":{"id":"ch_2","payment":{"id":"pa_2","paymentable":{"type":"Subscription","id":"su_2"}}}}`,
			charge: "ch_2", subscription: "su_2", at: received,
		},
		{
			name:   "wrapped in data",
			body:   `{"event_type":"payment_intent.succeeded","created_at":"2025-03-15T14:32:00Z","data":{"id":"pi_1","amount":15000,"currency":"GTQ","checkout_id":"ch_3","metadata":{}}}`,
			charge: "ch_3", at: time.Date(2025, 3, 15, 14, 32, 0, 0, time.UTC),
		},
		{
			name:         "subscription",
			body:         `{"created_at":"2025-10-13T13:59:27.931Z","event_type":"subscription.cancel","id":"su_123","payment":{"id":"pa_123","paymentable":{"id":"su_123","type":"Subscription"}}}`,
			charge:       "pa_123",
			subscription: "su_123", at: time.Date(2025, 10, 13, 13, 59, 27, 931e6, time.UTC),
		},
		{
			name:         "subscription that names itself alone",
			body:         `{"event_type":"subscription.create","id":"su_9"}`,
			charge:       "su_9",
			subscription: "su_9", at: received,
		},
		{
			name:   "sandbox, and a time that can't be",
			body:   `{"id":"in_1","event_type":"intent.succeeded","live_mode":false,"created_at":"2099-01-01T00:00:00Z"}`,
			charge: "in_1", at: received, sandbox: true,
		},
		{
			name:   "one payment, not a subscription",
			body:   `{"id":"ba_1","event_type":"bank_transfer_intent.succeeded","sandbox_id":"sbx","payment":{"id":"pa_1","paymentable":{"type":"OneTimePayment","id":"on_1"}},"checkout":{"metadata":{"site_id":17}}}`,
			charge: "pa_1", at: received, sandbox: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e, err := parseRecurrente([]byte(c.body))
			require.NoError(t, err)
			require.Equal(t, c.charge, e.chargeKey())
			require.Equal(t, c.subscription, e.subscriptionID())
			require.Equal(t, c.site, e.siteID())
			require.True(t, c.at.Equal(e.at(received)), e.at(received))
			require.Equal(t, c.sandbox, e.sandbox())
		})
	}
}

func FuzzParseRecurrente(f *testing.F) {
	f.Add([]byte(`{"event_type":"intent.succeeded","checkout":{"id":"ch_1"},"data":{"id":"x"}}`))
	f.Add([]byte(`{"event_type":"intent.succeeded","checkout":null,"payment":[],"amount_in_cents":"1"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseRecurrente(body)
		if err != nil {
			return
		}
		received := time.Unix(1_800_000_000, 0)
		if e.at(received).After(received.Add(clockSkew)) {
			t.Fatal("a fact from the future")
		}
		if k := cleanKey(e.chargeKey()); len(k) > maxKey {
			t.Fatalf("key of %d bytes", len(k))
		}
		e.siteID()
		e.subscriptionID()
	})
}
