package analytics

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// VerifyOptions say how [Verify] looks.
type VerifyOptions struct {
	// Progress is told after each batch how many businesses were looked at. May be nil.
	Progress func(done int64)
}

// Verification is what [Verify] found.
type Verification struct {
	Businesses int64 // looked at
	// Pending had facts or changes that are not counted yet: they can't have drifted.
	Pending int64
	// Drifts are the first maxDrifts of what is not as it should be, Drifted is how many there are.
	Drifts  []string
	Drifted int64
}

// maxDrifts bounds what a verification lists.
const maxDrifts = 100

// ErrRebuilding says that a rebuild is under way.
var ErrRebuilding = errors.New("a rebuild of analytics is under way: wait until it is complete")

func (v *Verification) drift(format string, args ...any) {
	v.Drifted++
	if len(v.Drifts) < maxDrifts {
		v.Drifts = append(v.Drifts, fmt.Sprintf(format, args...))
	}
}

// Verify counts every business anew without writing, and compares that with what is kept of it; then it adds up what is
// kept and compares that with the sums. Analytics stand still for the moment that a batch of businesses takes.
func Verify(ctx context.Context, pool *pgxpool.Pool, o VerifyOptions) (Verification, error) {
	var v Verification
	var after int64
	for {
		n := 0
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var err error
			after, n, err = v.batch(ctx, tx, after)
			return err
		})
		if err != nil {
			return v, fmt.Errorf("verify analytics: %w", err)
		}
		if n == 0 {
			break
		}
		if o.Progress != nil {
			o.Progress(v.Businesses)
		}
	}
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return v.sums(ctx, tx)
	})
	if err != nil {
		return v, fmt.Errorf("verify the sums of analytics: %w", err)
	}
	return v, nil
}

// batch compares the next businesses, while nobody counts.
func (v *Verification) batch(ctx context.Context, tx pgx.Tx, after int64) (last int64, n int, err error) {
	p, err := lockProgress(ctx, tx)
	if err != nil {
		return after, 0, err
	}
	if !p.complete {
		return after, 0, ErrRebuilding
	}
	rows, err := tx.Query(ctx, `SELECT id FROM businesses WHERE id > $1 ORDER BY id LIMIT $2`, after, chunkBusinesses)
	if err != nil {
		return after, 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return after, 0, err
	}
	kept, err := readKept(ctx, tx, ids)
	if err != nil {
		return after, 0, err
	}
	histories, err := readHistories(ctx, tx, ids)
	if err != nil {
		return after, 0, err
	}
	// Last: whatever the histories hold that is not counted yet shows here.
	rows, err = tx.Query(ctx, `
		SELECT business_id FROM facts WHERE id > $1
		UNION
		SELECT business_id FROM analytics_changed`, p.fact)
	if err != nil {
		return after, 0, err
	}
	pending, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return after, 0, err
	}
	for _, id := range ids {
		v.Businesses++
		if slices.Contains(pending, id) {
			v.Pending++
			continue
		}
		var now contribution
		if h := histories[id]; h != nil {
			now = h.fold()
		}
		want, err := keptOf(id, now)
		if err != nil {
			return after, 0, err
		}
		if got := kept[id]; !slices.Equal(got, want) {
			v.drift("business %d: kept %v, its facts say %v", id, got, want)
		}
	}
	return ids[len(ids)-1], len(ids), nil
}

// keptOf is what readKept should find of a business: a line for each row.
func keptOf(id int64, c contribution) ([]string, error) {
	r, err := c.row()
	if err != nil {
		return nil, err
	}
	var lines []string
	if !r.empty() {
		lines = append(lines, r.line())
	}
	var w writer
	w.customer(id, c)
	for _, row := range slices.Concat(w.credits, w.atRisk) {
		lines = append(lines, rowLine(row[1:]))
	}
	slices.Sort(lines)
	return lines, nil
}

