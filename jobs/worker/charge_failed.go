package worker

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
)

func (a *applier) workChargeFailed(ctx context.Context, job *river.Job[jobs.ChargeFailedArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.chargeFailed)
}

// chargeFailed records a charge that failed. It moves no status: the subscription's own events do that.
func (a *applier) chargeFailed(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	c, stop, ok, err := a.readCharge(ctx, tx, r)
	if err != nil || !ok {
		return stop, err
	}
	res := result{outcome: outcomeApplied}
	if res.erased, err = lockErasable(ctx, tx, c.site.businessID); err != nil {
		return result{}, err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO failed_charges (business_id, site_id, charge_key, receipt_id, failed_at)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (charge_key) DO NOTHING`, c.site.businessID, c.site.id, c.key, r.ID, c.at(r.ReceivedAt))
	if err != nil {
		return result{}, fmt.Errorf("record a failed charge: %w", err)
	}
	if tag.RowsAffected() == 0 {
		res.outcome = outcomeNoChange
	}
	return res, nil
}

// lockErasable keeps an erasure from passing, and reports whether one has: what brought the receipt is blanked then.
func lockErasable(ctx context.Context, tx pgx.Tx, businessID int64) (erased bool, err error) {
	err = tx.QueryRow(ctx, `SELECT erased_at IS NOT NULL FROM businesses WHERE id = $1 FOR KEY SHARE`, businessID).Scan(&erased)
	if err != nil {
		return false, fmt.Errorf("look for an erasure: %w", err)
	}
	return erased, nil
}
