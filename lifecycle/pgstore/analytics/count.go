package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// count counts businesses anew: what they contributed is taken out of the sums, what they contribute now put in. Whatever
// made their history, and in whatever order it came, the sums are those of what is stored now. The caller holds the
// lock of analytics_progress.
func count(ctx context.Context, tx pgx.Tx, ids []int64) error {
	ids = sortedIDs(ids)
	histories, err := readHistories(ctx, tx, ids)
	if err != nil {
		return err
	}
	before, err := readStored(ctx, tx, ids)
	if err != nil {
		return err
	}
	delta := newSums()
	var w writer
	for _, id := range ids {
		var now contribution
		if h := histories[id]; h != nil {
			now = h.fold()
		}
		row, err := now.row()
		if err != nil {
			return err
		}
		was := before[id]
		if was.customer || row.customer {
			w.customer(id, now)
		}
		if row.same(was) {
			continue
		}
		if err := delta.add(was, -1); err != nil {
			return err
		}
		if err := delta.add(row, 1); err != nil {
			return err
		}
		w.business(id, row)
	}
	if err := w.write(ctx, tx, delta); err != nil {
		return err
	}
	return delta.write(ctx, tx)
}

// writer collects the rows of businesses, so that each table takes one statement.
type writer struct {
	gone []int64 // from analytics_businesses

	ids, campaign             []int64
	at                        []*time.Time
	channel, country, touches []*string
	furthest                  []int16
	isCustomer                []bool
	customers                 []int64 // whose credits and customer's row are replaced
	credits                   [][]any
	added                     []credit
	atRisk                    [][]any
}

func (w *writer) business(id int64, r stored) {
	if r.empty() {
		w.gone = append(w.gone, id)
		return
	}
	var at *time.Time
	if !r.contactedAt.IsZero() {
		at = &r.contactedAt
	}
	w.ids, w.at, w.channel = append(w.ids, id), append(w.at, at), append(w.channel, orNil(r.channel))
	w.campaign, w.country, w.furthest = append(w.campaign, r.campaign), append(w.country, &r.country), append(w.furthest, int16(r.furthest))
	w.touches, w.isCustomer = append(w.touches, orNil(r.touches)), append(w.isCustomer, r.customer)
}

func (w *writer) customer(id int64, c contribution) {
	w.customers = append(w.customers, id)
	for _, r := range c.credits {
		w.credits = append(w.credits, []any{
			id, r.payment, string(r.model), int32(r.from), int32(r.until), r.campaign, r.channel, r.at, r.currency, r.amount, r.refunded,
			r.touchedOrNil(),
		})
		w.added = append(w.added, r)
	}
	if k := c.customer; k != nil {
		w.atRisk = append(w.atRisk, []any{
			id, k.purchasedAt, k.aliveAt, timeOrNil(k.pastDueAt), timeOrNil(k.pausedAt), timeOrNil(k.ticketAt), timeOrNil(k.failed),
			int32(k.failedCharges),
		})
	}
}

func (w *writer) write(ctx context.Context, tx pgx.Tx, delta *sums) error {
	if len(w.gone) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM analytics_businesses WHERE business_id = ANY($1)`, w.gone); err != nil {
			return fmt.Errorf("delete contributions: %w", err)
		}
	}
	if len(w.ids) > 0 {
		_, err := tx.Exec(ctx, `
			INSERT INTO analytics_businesses (business_id, contacted_at, channel, campaign_id, country, furthest, touches, customer)
			SELECT *
			FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::bigint[], $5::text[], $6::smallint[], $7::text[], $8::bool[])
			ON CONFLICT (business_id) DO UPDATE
			SET contacted_at = EXCLUDED.contacted_at, channel = EXCLUDED.channel, campaign_id = EXCLUDED.campaign_id,
				country = EXCLUDED.country, furthest = EXCLUDED.furthest, touches = EXCLUDED.touches, customer = EXCLUDED.customer`,
			w.ids, w.at, w.channel, w.campaign, w.country, w.furthest, w.touches, w.isCustomer)
		if err != nil {
			return fmt.Errorf("write contributions: %w", err)
		}
	}
	if len(w.customers) == 0 {
		return nil
	}
	if err := w.replaceCredits(ctx, tx, delta); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM analytics_customers WHERE business_id = ANY($1)`, w.customers); err != nil {
		return fmt.Errorf("clear customers: %w", err)
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"analytics_customers"}, []string{
		"business_id", "purchased_at", "alive_at", "past_due_at", "paused_at", "ticket_at", "failed_at", "failed_charges",
	}, pgx.CopyFromRows(w.atRisk))
	if err != nil {
		return fmt.Errorf("write customers: %w", err)
	}
	return nil
}

// replaceCredits writes the credits of customers anew, and adds what changed to the sums.
func (w *writer) replaceCredits(ctx context.Context, tx pgx.Tx, delta *sums) error {
	rows, err := tx.Query(ctx, `
		DELETE FROM analytics_credits
		WHERE business_id = ANY($1)
		RETURNING payment_id, model, from_days, until_days, campaign_id, channel, at, currency, amount_in_cents, refunded_in_cents`, w.customers)
	if err != nil {
		return fmt.Errorf("clear credits: %w", err)
	}
	var c credit
	if _, err := pgx.ForEachRow(rows, []any{
		&c.payment, &c.model, &c.from, &c.until, &c.campaign, &c.channel, &c.at, &c.currency, &c.amount, &c.refunded,
	}, func() error {
		delta.credit(c, -1)
		return nil
	}); err != nil {
		return fmt.Errorf("clear credits: %w", err)
	}
	for _, c := range w.added {
		delta.credit(c, 1)
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"analytics_credits"}, []string{
		"business_id", "payment_id", "model", "from_days", "until_days", "campaign_id", "channel", "at", "currency",
		"amount_in_cents", "refunded_in_cents", "touched_days",
	}, pgx.CopyFromRows(w.credits))
	if err != nil {
		return fmt.Errorf("write credits: %w", err)
	}
	return nil
}

// touchedOrNil is touched_days as it is stored.
func (c credit) touchedOrNil() any {
	if c.touched < 0 {
		return nil
	}
	return int32(c.touched)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
