package crmapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/lifecycle/pgstore/analytics"
	"onward/web/apitoken"
)

// story has a campaign write to three: the first buys, and is past due; the second clicks; the third is never heard of.
func (b *bundle) story() (campaign string, businesses []string) {
	b.t.Helper()
	ctx := b.t.Context()
	start := time.Date(2026, 10, 7, 12, 7, 0, 0, time.UTC) // a Wednesday
	var id int64
	campaign = uuid.Must(uuid.NewV7()).String()
	require.NoError(b.t, b.pool.QueryRow(ctx, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status, launched_at)
		VALUES ($1, 'Autumn', 'sms', '', '{}', 'sent', $2) RETURNING id`, campaign, start).Scan(&id))
	for i := range 3 {
		public := uuid.Must(uuid.NewV7()).String()
		businesses = append(businesses, public)
		var business, message int64
		require.NoError(b.t, b.pool.QueryRow(ctx, `INSERT INTO businesses (public_id, name, country) VALUES ($1, $2, 'GT') RETURNING id`,
			public, fmt.Sprintf("B%d", i)).Scan(&business))
		require.NoError(b.t, b.pool.QueryRow(ctx, `
			INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body, price, price_unit)
			VALUES ($1, $2, $3, 'sms', 'x', '', -0.05, 'USD') RETURNING id`, uuid.Must(uuid.NewV7()), id, business).Scan(&message))
		events := []lifecycle.Event{lifecycle.SMSSentEvent, lifecycle.SMSDelivered}
		switch i {
		case 0:
			events = append(events, lifecycle.LinkClicked, lifecycle.ReplyReceived, lifecycle.PurchaseCompleted, lifecycle.SubscriptionActivated, lifecycle.SubscriptionPastDue)
			_, err := b.pool.Exec(ctx, `
				INSERT INTO payments (business_id, amount_in_cents, refunded_in_cents, currency, charge_key, paid_at)
				VALUES ($1, 5000, 500, 'GTQ', 'a', $2), ($1, 700, 0, 'USD', 'b', $3)`, business, start.Add(5*time.Hour), start.Add(40*24*time.Hour))
			require.NoError(b.t, err)
		case 1:
			events = append(events, lifecycle.LinkClicked)
		}
		for k, e := range events {
			f := pgstore.Fact{
				BusinessID: business, Event: e, OccurredAt: start.Add(time.Duration(k) * time.Hour), Source: pgstore.SourceSystem,
				Key: fmt.Sprintf("%d:%d", business, k),
			}
			if k < 3 {
				f.MessageID = message
			}
			require.NoError(b.t, pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
				_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{f})
				return err
			}))
		}
	}
	done, err := analytics.Advance(ctx, b.pool, analytics.AdvanceOptions{Patience: time.Minute})
	require.NoError(b.t, err)
	require.True(b.t, done.Arrived)
	return campaign, businesses
}

func (b *bundle) analytics(path string, status int) reply {
	b.t.Helper()
	r := b.send(apitoken.Viewer, http.MethodGet, "/analytics/"+path, nil)
	require.Equal(b.t, status, r.status, r.raw)
	return r
}

func TestFunnel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Nil(t, b.analytics("funnel", http.StatusOK).body["as_of"], "nothing is counted yet")
	campaign, _ := b.story()
	r := b.analytics("funnel", http.StatusOK)
	require.NotNil(t, r.body["as_of"])
	require.Nil(t, r.body["next_cursor"])
	require.Len(t, r.items(), 7)
	for i, want := range []obj{
		{"stage": "contacted", "businesses": 3., "from_previous": nil, "from_first": 1.},
		{"stage": "delivered", "businesses": 3., "from_previous": 1., "from_first": 1.},
		{"stage": "opened", "businesses": 2., "from_previous": 2. / 3, "from_first": 2. / 3},
		{"stage": "clicked", "businesses": 2., "from_previous": 1., "from_first": 2. / 3},
		{"stage": "replied", "businesses": 1., "from_previous": .5, "from_first": 1. / 3},
		{"stage": "purchased", "businesses": 1., "from_previous": 1., "from_first": 1. / 3},
		{"stage": "active", "businesses": 0., "from_previous": 0., "from_first": 0.},
	} {
		require.Equal(t, want, r.body["total"].([]any)[i])
		for _, k := range []string{"channel", "country", "campaign", "campaign_id"} {
			want[k] = nil
		}
		want["week"] = "2026-10-05T00:00:00Z"
		require.Equal(t, want, r.items()[i])
	}
	require.Equal(t, "2026-10-05T00:00:00-06:00", b.analytics("funnel?timezone=America/Guatemala", http.StatusOK).items()[0].(obj)["week"])
	first := b.analytics("funnel?by=campaign&channel=sms&country=GT&campaign_id="+campaign, http.StatusOK).items()[0].(obj)
	require.Equal(t, []any{"Autumn", campaign, nil}, []any{first["campaign"], first["campaign_id"], first["week"]})
	require.Empty(t, b.analytics("funnel?by=country&after=2026-10-07T12:15:00Z", http.StatusOK).items())
	for query, place := range map[string]string{
		"timezone=Nowhere/Else":           "query.timezone",
		"timezone=Local":                  "query.timezone",
		"after=2026-10-07T12:07:00Z":      "query.after",
		"campaign_id=" + uuid.NewString(): "query.campaign_id",
		"by=moon":                         "query.by",
		"country=Guatemala":               "query.country",
	} {
		require.Equal(t, []string{place}, b.analytics("funnel?"+query, http.StatusUnprocessableEntity).locations(), query)
	}
}

func TestCampaignResults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	campaign, _ := b.story()
	r := b.analytics("campaigns", http.StatusOK)
	require.Equal(t, []any{obj{
		"campaign_id": campaign, "campaign": "Autumn", "channel": "sms", "status": "sent", "launched_at": "2026-10-07T12:07:00Z",
		"sent": 3., "delivered": 3., "opened": 0., "clicked": 2., "replied": 1., "opted_out": 0., "failed": 0., "purchased": 1.,
		"cost": "0.15", "cost_currency": "USD", "cost_per_reply": "0.15", "cost_per_purchase": "0.15",
		"costs": []any{obj{"currency": "USD", "amount": "0.15", "per_reply": "0.15", "per_purchase": "0.15"}},
	}}, r.items())
	require.Empty(t, b.analytics("campaigns?channel=email", http.StatusOK).items())
	b.analytics("campaigns?window_days=366", http.StatusUnprocessableEntity)
	b.analytics("campaigns?model=middle", http.StatusUnprocessableEntity)
}

func TestRevenue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	campaign, _ := b.story()
	r := b.analytics("revenue", http.StatusOK)
	gtq := obj{"currency": "GTQ", "payments": 1., "gross_in_cents": 5000., "refunded_in_cents": 500., "net_in_cents": 4500.}
	usd := obj{"currency": "USD", "payments": 1., "gross_in_cents": 700., "refunded_in_cents": 0., "net_in_cents": 700.}
	require.Equal(t, []any{gtq, usd}, r.body["totals"])
	items := r.items()
	require.Len(t, items, 2)
	require.Equal(t, []any{true, campaign, "GTQ", 4500.}, pick(items[0], "attributed", "campaign_id", "currency", "net_in_cents"))
	require.Equal(t, []any{false, nil, "USD", 700.}, pick(items[1], "attributed", "campaign_id", "currency", "net_in_cents"), "40 days after")
	items = b.analytics("revenue?window_days=41&model=first&by=week&timezone=Asia/Kathmandu", http.StatusOK).items()
	require.Equal(t, []any{true, nil, "USD", "2026-11-16T00:00:00+05:45"}, pick(items[1], "attributed", "campaign_id", "currency", "week"))
	require.Equal(t, []any{true, "sms"}, pick(b.analytics("revenue?by=channel", http.StatusOK).items()[0], "attributed", "channel"))
	require.Empty(t, b.analytics("revenue?after=2027-01-01T00:00:00Z", http.StatusOK).items())
}

func TestAtRisk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, businesses := b.story()
	r := b.analytics("at-risk?silent_days=1", http.StatusOK)
	require.Len(t, r.items(), 1)
	require.Equal(t, []any{businesses[0], "past_due", 17., "2026-10-07T16:07:00Z"}, pick(r.items()[0], "business_id", "subscription_status", "severity", "since"))
	require.Equal(t, []any{
		obj{"reason": "past_due", "since": "2026-10-07T18:07:00Z"},
		obj{"reason": "silent", "since": "2026-10-07T16:07:00Z"},
	}, r.items()[0].(obj)["reasons"])
	require.Equal(t, obj{
		"customers": 1., "at_risk": 1.,
		"by_reason": obj{"past_due": 1., "failed_charges": 0., "open_ticket": 0., "paused": 0., "silent": 1.},
	}, r.body["summary"])
	require.Empty(t, b.analytics("at-risk?reason=open_ticket,paused", http.StatusOK).items())
	require.Equal(t, []string{"query.reason"}, b.analytics("at-risk?reason="+url.QueryEscape("bad luck"), http.StatusUnprocessableEntity).locations())

	b.exec(`
		INSERT INTO analytics_customers (business_id, purchased_at, alive_at, past_due_at, failed_charges)
		SELECT b.id, c.purchased_at, c.alive_at, c.past_due_at, 0
		FROM analytics_customers c, businesses b
		WHERE b.name = 'B1'`)
	first := b.analytics("at-risk?limit=1", http.StatusOK)
	require.NotNil(t, first.body["next_cursor"])
	again := b.send(apitoken.Viewer, http.MethodGet, "/analytics/at-risk?limit=1", nil, "If-None-Match", first.header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.status, "the same facts, the same answer")
}

func TestAnalytics_asCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	campaign, businesses := b.story()
	for path, want := range map[string]string{
		"funnel?format=csv&by=country": "week,channel,campaign_id,campaign,country,stage,businesses,from_previous,from_first\n,,,,GT,contacted,3,,1\n,,,,GT,delivered,3,1,1\n",
		"campaigns?format=csv": "campaign_id,campaign,channel,status,launched_at,sent,delivered,opened,clicked,replied,opted_out,failed,purchased," +
			"cost,cost_currency,cost_per_reply,cost_per_purchase,costs\n" + campaign + ",Autumn,sms,sent,2026-10-07T12:07:00Z,3,3,0,2,1,0,0,1,0.15,USD,0.15,0.15,",
		"revenue?format=csv": "attributed,campaign_id,campaign,channel,week,currency,payments,gross_in_cents,refunded_in_cents,net_in_cents\n" +
			"true," + campaign + ",Autumn,,,GTQ,1,5000,500,4500\nfalse,,,,,USD,1,700,0,700\n",
		"at-risk?format=csv&silent_days=3650": "business_id,name,country,contact_status,subscription_status,ticket_status,purchased_at,severity,since,reasons\n" +
			businesses[0] + ",B0,GT,purchased,past_due,none,2026-10-07T16:07:00Z,16,2026-10-07T18:07:00Z,",
	} {
		r := b.analytics(path, http.StatusOK)
		require.Contains(t, r.header.Get("Content-Type"), "text/csv")
		require.True(t, strings.HasPrefix(r.raw, want), "%s:\n%s\nwant\n%s", path, r.raw, want)
	}
}

func pick(item any, members ...string) (values []any) {
	for _, m := range members {
		values = append(values, item.(obj)[m])
	}
	return values
}
