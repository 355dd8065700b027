package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const markChanged = `INSERT INTO analytics_changed (business_id) SELECT unnest($1::bigint[])`

// markPriced has analytics count businesses anew whose messages' prices came with a report: no fact says so. Prices come
// with look-ups, hardly ever with callbacks: these write nothing here.
func markPriced(ctx context.Context, tx pgx.Tx, businesses []int64) error {
	if len(businesses) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, markChanged, businesses); err != nil {
		return fmt.Errorf("have analytics count prices: %w", err)
	}
	return nil
}
