package worker

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/lifecycle/pgstore/analytics"
)

// billed applies deliveries of the payment provider, each a receipt of its own, and returns the outcomes.
func (b *bundle) billed(kind string, bodies ...string) (outcomes []string) {
	b.Helper()
	for _, body := range bodies {
		id := uuid.Must(uuid.NewV7())
		_, err := b.pool.Exec(b.ctx, `
			INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
			VALUES ($1, 'recurrente', $2, '{}', $3, $4, now())`, id, kind, []byte(body), id.String())
		require.NoError(b, err)
		outcomes = append(outcomes, b.applyBill(kind, id))
	}
	return outcomes
}

func (b *bundle) applyBill(kind string, id uuid.UUID) (outcome string) {
	b.Helper()
	row, args := &rivertype.JobRow{ID: 1, Attempt: 1, MaxAttempts: 25}, jobs.ReceiptArgs{ReceiptID: id.String()}
	fn := b.a.funcFor(jobs.ProviderRecurrente, kind)
	require.NotNil(b, fn, kind)
	if err := b.a.apply(b.ctx, row, args, fn); err != nil {
		require.NotErrorIs(b, err, errNoReceipt)
	}
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT outcome FROM receipt_outcomes WHERE receipt_id = $1`, id).Scan(&outcome))
	return outcome
}

// soldSite inserts a business with a site.
func (b *bundle) soldSite() (business int64, site string) {
	b.Helper()
	_, business = b.message(0, jobs.ChannelSMS, "+12025550199")
	require.NoError(b, b.pool.QueryRow(b.ctx, `INSERT INTO sites (public_id, business_id) VALUES ($1, $2) RETURNING public_id::text`,
		uuid.Must(uuid.NewV7()), business).Scan(&site))
	return business, site
}

// charge is a delivery of the payment provider.
func charge(event, id, intent, amount, site, at string) string {
	return `{"id":"` + id + `","event_type":"` + event + `","created_at":"` + at + `","amount_in_cents":` + amount + `,"currency":"GTQ",
		"checkout":{"id":"ch_1","latest_intent":{"id":"` + intent + `"},"payment":{"id":"pa_1"},"metadata":{"site_id":"` + site + `"}},"payment":{"id":"pa_1"}}`
}

// Money that was given back is taken off once, whichever of payment and refund comes first.
func TestRefund(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, site := b.soldSite()
	at := "2026-10-02T12:00:00Z"
	first := charge("refund.create", "re_1", "in_1", "200", site, at)
	require.Equal(t, []string{"unmatched"}, b.billed("refund.create", first))
	require.Equal(t, []string{"applied", "no_change"}, b.billed("intent.succeeded",
		charge("intent.succeeded", "in_1", "in_1", "500", site, at), charge("payment_intent.succeeded", "pa_2", "in_1", "500", site, at)))
	// The payment gave the refund another run.
	var waiting uuid.UUID
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT (args ->> 'receipt_id')::uuid FROM river_job WHERE kind = 'refund'`).Scan(&waiting))
	require.Equal(t, "applied", b.applyBill("refund.create", waiting))
	require.Equal(t, []string{"no_change", "applied"}, b.billed("refund.create", first, charge("refund.create", "re_2", "in_1", "100", site, at)))
	require.Equal(t, 300, b.number(`SELECT refunded_in_cents FROM payments`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM payments`))
	for _, wrong := range []string{
		`[]`, `{"id":"re_3","event_type":"refund.create"}`, charge("refund.create", "re_4", "in_1", "-5", site, at), charge("refund.create", "", "in_1", "5", site, at),
	} {
		require.Equal(t, []string{"failed"}, b.billed("refund.create", wrong), wrong)
	}
	require.Equal(t, []string{"ignored"}, b.billed("refund.create", `{"id":"re_5","live_mode":false,"payment":{"id":"pa_1"}}`))
}

// A charge that failed is known once, and shows as a reason until one succeeds.
func TestChargeFailed(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, site := b.soldSite()
	require.Equal(t, []string{"applied"}, b.billed("intent.succeeded", charge("intent.succeeded", "in_1", "in_1", "500", site, "2026-10-02T12:00:00Z")))
	require.Equal(t, []string{"applied", "no_change"}, b.billed("intent.failed",
		charge("intent.failed", "in_2", "in_2", "500", site, "2026-11-02T12:00:00Z"), charge("payment_intent.failed", "pa_9", "in_2", "500", site, "2026-11-02T12:00:00Z")))
	require.Equal(t, []string{"unmatched"}, b.billed("intent.failed", charge("intent.failed", "in_7", "in_7", "500", uuid.NewString(), "2026-11-02T12:00:00Z")))
	require.Equal(t, []string{"failed", "ignored"}, b.billed("intent.failed", `{"event_type":"intent.failed"}`, `{"id":"in_8","live_mode":false}`))
	atRisk := func() []analytics.RiskReason {
		b.analyticsCatchUp()
		list, err := analytics.ReadAtRisk(b.ctx, b.pool, analytics.AtRiskQuery{Limit: 10, Reasons: []analytics.Reason{analytics.ReasonFailedCharges}})
		require.NoError(t, err)
		if len(list.Rows) == 0 {
			return nil
		}
		return list.Rows[0].Reasons[:1]
	}
	require.Equal(t, []analytics.RiskReason{{
		Reason: analytics.ReasonFailedCharges, Since: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC), Count: 1,
	}}, atRisk())
	// A customer who pays again has no other status.
	require.Equal(t, []string{"no_change"}, b.billed("intent.succeeded", charge("intent.succeeded", "in_3", "in_3", "500", site, "2026-11-03T12:00:00Z")))
	require.Empty(t, atRisk())
}

// analyticsCatchUp runs the job of analytics until it has caught up.
func (b *bundle) analyticsCatchUp() {
	b.Helper()
	var now time.Time
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT now()`).Scan(&now))
	require.Eventually(b, func() bool {
		err := b.a.workAnalytics(b.ctx, &river.Job[jobs.AnalyticsArgs]{JobRow: &rivertype.JobRow{ID: 1}})
		var snooze *rivertype.JobSnoozeError
		require.ErrorAs(b, err, &snooze, "it goes on for ever")
		p, err := analytics.ReadProgress(b.ctx, b.pool)
		require.NoError(b, err)
		return p.AsOf != nil && !p.AsOf.Before(now)
	}, time.Minute, 10*time.Millisecond)
}
