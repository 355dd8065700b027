package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workPurchase(ctx context.Context, job *river.Job[jobs.PurchaseArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.purchase)
}

// purchase applies a charge that succeeded. A charge is delivered twice, in the unified and in the legacy form,
// and each perhaps several times: the charge's key makes it count once.
func (a *applier) purchase(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	c, stop, ok, err := a.readCharge(ctx, tx, r)
	if err != nil || !ok {
		return stop, err
	}
	at := c.at(r.ReceivedAt)
	applied, err := pgstore.Apply(ctx, tx, []pgstore.Fact{billingFact(c.site, r, pgstore.Fact{
		Event: lifecycle.PurchaseCompleted, OccurredAt: at, Key: "charge:" + c.key,
	})})
	if err != nil {
		return result{}, err
	}
	amount, err := c.AmountInCents.Int64()
	if err != nil {
		amount, err = c.Amount.Int64() // the enveloped form's name for it
	}
	if err == nil {
		_, err = tx.Exec(ctx, `
			INSERT INTO payments (business_id, site_id, amount_in_cents, currency, charge_key, receipt_id, paid_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (charge_key) DO NOTHING`,
			c.site.businessID, c.site.id, amount, strings.ToUpper(clean(c.Currency)), c.key, r.ID, at)
		if err != nil {
			return result{}, fmt.Errorf("record payment: %w", err)
		}
	}
	res := of(applied)
	if res.wake, err = linkSubscription(ctx, tx, c.site, c.subscriptionID()); err != nil {
		return result{}, err
	}
	// A refund may have come first.
	refunds, err := requeueMatching(ctx, tx, "charge:"+c.key)
	res.wake = append(res.wake, refunds...)
	return res, err
}
