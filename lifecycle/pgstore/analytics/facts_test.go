package analytics_test

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/lifecycle/pgstore/analytics"
)

// player makes random histories: what the workers write, by the code that they write it with.
type player struct {
	t          *testing.T
	r          *rand.Rand
	pool       *pgxpool.Pool
	base       time.Time
	businesses []int64
	sites      map[int64]int64
	campaigns  []int64
	messages   map[int64][]int64 // by business
	all        []int64           // messages
	n          int
}

func newPlayer(t *testing.T, seed uint64) *player {
	return &player{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), pool: newDB(t), base: time.Now().UTC().Add(-80 * 24 * time.Hour).Truncate(time.Minute),
		sites: map[int64]int64{}, messages: map[int64][]int64{},
	}
}

func (p *player) exec(sql string, args ...any) {
	p.t.Helper()
	_, err := p.pool.Exec(p.t.Context(), sql, args...)
	require.NoError(p.t, err)
}

func (p *player) id(sql string, args ...any) (id int64) {
	p.t.Helper()
	require.NoError(p.t, p.pool.QueryRow(p.t.Context(), sql, args...).Scan(&id))
	return id
}

func one[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// at draws a time of a few distinct ones, so that ties are common, and such as differ by whole days.
func (p *player) at() time.Time {
	return p.base.Add(time.Duration(p.r.IntN(70))*24*time.Hour + time.Duration(p.r.IntN(4))*7*time.Minute)
}

func (p *player) start(businesses, campaigns int) {
	for range businesses {
		b := p.id(`INSERT INTO businesses (public_id, name, phone, country, test) VALUES ($1, 'B', $2, $3, $4) RETURNING id`,
			uuid.Must(uuid.NewV7()), fmt.Sprintf("+999%09d", len(p.businesses)), one(p.r, nil, new("GT"), new("US")), p.r.IntN(12) == 0)
		p.sites[b] = p.id(`INSERT INTO sites (public_id, business_id) VALUES ($1, $2) RETURNING id`, uuid.Must(uuid.NewV7()), b)
		p.businesses = append(p.businesses, b)
	}
	for range campaigns {
		p.campaigns = append(p.campaigns, p.id(`
			INSERT INTO campaigns (public_id, name, channel, body, audience, status, launched_at)
			VALUES ($1, 'C', $2, '', '{}', 'sending', now()) RETURNING id`, uuid.Must(uuid.NewV7()), one(p.r, "sms", "email")))
	}
}

// message has a campaign, or nobody, write to a business.
func (p *player) message() {
	b := one(p.r, p.businesses...)
	var campaign *int64
	channel := one(p.r, "sms", "email")
	if p.r.IntN(4) > 0 {
		c := one(p.r, p.campaigns...)
		campaign = &c
		require.NoError(p.t, p.pool.QueryRow(p.t.Context(), `SELECT channel FROM campaigns WHERE id = $1`, c).Scan(&channel))
	}
	var id int64
	err := p.pool.QueryRow(p.t.Context(), `
		INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body)
		VALUES ($1, $2, $3, $4, 'x', '')
		ON CONFLICT DO NOTHING
		RETURNING id`, uuid.Must(uuid.NewV7()), campaign, b, channel).Scan(&id)
	if err != nil {
		require.ErrorIs(p.t, err, pgx.ErrNoRows)
		return
	}
	p.messages[b] = append(p.messages[b], id)
	p.all = append(p.all, id)
}

// fact draws something that happened, about a message or not.
func (p *player) fact() pgstore.Fact {
	p.n++
	b := one(p.r, p.businesses...)
	f := pgstore.Fact{BusinessID: b, OccurredAt: p.at(), Source: pgstore.SourceSystem, Key: "x" + strconv.Itoa(p.n)}
	if own := p.messages[b]; len(own) > 0 && p.r.IntN(3) > 0 {
		m := one(p.r, own...)
		var channel string
		require.NoError(p.t, p.pool.QueryRow(p.t.Context(), `SELECT channel FROM messages WHERE id = $1`, m).Scan(&channel))
		f.MessageID = m
		f.Event = one(p.r, lifecycle.SMSSentEvent, lifecycle.SMSSentEvent, lifecycle.SMSDelivered, lifecycle.SMSFailed, lifecycle.LinkClicked)
		if channel == "email" {
			f.Event = one(p.r, lifecycle.EmailSent, lifecycle.EmailSent, lifecycle.EmailDelivered, lifecycle.EmailBounced, lifecycle.EmailOpened,
				lifecycle.LinkClicked, lifecycle.OptedOut)
		}
		// One of each kind, whoever reports it.
		f.Key = fmt.Sprintf("m%d:%s", m, f.Event)
		return f
	}
	events := []lifecycle.Event{
		lifecycle.ReplyReceived, lifecycle.ReplyReceived, lifecycle.PurchaseCompleted, lifecycle.PurchaseCompleted, lifecycle.OptedOut,
		lifecycle.SubscriptionActivated, lifecycle.SubscriptionPastDue, lifecycle.SubscriptionPaused, lifecycle.SubscriptionCancelled,
		lifecycle.SubscriptionReactivated, lifecycle.TicketOpened, lifecycle.TicketClosed, lifecycle.SMSSentEvent, lifecycle.EmailOpened,
	}
	f.Event = one(p.r, events...)
	if f.Event == lifecycle.OptedOut && len(p.all) > 0 && p.r.IntN(2) == 0 {
		f.MessageID = one(p.r, p.all...) // of another business with the same address
	}
	if f.Event == lifecycle.PurchaseCompleted || strings.HasPrefix(string(f.Event), "subscription") {
		f.SiteID = p.sites[b]
	}
	return f
}

// happen writes something that the numbers depend on.
func (p *player) happen() {
	ctx := p.t.Context()
	switch k := p.r.IntN(100); {
	case k < 20:
		p.message()
	case k < 75:
		facts := []pgstore.Fact{p.fact()}
		for range p.r.IntN(3) {
			facts = append(facts, p.fact())
		}
		facts = append(facts, facts[0]) // and once more
		inTx(p.t, p.pool, func(tx pgx.Tx) {
			_, err := pgstore.Apply(ctx, tx, facts)
			require.NoError(p.t, err)
		})
	case k < 84:
		b := one(p.r, p.businesses...)
		p.n++
		p.exec(`INSERT INTO payments (business_id, site_id, amount_in_cents, currency, charge_key, paid_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			b, p.sites[b], p.r.IntN(5000)+1, one(p.r, "GTQ", "USD"), "ch"+strconv.Itoa(p.n), p.at())
	case k < 87:
		p.exec(`UPDATE payments SET refunded_in_cents = amount_in_cents / $1 WHERE id = (SELECT max(id) FROM payments)`, p.r.IntN(3)+1)
	case k < 90:
		p.n++
		p.exec(`INSERT INTO failed_charges (business_id, charge_key, failed_at) VALUES ($1, $2, $3)`, one(p.r, p.businesses...), "f"+strconv.Itoa(p.n), p.at())
	case k < 93:
		p.exec(`UPDATE businesses SET country = $2 WHERE id = $1`, one(p.r, p.businesses...), one(p.r, nil, new("GT"), new("MX")))
	case k < 97 && len(p.all) > 0:
		inTx(p.t, p.pool, func(tx pgx.Tx) {
			raised, err := pgstore.Raise(ctx, tx, pgstore.Report{
				MessageID: one(p.r, p.all...), State: one(p.r, lifecycle.MessageSent, lifecycle.MessageDelivered, lifecycle.MessageFailed),
				Price: one(p.r, "-0.0075", "-0.02", "0.1"), PriceUnit: one(p.r, "USD", "GTQ"), At: p.at(),
			})
			require.NoError(p.t, err)
			require.NoError(p.t, raised.Count(ctx, tx))
		})
	case k < 98:
		inTx(p.t, p.pool, func(tx pgx.Tx) {
			_, err := pgstore.Erase(ctx, tx, one(p.r, p.businesses...))
			require.NoError(p.t, err)
		})
	default:
		p.advance(analytics.AdvanceOptions{Facts: 1 + p.r.IntN(20), Businesses: 1 + p.r.IntN(9)})
	}
}

func (p *player) advance(o analytics.AdvanceOptions) { advance(p.t, p.pool, o) }

// advance waits for other tests' transactions, which share the server.
func advance(t *testing.T, pool *pgxpool.Pool, o analytics.AdvanceOptions) {
	t.Helper()
	o.Patience = time.Minute
	done, err := analytics.Advance(t.Context(), pool, o)
	require.NoError(t, err)
	require.True(t, done.Arrived)
}

func TestNumbersAgreeWithFacts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			p := newPlayer(t, seed)
			p.start(25, 4)
			for round := range 3 {
				for range 120 {
					p.happen()
				}
				p.advance(analytics.AdvanceOptions{})
				agree(t, p.pool)
				if round == 1 {
					require.NoError(t, analytics.Reset(t.Context(), p.pool))
				}
			}
			found, err := analytics.Verify(t.Context(), p.pool, analytics.VerifyOptions{})
			require.NoError(t, err)
			require.Empty(t, found.Drifts)
			require.Equal(t, int64(25), found.Businesses)
		})
	}
}

// What the seed makes, with what it makes of facts that come late.
func TestNumbersAgreeWithMadeUpFacts(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	_, err := pgstore.Generate(t.Context(), pool, pgstore.GenerateOptions{Businesses: 300, Facts: 4000, Seed: 7, Outreach: true})
	require.NoError(t, err)
	advance(t, pool, analytics.AdvanceOptions{Businesses: 70})
	agree(t, pool)
}

// agree compares every answer with the naive one.
func agree(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx := t.Context()
	w := readWorld(ctx, t, pool)
	agreeFunnel(ctx, t, pool, w)
	agreeCampaigns(ctx, t, pool, w)
	agreeRevenue(ctx, t, pool, w)
	agreeAtRisk(ctx, t, pool, w)
}

func agreeFunnel(ctx context.Context, t *testing.T, pool *pgxpool.Pool, w *world) {
	var queries []analytics.FunnelQuery
	for _, by := range []analytics.FunnelBy{"", analytics.FunnelByWeek, analytics.FunnelByChannel, analytics.FunnelByCampaign, analytics.FunnelByCountry} {
		queries = append(queries, analytics.FunnelQuery{By: by}, analytics.FunnelQuery{By: by, Channel: "sms"}, analytics.FunnelQuery{By: by, Country: "GT"})
		for _, c := range w.campaigns {
			queries = append(queries, analytics.FunnelQuery{By: by, Campaign: c.public, TimeZone: "Asia/Kathmandu"})
		}
		middle := time.Now().UTC().Add(-60 * 24 * time.Hour).Truncate(analytics.Quarter)
		queries = append(queries, analytics.FunnelQuery{By: by, After: middle, Before: middle.Add(9 * 24 * time.Hour), TimeZone: "America/Guatemala"})
	}
	for _, q := range queries {
		got, err := analytics.ReadFunnel(ctx, pool, q)
		require.NoError(t, err)
		require.NotNil(t, got.AsOf)
		want := w.funnel(q)
		total := make([]int64, 7)
		for _, counts := range want {
			for i, n := range counts {
				total[i] += n
			}
		}
		require.Equal(t, total, got.Total.Counts, q)
		if q.By == "" {
			require.Empty(t, got.Rows)
			continue
		}
		rows := map[string][]int64{}
		for _, r := range got.Rows {
			key := map[analytics.FunnelBy]string{
				analytics.FunnelByWeek: r.Week.Format(time.RFC3339), analytics.FunnelByChannel: r.Channel,
				analytics.FunnelByCampaign: r.Campaign.ID.String(), analytics.FunnelByCountry: r.Country,
			}[q.By]
			require.NotContains(t, rows, key)
			rows[key] = r.Counts
			for i := 1; i < len(r.Counts); i++ {
				require.LessOrEqual(t, r.Counts[i], r.Counts[i-1], "a funnel narrows")
			}
		}
		require.Equal(t, want, rows, q)
	}
}

func rules() []analytics.Attribution {
	var list []analytics.Attribution
	for _, m := range []analytics.Model{analytics.LastTouch, analytics.FirstTouch} {
		for _, days := range []int{1, 7, 8, 30, 365} {
			list = append(list, analytics.Attribution{Model: m, WindowDays: days})
		}
	}
	return list
}

func agreeCampaigns(ctx context.Context, t *testing.T, pool *pgxpool.Pool, w *world) {
	for _, rule := range rules() {
		seen := 0
		var below int64
		for {
			got, err := analytics.ReadCampaigns(ctx, pool, analytics.CampaignsQuery{Attribution: rule, Below: below, Limit: 3})
			require.NoError(t, err)
			for _, r := range got.Rows {
				below = r.Position
				seen++
				n, costs := w.campaignNumbers(r.Position, rule)
				require.Equal(t, n, [7]int64{r.Sent, r.Delivered, r.Opened, r.Clicked, r.Replied, r.OptedOut, r.Purchased}, "%v %v", rule, r.Campaign)
				require.Len(t, r.Costs, len(costs))
				for _, c := range r.Costs {
					amount, ok := new(big.Rat).SetString(c.Amount)
					require.True(t, ok, c)
					require.Zero(t, costs[c.Currency].Cmp(amount), "%v is %v", c, costs[c.Currency])
					require.Equal(t, each(amount, r.Replied), c.PerReply)
					require.Equal(t, each(amount, r.Purchased), c.PerPurchase)
				}
				require.Equal(t, w.failed(r.Position), r.Failed)
			}
			if len(got.Rows) < 3 {
				break
			}
		}
		require.Equal(t, len(w.campaigns), seen)
	}
}

// each is an amount's share of n, rounded half up to 6 places.
func each(amount *big.Rat, n int64) string {
	if n == 0 {
		return ""
	}
	text := new(big.Rat).Quo(amount, big.NewRat(n, 1)).FloatString(6)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func (w *world) failed(campaign int64) (n int64) {
	for _, m := range w.messages {
		if m.campaign == campaign && (m.state == "failed" || m.state == "undelivered") {
			n++
		}
	}
	return n
}

func agreeRevenue(ctx context.Context, t *testing.T, pool *pgxpool.Pool, w *world) {
	middle := time.Now().UTC().Add(-60 * 24 * time.Hour)
	for _, rule := range rules() {
		for _, by := range []analytics.FunnelBy{analytics.FunnelByCampaign, analytics.FunnelByChannel, analytics.FunnelByWeek} {
			for _, q := range []analytics.RevenueQuery{
				{Attribution: rule, By: by},
				{Attribution: rule, By: by, After: middle, Before: middle.Add(20 * 24 * time.Hour), TimeZone: "Asia/Kathmandu"},
			} {
				got, err := analytics.ReadRevenue(ctx, pool, q)
				require.NoError(t, err)
				rows := map[string][3]int64{}
				totals := map[string][3]int64{}
				for _, r := range got.Rows {
					key := "unattributed"
					switch {
					case by == analytics.FunnelByWeek && r.Attributed:
						key = r.Week.Format(time.RFC3339)
					case by == analytics.FunnelByWeek:
						key = r.Week.Format(time.RFC3339) + " unattributed"
					case r.Attributed && by == analytics.FunnelByChannel:
						key = r.Channel
					case r.Attributed:
						key = r.Campaign.ID.String()
					}
					key = r.Currency + " " + key
					require.NotContains(t, rows, key)
					rows[key] = [3]int64{r.Payments, r.Gross, r.Refunded}
					require.Equal(t, r.Gross-r.Refunded, r.Net)
					s := totals[r.Currency]
					totals[r.Currency] = [3]int64{s[0] + r.Payments, s[1] + r.Gross, s[2] + r.Refunded}
				}
				require.Equal(t, w.revenue(q), rows, q)
				for _, r := range got.Totals {
					require.Equal(t, totals[r.Currency], [3]int64{r.Payments, r.Gross, r.Refunded})
				}
				require.Len(t, got.Totals, len(totals))
			}
		}
	}
	// Without limits it is all there is in payments, but for test contacts'.
	got, err := analytics.ReadRevenue(ctx, pool, analytics.RevenueQuery{})
	require.NoError(t, err)
	for _, r := range got.Totals {
		var n, net int64
		require.NoError(t, pool.QueryRow(ctx, `
			SELECT count(*), sum(amount_in_cents - refunded_in_cents)
			FROM payments p JOIN businesses b ON b.id = p.business_id
			WHERE NOT b.test AND currency = $1`, r.Currency).Scan(&n, &net))
		require.Equal(t, []int64{n, net}, []int64{r.Payments, r.Net})
	}
}

func agreeAtRisk(ctx context.Context, t *testing.T, pool *pgxpool.Pool, w *world) {
	for _, q := range []analytics.AtRiskQuery{
		{SilentDays: 30},
		{SilentDays: 1},
		{SilentDays: 3650},
		{SilentDays: 20, Reasons: []analytics.Reason{analytics.ReasonSilent}},
		{SilentDays: 30, Reasons: []analytics.Reason{analytics.ReasonPaused, analytics.ReasonOpenTicket}},
		{SilentDays: 30, Reasons: []analytics.Reason{analytics.ReasonPastDue}},
		{SilentDays: 30, Reasons: []analytics.Reason{analytics.ReasonFailedCharges}},
	} {
		q.Limit = 4
		var lines []string
		var now time.Time
		for {
			got, err := analytics.ReadAtRisk(ctx, pool, q)
			require.NoError(t, err)
			for _, r := range got.Rows {
				text := r.BusinessID.String()
				for _, why := range r.Reasons {
					text += fmt.Sprintf(" %s since %s", why.Reason, why.Since.Format(time.RFC3339Nano))
					if why.Count > 0 {
						text += fmt.Sprintf(" x%d", why.Count)
					}
				}
				lines = append(lines, text)
				q.Behind = &r.Position
				now = r.Position.At
			}
			if len(got.Rows) < q.Limit {
				break
			}
		}
		if now.IsZero() {
			now = time.Now()
		}
		require.Equal(t, w.risks(now, q.SilentDays, q.Reasons), lines, q)
		if len(q.Reasons) > 0 {
			continue
		}
		sum, err := analytics.ReadRiskSummary(ctx, pool, q.SilentDays)
		require.NoError(t, err)
		require.Equal(t, int64(len(lines)), sum.AtRisk)
		for reason, n := range sum.ByReason {
			with := 0
			for _, l := range lines {
				if strings.Contains(l, " "+string(reason)+" ") {
					with++
				}
			}
			require.Equal(t, int64(with), n, reason)
		}
	}
}
