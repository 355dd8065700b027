package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// HaltedCampaign reads the status of a campaign that is paused or cancelled and keeps it so until the end of the
// transaction; "" where it is neither.
func HaltedCampaign(ctx context.Context, tx pgx.Tx, campaignID int64) (status, channel string, err error) {
	err = tx.QueryRow(ctx, `
		SELECT status, channel
		FROM campaigns
		WHERE id = $1 AND status IN ('paused', 'cancelled')
		FOR SHARE`, campaignID).Scan(&status, &channel)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read campaign %d: %w", campaignID, err)
	}
	return status, channel, nil
}

// CancelQueued ends the next of a cancelled campaign's messages that are still queued, limit of them at most behind the
// given one, and counts them. It returns the last; 0 when there was none.
func CancelQueued(ctx context.Context, tx pgx.Tx, campaignID, behind int64, limit int) (last int64, err error) {
	rows, err := tx.Query(ctx, `
		WITH queued AS (
			SELECT id
			FROM messages
			WHERE campaign_id = $1 AND id > $2 AND state = 'queued'
			ORDER BY id
			LIMIT $3
			FOR NO KEY UPDATE
		)
		UPDATE messages m
		SET state = 'canceled', reason = 'campaign_cancelled', updated_at = now()
		FROM queued
		WHERE m.id = queued.id
		RETURNING m.id`, campaignID, behind, limit)
	if err != nil {
		return 0, fmt.Errorf("cancel the queued messages of campaign %d: %w", campaignID, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("cancel the queued messages of campaign %d: %w", campaignID, err)
	}
	for _, id := range ids {
		last = max(last, id)
	}
	return last, counting{
		{campaignID, bulkShard, string(lifecycle.MessageQueued)}:   -int64(len(ids)),
		{campaignID, bulkShard, string(lifecycle.MessageCanceled)}: int64(len(ids)),
	}.write(ctx, tx)
}
