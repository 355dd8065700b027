package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Receipt names a stored request, enough to enqueue the job that applies it.
type Receipt struct {
	ID       uuid.UUID
	Provider string
	Kind     string
}

// LockMatchKeys makes the transactions that create what a key names and those that find nothing by it wait for
// each other, until the end of the transaction. Both call it before they look: so either the receipt is found
// waiting, or it finds what it looked for.
func LockMatchKeys(ctx context.Context, tx pgx.Tx, keys []string) error {
	// One order of locks for everybody.
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	if len(keys) == 0 {
		return nil
	}
	// The array's order is the order of the rows, and so of the locks.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(k, 7206813)) FROM unnest($1::text[]) AS u (k)`, keys); err != nil {
		return fmt.Errorf("lock match keys: %w", err)
	}
	return nil
}

// RequeueMatching takes the receipts that wait for any of the keys (message:SID, subscription:ID, site:ID,
// sms:ADDRESS) and makes them unprocessed again; nothing is lost when the transaction is not committed. The
// caller, who has just created what the keys name, enqueues a job for each in the same transaction.
func RequeueMatching(ctx context.Context, tx pgx.Tx, keys []string) ([]Receipt, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if err := LockMatchKeys(ctx, tx, keys); err != nil {
		return nil, err
	}
	// The join drops what is past its retention: without the raw request there is nothing to apply.
	rows, err := tx.Query(ctx, `
		WITH taken AS (
			DELETE FROM receipt_outcomes
			WHERE outcome = 'unmatched' AND match_key = ANY($1)
			RETURNING receipt_id
		)
		SELECT w.id, w.provider, w.kind
		FROM taken t
		JOIN webhook_events w ON w.id = t.receipt_id
		ORDER BY w.id`, keys)
	if err != nil {
		return nil, fmt.Errorf("take unmatched receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Receipt])
	if err != nil {
		return nil, fmt.Errorf("take unmatched receipts: %w", err)
	}
	return list, nil
}

// ErrNotUnresolved says that the outcome of a message's send is not in question.
var ErrNotUnresolved = errors.New("the message is neither unknown nor held")

// RequeueMessage puts a message whose send had an unknown outcome back to queued, after somebody made sure that
// it was not sent. The caller enqueues its send in the same transaction and, last, counts the move with
// [Raised.Count].
func RequeueMessage(ctx context.Context, tx pgx.Tx, messageID int64) (Raised, error) {
	out := Raised{MessageID: messageID, To: lifecycle.MessageQueued, Up: true}
	var campaign *int64
	err := tx.QueryRow(ctx, `
		WITH old AS (
			SELECT id, state
			FROM messages
			WHERE id = $1 AND state IN ('unknown', 'held')
			FOR NO KEY UPDATE
		), freed AS (
			DELETE FROM dispatches d
			USING old
			WHERE d.message_id = old.id
		)
		UPDATE messages m
		SET state = 'queued', reason = NULL, updated_at = now()
		FROM old
		WHERE m.id = old.id
		RETURNING old.state, m.campaign_id, m.business_id, m.channel, m.address`, messageID,
	).Scan(&out.From, &campaign, &out.BusinessID, &out.Channel, &out.Address)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, fmt.Errorf("requeue message %d: %w", messageID, ErrNotUnresolved)
	}
	if err != nil {
		return out, fmt.Errorf("requeue message %d: %w", messageID, err)
	}
	out.CampaignID = orZero(campaign)
	return out, nil
}
