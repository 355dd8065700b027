package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Moved is a step that a business took on one of its axes.
type Moved struct {
	At       time.Time
	Axis     lifecycle.Axis
	From, To lifecycle.Status
	Event    lifecycle.Event
	Source   Source
}

// maxMoved is how many steps are read: the newest. A business has some twenty.
const maxMoved = 500

// MovesOf returns the steps by which a business came to its statuses, oldest first.
func MovesOf(ctx context.Context, q Querier, businessID int64) ([]Moved, error) {
	rows, err := q.Query(ctx, `
		SELECT *
		FROM (
			SELECT t.at, t.axis, t.from_status, t.to_status, f.event, f.source, t.id
			FROM transitions t
			JOIN facts f ON f.id = t.fact_id
			WHERE t.business_id = $1 AND t.from_status <> t.to_status AND t.axis IN ('contact', 'website', 'subscription', 'ticket')
			ORDER BY t.id DESC
			LIMIT $2
		) newest
		ORDER BY id`, businessID, maxMoved)
	if err != nil {
		return nil, fmt.Errorf("read the steps of a business: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Moved, error) {
		var m Moved
		var id int64
		err := row.Scan(&m.At, &m.Axis, &m.From, &m.To, &m.Event, &m.Source, &id)
		m.At = m.At.UTC()
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the steps of a business: %w", err)
	}
	return list, nil
}

// Payment is a charge that succeeded.
type Payment struct {
	PaidAt                time.Time
	AmountCents, Refunded int64
	Currency              string
	ReceiptID             *string // webhook_events.id
}

// PaymentsOf returns the payments of a business, newest first, limit of them at most.
func PaymentsOf(ctx context.Context, q Querier, businessID int64, limit int) ([]Payment, error) {
	rows, err := q.Query(ctx, `
		SELECT paid_at, amount_in_cents, refunded_in_cents, currency, receipt_id::text
		FROM payments
		WHERE business_id = $1
		ORDER BY paid_at DESC, id DESC
		LIMIT $2`, businessID, limit)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Payment, error) {
		var p Payment
		err := row.Scan(&p.PaidAt, &p.AmountCents, &p.Refunded, &p.Currency, &p.ReceiptID)
		p.PaidAt = p.PaidAt.UTC()
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	return list, nil
}
