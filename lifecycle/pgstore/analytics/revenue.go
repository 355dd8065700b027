package analytics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// RevenueQuery selects payments and says whom they are credited to.
type RevenueQuery struct {
	Attribution
	By       FunnelBy  // FunnelByCampaign, FunnelByChannel or FunnelByWeek (of the payment); "": by campaign
	After    time.Time // paid at or after; zero: no limit
	Before   time.Time // paid before; zero: no limit
	TimeZone string    // IANA name, of the weeks; "": UTC
}

// Revenue is whose money it is. Rows of one currency add up to what payments say; those of two never.
type Revenue struct {
	AsOf *time.Time // see Funnel.AsOf
	// Rows are ordered by currency, then week or net, the largest first; what nobody is credited with comes last.
	Rows []RevenueRow
	// Totals is one row a currency, of all payments.
	Totals []RevenueRow
}

// RevenueRow is the money of one group in one currency.
type RevenueRow struct {
	Attributed bool      // false: no campaign touched within the window
	Campaign   Campaign  // by campaign
	Channel    string    // by channel
	Week       time.Time // by week: Monday, 00:00 in the query's time zone
	Currency   string    // ISO 4217
	Payments   int64
	Gross      int64 // in cents
	Refunded   int64
	Net        int64 // Gross - Refunded
}

// ReadRevenue reads whose money it is.
func ReadRevenue(ctx context.Context, q pgstore.Querier, query RevenueQuery) (Revenue, error) {
	r, err := readRevenue(ctx, q, query)
	if err != nil {
		return Revenue{}, fmt.Errorf("read revenue: %w", err)
	}
	return r, nil
}

func readRevenue(ctx context.Context, q pgstore.Querier, query RevenueQuery) (Revenue, error) {
	var out Revenue
	rule, asOf, err := query.begin(ctx, q)
	if err != nil {
		return out, err
	}
	out.AsOf = asOf
	if query.By == "" {
		query.By = FunnelByCampaign
	}
	edges, err := cutDays(ctx, q, cuts{
		after: query.After, before: query.Before, byWeek: query.By == FunnelByWeek, timeZone: query.TimeZone,
		table: `analytics_credit_sums`, rows: `NOT purchase`,
	})
	if err != nil {
		return out, err
	}
	r := revenueReader{q: q, query: query, rule: rule, edges: edges, groups: map[group]*money{}}
	if err := r.read(ctx); err != nil {
		return out, err
	}
	list := make([]money, 0, len(r.groups))
	for _, g := range r.groups {
		list = append(list, *g)
	}
	var keys []string
	for _, g := range list {
		keys = append(keys, g.key)
	}
	name, err := namer(ctx, q, query.By, keys, query.TimeZone)
	if err != nil {
		return out, err
	}
	out.Rows, out.Totals = share(list, query.By, name)
	return out, nil
}

// group is what money is added up by.
type group struct {
	all           bool
	key, currency string
}

// revenueReader adds up whole days, which are added up already, and the days that a query cuts through.
type revenueReader struct {
	q      pgstore.Querier
	query  RevenueQuery
	rule   Attribution
	edges  []time.Time
	groups map[group]*money
}

func (r *revenueReader) read(ctx context.Context) error {
	args := []any{string(r.rule.Model), r.rule.WindowDays, since(r.query.After), before(r.query.Before), r.edges}
	const wholeDays = `
		SELECT model, campaign_id, channel, currency, day::timestamp AT TIME ZONE 'UTC' AS at, sum(n) AS n,
			sum(amount_in_cents) AS amount, sum(refunded_in_cents) AS refunded
		FROM analytics_credit_sums
		WHERE NOT purchase AND model IN ('all', $1) AND days <= $2 AND day >= ($3::timestamptz AT TIME ZONE 'UTC')::date
			AND day < ($4::timestamptz AT TIME ZONE 'UTC')::date AND day <> ALL ($5::date[])
		GROUP BY 1, 2, 3, 4, day`
	const edgeDays = `
		SELECT c.model, c.campaign_id, c.channel, c.currency, c.at, 1, c.amount_in_cents, c.refunded_in_cents
		FROM unnest($5::date[]) AS edge (day)
		JOIN analytics_credits c ON c.at >= edge.day::timestamp AT TIME ZONE 'UTC' AND c.at < (edge.day + 1)::timestamp AT TIME ZONE 'UTC'
		WHERE c.payment_id <> 0 AND c.model IN ('all', $1) AND c.from_days <= $2 AND c.until_days > $2 AND c.at >= $3 AND c.at < $4`
	parts := wholeDays + `
		UNION ALL` + edgeDays
	var key string
	switch r.query.By {
	case FunnelByCampaign:
		key = `campaign_id::text`
	case FunnelByChannel:
		key = `channel`
	case FunnelByWeek:
		// Every week has an edge, so these are read as few and as plain as can be: see weekEdges.
		parts = wholeDays
		args = append(args, zone(r.query.TimeZone))
		key = `extract(epoch FROM date_trunc('week', at, $6))::bigint::text`
	default:
		return fmt.Errorf("unknown grouping %q", r.query.By)
	}
	rows, err := r.q.Query(ctx, `
		WITH part AS (`+parts+`
		)
		SELECT model = 'all', `+key+`, currency, sum(n)::bigint, sum(amount)::bigint, sum(refunded)::bigint
		FROM part
		GROUP BY 1, 2, 3
		HAVING sum(n) <> 0`, planned(args)...)
	if err != nil {
		return err
	}
	var g money
	if _, err := pgx.ForEachRow(rows, []any{&g.all, &g.key, &g.currency, &g.n, &g.gross, &g.refunded}, func() error {
		r.add(g)
		return nil
	}); err != nil || r.query.By != FunnelByWeek {
		return err
	}
	return r.weekEdges(ctx)
}

