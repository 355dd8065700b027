package analytics

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// stored is a row of analytics_businesses: what a business contributes to the sums.
type stored struct {
	contactedAt time.Time
	channel     string
	campaign    int64
	country     string
	furthest    int
	touches     string // JSON; "": none
	customer    bool   // it has rows in analytics_credits or analytics_customers
}

// row is the contribution as analytics_businesses keeps it.
func (c contribution) row() (stored, error) {
	s := stored{contactedAt: c.contactedAt, channel: c.channel, campaign: c.campaign, furthest: c.furthest, customer: len(c.credits) > 0}
	if s.furthest > 0 {
		s.country = c.country
	}
	if len(c.touches) > 0 {
		list := make([][4]any, len(c.touches))
		for i, t := range c.touches {
			list[i] = [4]any{t.campaign, t.marks, t.cost, t.unit}
		}
		text, err := json.Marshal(list)
		if err != nil {
			return s, fmt.Errorf("write down touches: %w", err)
		}
		s.touches = string(text)
	}
	return s, nil
}

// empty reports whether there is nothing to keep.
func (s stored) empty() bool { return s == stored{} }

// same compares two rows: times by their instant.
func (s stored) same(o stored) bool {
	if !s.contactedAt.Equal(o.contactedAt) {
		return false
	}
	s.contactedAt, o.contactedAt = time.Time{}, time.Time{}
	return s == o
}

// parseTouches reads what row wrote.
func (s stored) parseTouches() ([]touch, error) {
	if s.touches == "" {
		return nil, nil
	}
	var raw [][]json.RawMessage
	if err := json.Unmarshal([]byte(s.touches), &raw); err != nil {
		return nil, fmt.Errorf("read stored touches: %w", err)
	}
	list := make([]touch, len(raw))
	for i, r := range raw {
		if len(r) != 4 {
			return nil, fmt.Errorf("read stored touches: %d values where 4 belong", len(r))
		}
		t := &list[i]
		for k, to := range []any{&t.campaign, &t.marks, &t.cost, &t.unit} {
			if err := json.Unmarshal(r[k], to); err != nil {
				return nil, fmt.Errorf("read stored touches: %w", err)
			}
		}
	}
	return list, nil
}

func readStored(ctx context.Context, q pgstore.Querier, ids []int64) (map[int64]stored, error) {
	rows, err := q.Query(ctx, `
		SELECT business_id, contacted_at, COALESCE(channel, ''), campaign_id, country, furthest, COALESCE(touches, ''), customer
		FROM analytics_businesses
		WHERE business_id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read contributions: %w", err)
	}
	all := make(map[int64]stored, len(ids))
	var id int64
	var at *time.Time
	var s stored
	if _, err := pgx.ForEachRow(rows, []any{&id, &at, &s.channel, &s.campaign, &s.country, &s.furthest, &s.touches, &s.customer}, func() error {
		s.contactedAt = time.Time{}
		if at != nil {
			s.contactedAt = *at
		}
		all[id] = s
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read contributions: %w", err)
	}
	return all, nil
}

// sums are what analytics_funnel, analytics_campaigns and analytics_costs hold, or what is to be added to them.
type sums struct {
	funnel    map[cell]*[7]int64
	campaigns map[int64]*[6]int64
	costs     []cost
	credits   map[creditCell]*[3]int64 // number, amount, refunded
}

// creditCell is what credits are added up by.
type creditCell struct {
	purchase          bool
	day               time.Time
	model             Model
	campaign          int64
	channel, currency string
	days              int
}

// cell is a cohort of the funnel, as finely as it is kept.
type cell struct {
	at       time.Time
	channel  string
	campaign int64
	country  string
}

type cost struct {
	campaign     int64
	amount, unit string
}

func newSums() *sums {
	return &sums{funnel: map[cell]*[7]int64{}, campaigns: map[int64]*[6]int64{}, credits: map[creditCell]*[3]int64{}}
}

// add adds a contribution, or with a sign of -1 takes it out.
func (s *sums) add(r stored, sign int64) error {
	if r.furthest > 0 {
		k := cell{r.contactedAt.UTC().Truncate(Quarter), r.channel, r.campaign, r.country}
		if s.funnel[k] == nil {
			s.funnel[k] = &[7]int64{}
		}
		for i := range r.furthest {
			s.funnel[k][i] += sign
		}
	}
	touches, err := r.parseTouches()
	if err != nil {
		return err
	}
	for _, t := range touches {
		if s.campaigns[t.campaign] == nil {
			s.campaigns[t.campaign] = &[6]int64{}
		}
		for i, m := range marks() {
			if t.marks&m != 0 {
				s.campaigns[t.campaign][i] += sign
			}
		}
		if t.cost == "" {
			continue
		}
		amount := t.cost
		if sign < 0 {
			amount = "-" + amount
		}
		s.costs = append(s.costs, cost{t.campaign, amount, t.unit})
	}
	return nil
}

// credit adds a credit, or with a sign of -1 takes it out: in at the shortest window that it holds for, and out again at
// the first that it no longer does.
func (s *sums) credit(c credit, sign int64) {
	k := creditCell{model: c.model, campaign: c.campaign, channel: c.channel, currency: c.currency, days: c.from, day: time.Unix(0, 0).UTC()}
	if k.purchase = c.payment == 0; !k.purchase {
		k.day = c.at.UTC().Truncate(day)
	}
	put := func(k creditCell, sign int64) {
		if s.credits[k] == nil {
			s.credits[k] = &[3]int64{}
		}
		n := s.credits[k]
		n[0], n[1], n[2] = n[0]+sign, n[1]+sign*c.amount, n[2]+sign*c.refunded
	}
	put(k, sign)
	if c.until <= MaxWindowDays {
		k.days = c.until
		put(k, -sign)
	}
}

// write adds the sums to what is stored.
func (s *sums) write(ctx context.Context, tx pgx.Tx) error {
	for _, step := range []func(context.Context, pgx.Tx) error{s.writeFunnel, s.writeCampaigns, s.writeCosts, s.writeCredits} {
		if err := step(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

func (s *sums) writeFunnel(ctx context.Context, tx pgx.Tx) error {
	var at []time.Time
	var channel, country []string
	var campaign []int64
	var n [7][]int64
	for k, v := range s.funnel {
		if *v == [7]int64{} {
			continue
		}
		at, channel, campaign, country = append(at, k.at), append(channel, k.channel), append(campaign, k.campaign), append(country, k.country)
		for i := range n {
			n[i] = append(n[i], v[i])
		}
	}
	if len(at) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO analytics_funnel AS f (at, channel, campaign_id, country, contacted, delivered, opened, clicked, replied, purchased, active)
		SELECT *
		FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
			$9::bigint[], $10::bigint[], $11::bigint[])
		ON CONFLICT (at, channel, campaign_id, country) DO UPDATE
		SET contacted = f.contacted + EXCLUDED.contacted, delivered = f.delivered + EXCLUDED.delivered, opened = f.opened + EXCLUDED.opened,
			clicked = f.clicked + EXCLUDED.clicked, replied = f.replied + EXCLUDED.replied, purchased = f.purchased + EXCLUDED.purchased,
			active = f.active + EXCLUDED.active`,
		at, channel, campaign, country, n[0], n[1], n[2], n[3], n[4], n[5], n[6])
	if err != nil {
		return fmt.Errorf("add to the funnel: %w", err)
	}
	return nil
}

