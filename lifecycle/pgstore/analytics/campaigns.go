package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// Model says which of the campaigns that wrote to a business before it paid is credited.
type Model string

// The models.
const (
	LastTouch  Model = "last"  // the newest within the window
	FirstTouch Model = "first" // the oldest within the window
)

// DefaultWindowDays is the window where none is asked for.
const DefaultWindowDays = 30

// Attribution is the rule by which purchases and payments are credited to campaigns.
type Attribution struct {
	Model      Model // "": LastTouch
	WindowDays int   // 1 to MaxWindowDays; 0: DefaultWindowDays
}

func (a Attribution) normal() (Attribution, error) {
	if a.Model == "" {
		a.Model = LastTouch
	}
	if a.WindowDays == 0 {
		a.WindowDays = DefaultWindowDays
	}
	switch {
	case a.Model != LastTouch && a.Model != FirstTouch:
		return a, fmt.Errorf("unknown attribution model %q", a.Model)
	case a.WindowDays < 1 || a.WindowDays > MaxWindowDays:
		return a, fmt.Errorf("an attribution window of %d days: 1 to %d", a.WindowDays, MaxWindowDays)
	}
	return a, nil
}

// begin settles the rule, and reads as of when the numbers hold. It comes before the numbers: they hold at least what was
// counted by then.
func (a Attribution) begin(ctx context.Context, q pgstore.Querier) (rule Attribution, asOf *time.Time, err error) {
	if rule, err = a.normal(); err != nil {
		return rule, nil, err
	}
	p, err := ReadProgress(ctx, q)
	return rule, p.AsOf, err
}

// CampaignsQuery selects campaigns.
type CampaignsQuery struct {
	Attribution
	Channel  string    // sms or email; "": both
	Campaign uuid.UUID // only this one; Nil: all
	After    time.Time // launched at or after; zero: no limit
	Before   time.Time // launched before; zero: no limit
	Below    int64     // the Position of the last row of the page before; 0: from the newest
	Limit    int
}

// Campaigns is a page of campaigns, newest first. Campaigns that were never launched are left out.
type Campaigns struct {
	AsOf *time.Time // see Funnel.AsOf
	Rows []CampaignRow
}

// CampaignRow is what a campaign brought. Each number but Failed counts businesses, each once.
type CampaignRow struct {
	Campaign   Campaign
	LaunchedAt time.Time
	Sent       int64
	Delivered  int64
	Opened     int64
	Clicked    int64
	Replied    int64
	OptedOut   int64
	Failed     int64 // messages that are failed or undelivered now
	Purchased  int64 // first purchases credited to it
	Costs      []Cost
	Position   int64
}

// Cost is what messages cost in one currency: decimal numbers, as the provider gives them.
type Cost struct {
	Currency    string // ISO 4217; "": the provider did not say
	Amount      string
	PerReply    string // "": no replies
	PerPurchase string // "": no purchases
}

// ReadCampaigns reads what campaigns brought.
func ReadCampaigns(ctx context.Context, q pgstore.Querier, query CampaignsQuery) (Campaigns, error) {
	c, err := readCampaigns(ctx, q, query)
	if err != nil {
		return Campaigns{}, fmt.Errorf("read what campaigns brought: %w", err)
	}
	return c, nil
}

func readCampaigns(ctx context.Context, q pgstore.Querier, query CampaignsQuery) (Campaigns, error) {
	var out Campaigns
	rule, asOf, err := query.begin(ctx, q)
	if err != nil {
		return out, err
	}
	out.AsOf = asOf
	below := query.Below
	if below == 0 {
		below = 1<<63 - 1
	}
	args := []any{below, query.Channel, since(query.After), before(query.Before), string(rule.Model), rule.WindowDays, query.Limit}
	where := ""
	if query.Campaign != uuid.Nil {
		args = append(args, query.Campaign)
		where = "AND public_id = $8"
	}
	rows, err := q.Query(ctx, `
		WITH page AS (
			SELECT id, public_id, name, status, channel, launched_at
			FROM campaigns
			WHERE id < $1 AND launched_at IS NOT NULL AND ($2 = '' OR channel = $2) AND launched_at >= $3 AND launched_at < $4 `+where+`
			ORDER BY id DESC
			LIMIT $7
		), bought AS (
			SELECT campaign_id, sum(n) AS n
			FROM analytics_credit_sums
			WHERE purchase AND day = '1970-01-01' AND model = $5 AND campaign_id IN (SELECT id FROM page) AND days <= $6
			GROUP BY campaign_id
		), failed AS (
			SELECT campaign_id, sum(n)::bigint AS n
			FROM campaign_counters
			WHERE campaign_id IN (SELECT id FROM page) AND state IN ('failed', 'undelivered')
			GROUP BY campaign_id
		)
		SELECT p.public_id, p.name, p.status, p.channel, p.launched_at,
			COALESCE(a.sent, 0), COALESCE(a.delivered, 0), COALESCE(a.opened, 0), COALESCE(a.clicked, 0), COALESCE(a.replied, 0),
			COALESCE(a.opted_out, 0), COALESCE(f.n, 0), COALESCE(b.n, 0), p.id
		FROM page p
		LEFT JOIN analytics_campaigns a ON a.campaign_id = p.id
		LEFT JOIN failed f ON f.campaign_id = p.id
		LEFT JOIN bought b ON b.campaign_id = p.id
		ORDER BY p.id DESC`, args...)
	if err != nil {
		return out, err
	}
	out.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r CampaignRow, err error) {
		c := &r.Campaign
		err = row.Scan(&c.ID, &c.Name, &c.Status, &c.Channel, &r.LaunchedAt, &r.Sent, &r.Delivered, &r.Opened, &r.Clicked, &r.Replied,
			&r.OptedOut, &r.Failed, &r.Purchased, &r.Position)
		r.LaunchedAt = r.LaunchedAt.UTC()
		return r, err
	})
	if err != nil {
		return out, err
	}
	return out, readCosts(ctx, q, out.Rows)
}

// readCosts adds what the campaigns of a page cost. PostgreSQL divides: it knows decimal numbers.
func readCosts(ctx context.Context, q pgstore.Querier, page []CampaignRow) error {
	ids, replied, purchased := make([]int64, len(page)), make([]int64, len(page)), make([]int64, len(page))
	for i, r := range page {
		ids[i], replied[i], purchased[i] = r.Position, r.Replied, r.Purchased
	}
	rows, err := q.Query(ctx, `
		SELECT u.n, c.currency, trim_scale(c.amount)::text,
			COALESCE(trim_scale(round(c.amount / NULLIF(u.replied, 0), 6))::text, ''),
			COALESCE(trim_scale(round(c.amount / NULLIF(u.purchased, 0), 6))::text, '')
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS u (id, replied, purchased, n)
		JOIN analytics_costs c ON c.campaign_id = u.id AND c.amount <> 0
		ORDER BY u.n, c.currency`, ids, replied, purchased)
	if err != nil {
		return err
	}
	var n int
	var c Cost
	_, err = pgx.ForEachRow(rows, []any{&n, &c.Currency, &c.Amount, &c.PerReply, &c.PerPurchase}, func() error {
		page[n-1].Costs = append(page[n-1].Costs, c)
		return nil
	})
	return err
}