func (r *revenueReader) add(g money) {
	k := group{g.all, g.key, g.currency}
	if r.groups[k] == nil {
		r.groups[k] = &money{all: g.all, key: g.key, currency: g.currency}
	}
	sum := r.groups[k]
	sum.n, sum.gross, sum.refunded = sum.n+g.n, sum.gross+g.gross, sum.refunded+g.refunded
}

// weekEdges adds the payments of days in which a week begins. By week it does not matter who is credited, only whether
// somebody is: that is the same for either model, and stands with the payment itself.
func (r *revenueReader) weekEdges(ctx context.Context) error {
	rows, err := r.q.Query(ctx, `
		SELECT extract(epoch FROM date_trunc('week', at, $5))::bigint::text, currency, count(*), sum(amount_in_cents)::bigint,
			sum(refunded_in_cents)::bigint, count(*) FILTER (WHERE touched_days <= $1),
			COALESCE(sum(amount_in_cents) FILTER (WHERE touched_days <= $1), 0)::bigint,
			COALESCE(sum(refunded_in_cents) FILTER (WHERE touched_days <= $1), 0)::bigint
		FROM unnest($4::date[]) AS edge (day)
		JOIN analytics_credits c ON c.at >= edge.day::timestamp AT TIME ZONE 'UTC' AND c.at < (edge.day + 1)::timestamp AT TIME ZONE 'UTC'
		WHERE payment_id <> 0 AND model = 'all' AND at >= $2 AND at < $3
		GROUP BY 1, 2`,
		planned([]any{r.rule.WindowDays, since(r.query.After), before(r.query.Before), r.edges, zone(r.query.TimeZone)})...)
	if err != nil {
		return err
	}
	all, credited := money{all: true}, money{}
	_, err = pgx.ForEachRow(rows, []any{
		&all.key, &all.currency, &all.n, &all.gross, &all.refunded, &credited.n, &credited.gross, &credited.refunded,
	}, func() error {
		credited.key, credited.currency = all.key, all.currency
		r.add(all)
		if credited.n > 0 {
			r.add(credited)
		}
		return nil
	})
	return err
}

// money is one group as read: of all payments, or of those that a campaign is credited with.
type money struct {
	all                bool
	key, currency      string
	n, gross, refunded int64
}

// share makes rows of groups. What of all payments no campaign is credited with is left for a row of its own.
func share(list []money, by FunnelBy, name func(string) named) (rows, totals []RevenueRow) {
	type rest struct{ key, currency string }
	left, total := map[rest]*RevenueRow{}, map[string]*RevenueRow{}
	place := func(g money) rest {
		if by == FunnelByWeek {
			return rest{g.key, g.currency}
		}
		return rest{"", g.currency}
	}
	for _, g := range list {
		if !g.all {
			continue
		}
		k := place(g)
		if left[k] == nil {
			left[k] = &RevenueRow{Currency: g.currency}
			if by == FunnelByWeek {
				left[k].Week = name(g.key).week
			}
		}
		if total[g.currency] == nil {
			total[g.currency] = &RevenueRow{Currency: g.currency}
		}
		left[k].add(g, 1)
		total[g.currency].add(g, 1)
	}
	for _, g := range list {
		if g.all {
			continue
		}
		n := name(g.key)
		r := RevenueRow{Attributed: true, Currency: g.currency, Campaign: n.campaign, Channel: n.channel, Week: n.week}
		r.add(g, 1)
		rows = append(rows, r)
		if l := left[place(g)]; l != nil {
			l.add(g, -1)
		}
	}
	for _, r := range left {
		if r.Payments != 0 {
			rows = append(rows, *r)
		}
	}
	for _, r := range total {
		totals = append(totals, *r)
	}
	slices.SortFunc(rows, func(a, b RevenueRow) int {
		return cmp.Or(cmp.Compare(a.Currency, b.Currency), a.Week.Compare(b.Week), compareBool(b.Attributed, a.Attributed),
			cmp.Compare(b.Net, a.Net), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Campaign.ID.String(), b.Campaign.ID.String()))
	})
	slices.SortFunc(totals, func(a, b RevenueRow) int { return cmp.Compare(a.Currency, b.Currency) })
	return rows, totals
}

func (r *RevenueRow) add(g money, sign int64) {
	r.Payments += sign * g.n
	r.Gross += sign * g.gross
	r.Refunded += sign * g.refunded
	r.Net = r.Gross - r.Refunded
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
