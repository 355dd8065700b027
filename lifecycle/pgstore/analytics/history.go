package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// readHistories reads what the contributions of businesses are made of. A business that does not exist has none.
func readHistories(ctx context.Context, q pgstore.Querier, ids []int64) (map[int64]*history, error) {
	all := make(map[int64]*history, len(ids))
	for _, read := range []func(context.Context, pgstore.Querier, []int64, map[int64]*history) error{
		readBusinesses, readFacts, readMessages, readPayments, readFailures,
	} {
		if err := read(ctx, q, ids, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readBusinesses(ctx context.Context, q pgstore.Querier, ids []int64, all map[int64]*history) error {
	rows, err := q.Query(ctx, `
		SELECT id, COALESCE(country, ''), erased_at IS NOT NULL, test
		FROM businesses
		WHERE id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("read businesses: %w", err)
	}
	var id int64
	var h history
	if _, err := pgx.ForEachRow(rows, []any{&id, &h.country, &h.erased, &h.test}, func() error {
		own := h
		all[id] = &own
		return nil
	}); err != nil {
		return fmt.Errorf("read businesses: %w", err)
	}
	return nil
}

func readFacts(ctx context.Context, q pgstore.Querier, ids []int64, all map[int64]*history) error {
	rows, err := q.Query(ctx, `
		SELECT business_id, event, occurred_at, dedupe_key, COALESCE(message_id, 0)
		FROM facts
		WHERE business_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	var id int64
	var f fact
	if _, err := pgx.ForEachRow(rows, []any{&id, &f.Event, &f.OccurredAt, &f.Key, &f.message}, func() error {
		if h := all[id]; h != nil {
			h.facts = append(h.facts, f)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return nil
}

func readMessages(ctx context.Context, q pgstore.Querier, ids []int64, all map[int64]*history) error {
	rows, err := q.Query(ctx, `
		SELECT business_id, id, campaign_id, COALESCE(price::text, ''), COALESCE(price_unit, '')
		FROM messages
		WHERE business_id = ANY($1) AND campaign_id IS NOT NULL`, ids)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	var business, id int64
	var m message
	if _, err := pgx.ForEachRow(rows, []any{&business, &id, &m.campaign, &m.price, &m.unit}, func() error {
		h := all[business]
		if h == nil {
			return nil
		}
		if h.messages == nil {
			h.messages = map[int64]message{}
		}
		h.messages[id] = m
		return nil
	}); err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	return nil
}

func readPayments(ctx context.Context, q pgstore.Querier, ids []int64, all map[int64]*history) error {
	rows, err := q.Query(ctx, `
		SELECT business_id, id, paid_at, currency, amount_in_cents, refunded_in_cents
		FROM payments
		WHERE business_id = ANY($1)
		ORDER BY id`, ids)
	if err != nil {
		return fmt.Errorf("read payments: %w", err)
	}
	var business int64
	var p payment
	if _, err := pgx.ForEachRow(rows, []any{&business, &p.id, &p.at, &p.currency, &p.amount, &p.refunded}, func() error {
		if h := all[business]; h != nil {
			h.payments = append(h.payments, p)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read payments: %w", err)
	}
	return nil
}

func readFailures(ctx context.Context, q pgstore.Querier, ids []int64, all map[int64]*history) error {
	rows, err := q.Query(ctx, `SELECT business_id, failed_at FROM failed_charges WHERE business_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("read failed charges: %w", err)
	}
	var business int64
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&business, &at}, func() error {
		if h := all[business]; h != nil {
			h.failures = append(h.failures, at)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read failed charges: %w", err)
	}
	return nil
}