// sums compares what is kept of all businesses with the sums, as of one moment.
func (v *Verification) sums(ctx context.Context, tx pgx.Tx) error {
	const funnel = `
		SELECT 'funnel', concat_ws(' ', at, channel, campaign_id, country, contacted, delivered, opened, clicked, replied, purchased, active)
		FROM analytics_funnel
		WHERE contacted <> 0
		EXCEPT
		SELECT 'funnel', concat_ws(' ', to_timestamp(floor(extract(epoch FROM contacted_at) / 900) * 900), channel, campaign_id, country,
			count(*), count(*) FILTER (WHERE furthest > 1), count(*) FILTER (WHERE furthest > 2), count(*) FILTER (WHERE furthest > 3),
			count(*) FILTER (WHERE furthest > 4), count(*) FILTER (WHERE furthest > 5), count(*) FILTER (WHERE furthest > 6))
		FROM analytics_businesses
		WHERE furthest > 0
		GROUP BY to_timestamp(floor(extract(epoch FROM contacted_at) / 900) * 900), channel, campaign_id, country`
	// Sums of sums: either both ways are empty, or they differ.
	const days = `
		SELECT 'funnel by day', concat_ws(' ', day, channel, campaign_id, country, contacted, delivered, opened, clicked, replied, purchased, active)
		FROM (
			SELECT day, channel, campaign_id, country, sum(contacted) AS contacted, sum(delivered) AS delivered, sum(opened) AS opened,
				sum(clicked) AS clicked, sum(replied) AS replied, sum(purchased) AS purchased, sum(active) AS active
			FROM (
				SELECT * FROM analytics_funnel_days
				UNION ALL
				SELECT (at AT TIME ZONE 'UTC')::date, channel, campaign_id, country, -contacted, -delivered, -opened, -clicked, -replied, -purchased, -active
				FROM analytics_funnel
			) both_ways
			GROUP BY 1, 2, 3, 4
		) d
		WHERE (contacted, delivered, opened, clicked, replied, purchased, active) <> (0, 0, 0, 0, 0, 0, 0)`
	const touches = `(SELECT (t ->> 0)::bigint AS campaign, (t ->> 1)::int AS marks, t ->> 2 AS cost, t ->> 3 AS unit
		FROM analytics_businesses, jsonb_array_elements(touches::jsonb) AS t) AS x`
	const campaigns = `
		SELECT 'campaign', concat_ws(' ', campaign_id, sent, delivered, opened, clicked, replied, opted_out)
		FROM analytics_campaigns
		WHERE (sent, delivered, opened, clicked, replied, opted_out) <> (0, 0, 0, 0, 0, 0)
		EXCEPT
		SELECT 'campaign', concat_ws(' ', campaign, count(*) FILTER (WHERE marks & 1 <> 0), count(*) FILTER (WHERE marks & 2 <> 0),
			count(*) FILTER (WHERE marks & 4 <> 0), count(*) FILTER (WHERE marks & 8 <> 0), count(*) FILTER (WHERE marks & 16 <> 0),
			count(*) FILTER (WHERE marks & 32 <> 0))
		FROM ` + touches + `
		GROUP BY campaign`
	const costs = `
		SELECT 'cost', concat_ws(' ', campaign_id, currency, trim_scale(amount))
		FROM analytics_costs
		WHERE amount <> 0
		EXCEPT
		SELECT 'cost', concat_ws(' ', campaign, unit, trim_scale(sum(cost::numeric)))
		FROM ` + touches + `
		WHERE cost <> ''
		GROUP BY campaign, unit`
	// A sum that lacks a row for what is kept: the totals tell.
	const totals = `
		SELECT 'total', concat_ws(' ', (SELECT COALESCE(sum(contacted), 0) FROM analytics_funnel), (SELECT COALESCE(sum(sent), 0) FROM analytics_campaigns),
			(SELECT COALESCE(trim_scale(sum(amount)), 0) FROM analytics_costs))
		EXCEPT
		SELECT 'total', concat_ws(' ', (SELECT count(*) FROM analytics_businesses WHERE furthest > 0),
			(SELECT count(*) FROM ` + touches + ` WHERE marks & 1 <> 0), (SELECT COALESCE(trim_scale(sum(cost::numeric)), 0) FROM ` + touches + ` WHERE cost <> ''))`
	const credited = `
		SELECT payment_id = 0 AS purchase, CASE WHEN payment_id = 0 THEN '1970-01-01' ELSE (at AT TIME ZONE 'UTC')::date END AS day,
			model, campaign_id, channel, currency, days, sign, sign * amount_in_cents AS amount, sign * refunded_in_cents AS refunded
		FROM analytics_credits, LATERAL (VALUES (from_days, 1), (until_days, -1)) AS d (days, sign)
		WHERE days <= 365`
	const credits = `
		SELECT 'credits', concat_ws(' ', purchase, day, model, campaign_id, channel, currency, days, n, amount_in_cents, refunded_in_cents)
		FROM analytics_credit_sums
		WHERE (n, amount_in_cents, refunded_in_cents) <> (0, 0, 0)
		EXCEPT
		SELECT 'credits', concat_ws(' ', purchase, day, model, campaign_id, channel, currency, days, sum(sign), sum(amount), sum(refunded))
		FROM (` + credited + `) c
		GROUP BY purchase, day, model, campaign_id, channel, currency, days
		UNION ALL
		SELECT 'credits', 'total ' || total
		FROM (
			SELECT concat_ws(' ', COALESCE(sum(n), 0), COALESCE(sum(amount_in_cents), 0), COALESCE(sum(refunded_in_cents), 0)) AS total FROM analytics_credit_sums
			EXCEPT
			SELECT concat_ws(' ', COALESCE(sum(sign), 0), COALESCE(sum(amount), 0), COALESCE(sum(refunded), 0)) FROM (` + credited + `) c
		) t`
	for _, query := range []string{funnel, days, campaigns, costs, credits, totals} {
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		var what, row string
		if _, err := pgx.ForEachRow(rows, []any{&what, &row}, func() error {
			v.drift("%s: %s is not what businesses add up to", what, row)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
