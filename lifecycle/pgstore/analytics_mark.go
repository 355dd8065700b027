package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// markPriced has analytics count the businesses anew whose messages' prices came with a report: no fact says so. Prices
// come with look-ups, hardly ever with callbacks: these write nothing here.
func markPriced(ctx context.Context, tx pgx.Tx, reports []Report, raised []Raised, byID map[int64]int) error {
	var ids []int64
	for _, r := range raised {
		if r.CampaignID != 0 && reports[byID[r.MessageID]].Price != "" {
			ids = append(ids, r.BusinessID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO analytics_changed (business_id) SELECT unnest($1::bigint[])`, ids); err != nil {
		return fmt.Errorf("have analytics count prices: %w", err)
	}
	return nil
}