func (s *sums) writeCampaigns(ctx context.Context, tx pgx.Tx) error {
	var ids []int64
	var n [6][]int64
	for id, v := range s.campaigns {
		if *v == [6]int64{} {
			continue
		}
		ids = append(ids, id)
		for i := range n {
			n[i] = append(n[i], v[i])
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO analytics_campaigns AS c (campaign_id, sent, delivered, opened, clicked, replied, opted_out)
		SELECT *
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
		ON CONFLICT (campaign_id) DO UPDATE
		SET sent = c.sent + EXCLUDED.sent, delivered = c.delivered + EXCLUDED.delivered, opened = c.opened + EXCLUDED.opened,
			clicked = c.clicked + EXCLUDED.clicked, replied = c.replied + EXCLUDED.replied, opted_out = c.opted_out + EXCLUDED.opted_out`,
		ids, n[0], n[1], n[2], n[3], n[4], n[5])
	if err != nil {
		return fmt.Errorf("add to campaigns: %w", err)
	}
	return nil
}

func (s *sums) writeCosts(ctx context.Context, tx pgx.Tx) error {
	if len(s.costs) == 0 {
		return nil
	}
	var ids []int64
	var amount, unit []string
	for _, c := range s.costs {
		ids, amount, unit = append(ids, c.campaign), append(amount, c.amount), append(unit, c.unit)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO analytics_costs AS c (campaign_id, currency, amount)
		SELECT u.campaign, u.unit, sum(u.amount::numeric)
		FROM unnest($1::bigint[], $2::text[], $3::text[]) AS u (campaign, unit, amount)
		GROUP BY 1, 2
		HAVING sum(u.amount::numeric) <> 0
		ON CONFLICT (campaign_id, currency) DO UPDATE SET amount = c.amount + EXCLUDED.amount`, ids, unit, amount)
	if err != nil {
		return fmt.Errorf("add to costs: %w", err)
	}
	return nil
}

func (s *sums) writeCredits(ctx context.Context, tx pgx.Tx) error {
	var purchase []bool
	var at []time.Time
	var model, channel, currency []string
	var campaign, days []int64
	var n [3][]int64
	for k, v := range s.credits {
		if *v == [3]int64{} {
			continue
		}
		purchase, at, model, campaign = append(purchase, k.purchase), append(at, k.day), append(model, string(k.model)), append(campaign, k.campaign)
		channel, currency, days = append(channel, k.channel), append(currency, k.currency), append(days, int64(k.days))
		for i := range n {
			n[i] = append(n[i], v[i])
		}
	}
	if len(at) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO analytics_credit_sums AS c (purchase, day, model, campaign_id, channel, currency, days, n, amount_in_cents, refunded_in_cents)
		SELECT *
		FROM unnest($1::bool[], $2::date[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
		ON CONFLICT (purchase, day, model, campaign_id, channel, currency, days) DO UPDATE
		SET n = c.n + EXCLUDED.n, amount_in_cents = c.amount_in_cents + EXCLUDED.amount_in_cents,
			refunded_in_cents = c.refunded_in_cents + EXCLUDED.refunded_in_cents`,
		purchase, at, model, campaign, channel, currency, days, n[0], n[1], n[2])
	if err != nil {
		return fmt.Errorf("add to credits: %w", err)
	}
	return nil
}

// sortedIDs are the ids once each.
func sortedIDs(ids []int64) []int64 {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, cmp.Compare[int64])
	return slices.Compact(ids)
}
