package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Report is what is now known of a message.
type Report struct {
	MessageID   int64
	State       lifecycle.MessageState
	ProviderSID string // "" keeps what is there
	ErrorCode   string // counts only with failed and undelivered
	Reason      string
	Segments    int
	Price       string
	PriceUnit   string
	At          time.Time // when the provider said so: becomes sent_at or delivered_at
}

// Raised is what a report did to a message.
type Raised struct {
	MessageID    int64
	From, To     lifecycle.MessageState
	Up           bool // the report raised the state: only then may it touch the business
	CampaignID   int64
	BusinessID   int64
	Channel      string
	Address      string
	DispatchedAt *time.Time
}

// ErrNoMessage says that a report names a message that does not exist.
var ErrNoMessage = errors.New("no such message")

// Raise takes a report into the message lattice: one conditional UPDATE, in which the higher state wins. It
// frees the message's entry in dispatches when the state rose. A SID is kept in any case: a report that comes
// late still tells which message it was. The caller counts the move with [Raised.Count], last in its transaction.
func Raise(ctx context.Context, tx pgx.Tx, r Report) (Raised, error) {
	out := Raised{MessageID: r.MessageID}
	var campaign *int64
	var errorCode, reason *string
	if r.State == lifecycle.MessageFailed || r.State == lifecycle.MessageUndelivered {
		errorCode = orNil(r.ErrorCode)
	}
	reason = orNil(r.Reason)
	err := tx.QueryRow(ctx, `
		WITH old AS (
			SELECT id, state
			FROM messages
			WHERE id = $1
			FOR NO KEY UPDATE
		)
		UPDATE messages m
		SET state = CASE WHEN up THEN $2 ELSE m.state END,
			provider_sid = COALESCE(m.provider_sid, $3),
			error_code = CASE WHEN up THEN $4 ELSE m.error_code END,
			reason = CASE WHEN up THEN $5 ELSE m.reason END,
			segments = COALESCE($6, m.segments),
			price = COALESCE($7::numeric, m.price),
			price_unit = COALESCE($8, m.price_unit),
			sent_at = CASE WHEN onward_message_rank($2) >= 2 AND $2 <> 'canceled' THEN COALESCE(m.sent_at, m.dispatched_at, $9) ELSE m.sent_at END,
			delivered_at = CASE WHEN up AND $2 IN ('delivered', 'read') THEN COALESCE(m.delivered_at, $9) ELSE m.delivered_at END,
			updated_at = now()
		FROM (SELECT id, state, onward_message_rank($2) > onward_message_rank(state) AS up FROM old) o
		WHERE m.id = o.id
		RETURNING o.state, m.state, o.up, m.campaign_id, m.business_id, m.channel, m.address, m.dispatched_at`,
		r.MessageID, string(r.State), orNil(r.ProviderSID), errorCode, reason, orNil(r.Segments), orNil(r.Price), orNil(r.PriceUnit), r.At,
	).Scan(&out.From, &out.To, &out.Up, &campaign, &out.BusinessID, &out.Channel, &out.Address, &out.DispatchedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, fmt.Errorf("report on message %d: %w", r.MessageID, ErrNoMessage)
	}
	if err != nil {
		return out, fmt.Errorf("report on message %d: %w", r.MessageID, err)
	}
	if campaign != nil {
		out.CampaignID = *campaign
	}
	if !out.Up {
		return out, nil
	}
	if out.From != lifecycle.MessageQueued && out.From.Rank() <= lifecycle.MessageDispatching.Rank() {
		if _, err := tx.Exec(ctx, `DELETE FROM dispatches WHERE message_id = $1`, r.MessageID); err != nil {
			return out, fmt.Errorf("close the dispatch of message %d: %w", r.MessageID, err)
		}
	}
	return out, nil
}

// Count moves the campaign's counters as the message moved.
func (r Raised) Count(ctx context.Context, tx pgx.Tx) error {
	if !r.Up {
		return nil
	}
	return Count(ctx, tx, r.CampaignID, r.MessageID, string(r.From), string(r.To))
}

// counterShards spreads a campaign's counters over rows, so that workers do not queue on one. 16 is four
// times the committers of four worker processes.
const counterShards = 16

// Count moves one message of a campaign from one counter to another; "" stands for nowhere. It is called
// last in a transaction: its row locks are held shortest.
func Count(ctx context.Context, tx pgx.Tx, campaignID, messageID int64, from, to string) error {
	if campaignID == 0 || from == to {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
		SELECT $1, $2, state, sum(n)
		FROM (VALUES ($3::text, -1), ($4::text, 1)) AS moved (state, n)
		WHERE state <> ''
		GROUP BY state
		ORDER BY state
		ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n`,
		campaignID, messageID%counterShards, from, to)
	if err != nil {
		return fmt.Errorf("count a message of campaign %d: %w", campaignID, err)
	}
	return nil
}

// CountMany adds new queued messages to a campaign's counters, and businesses that were skipped by reason
// (skipped_REASON).
func CountMany(ctx context.Context, tx pgx.Tx, campaignID int64, queued []int64, skipped map[string]int64) error {
	var shards [counterShards]int64
	for _, id := range queued {
		shards[id%counterShards]++
	}
	var (
		shard  []int64
		states []string
		n      []int64
	)
	for i, count := range shards {
		if count > 0 {
			shard, states, n = append(shard, int64(i)), append(states, string(lifecycle.MessageQueued)), append(n, count)
		}
	}
	for reason, count := range skipped {
		shard, states, n = append(shard, 0), append(states, reason), append(n, count)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
		SELECT $1, u.shard, u.state, u.n
		FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS u (shard, state, n)
		ORDER BY u.shard, u.state
		ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n`, campaignID, shard, states, n)
	if err != nil {
		return fmt.Errorf("count new messages of campaign %d: %w", campaignID, err)
	}
	return nil
}
