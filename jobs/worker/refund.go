package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
)

func (a *applier) workRefund(ctx context.Context, job *river.Job[jobs.RefundArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.refund)
}

// refund takes money that was given back off the payment that it belongs to: once, however often it is reported. It
// names its charge as the charge's own deliveries do, and its own id as its id; without an amount it is all of it.
func (a *applier) refund(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	e, err := parseRecurrente(r.Body)
	if err != nil {
		return failed("the body is not a Recurrente delivery"), nil
	}
	if a.RecurrenteLive && e.sandbox() {
		return ignored("sandbox delivery in live mode"), nil
	}
	charge, key := cleanKey(e.chargeKey()), cleanKey(e.ID)
	if charge == "" || key == "" || charge == key {
		return failed("the refund has no id, or names no charge"), nil
	}
	var payment, business, paid int64
	err = tx.QueryRow(ctx, `
		SELECT id, business_id, amount_in_cents
		FROM payments
		WHERE charge_key = $1
		FOR NO KEY UPDATE`, charge).Scan(&payment, &business, &paid)
	if errors.Is(err, pgx.ErrNoRows) {
		return unmatched("charge:" + charge), nil
	}
	if err != nil {
		return result{}, fmt.Errorf("find the payment of a refund: %w", err)
	}
	amount := paid
	for _, n := range []interface{ Int64() (int64, error) }{e.AmountInCents, e.Amount} {
		if v, err := n.Int64(); err == nil {
			amount = v
			break
		}
	}
	if amount <= 0 {
		return failed("the refund's amount is not positive"), nil
	}
	res := result{outcome: outcomeApplied}
	if res.erased, err = lockErasable(ctx, tx, business); err != nil {
		return result{}, err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO refunds (payment_id, amount_in_cents, refund_key, receipt_id, refunded_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (refund_key) DO NOTHING`, payment, amount, key, r.ID, e.at(r.ReceivedAt))
	if err != nil {
		return result{}, fmt.Errorf("record a refund: %w", err)
	}
	if tag.RowsAffected() == 0 {
		res.outcome = outcomeNoChange
		return res, nil
	}
	_, err = tx.Exec(ctx, `
		UPDATE payments
		SET refunded_in_cents = (SELECT sum(amount_in_cents) FROM refunds WHERE payment_id = $1)
		WHERE id = $1`, payment)
	if err != nil {
		return result{}, fmt.Errorf("take a refund off its payment: %w", err)
	}
	return res, nil
}
