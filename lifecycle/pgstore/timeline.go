package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The kinds of timeline items.
const (
	TimelineTransition = "transition" // what a fact did to one axis
	TimelineMessage    = "message"    // a message of ours, with the state that it is in now
	TimelineReply      = "reply"      // a message of theirs, with what was made of it
	TimelinePayment    = "payment"
	TimelineAction     = "action" // what an operator, or a program with a token, did
)

// TimelineItem is one thing that happened to a business. What an item does not have is zero.
type TimelineItem struct {
	At       time.Time // when it was recorded: the order of the timeline, which nothing moves later
	Kind     string
	Event    string
	Axis     string
	From, To string
	Verdict  string
	Source   TimelineSource
	Note     string

	OccurredAt *time.Time // when it happened, by the clock of whoever reported it
	Channel    string
	FactID     int64
	JobID      int64
	ActionID   int64
	ReceiptID  uuid.UUID // webhook_events.id
	MessageID  uuid.UUID // messages.public_id

	// Job is the job that recorded the fact, for as long as the queue keeps it; Receipt the raw request that led to it,
	// until its retention ends.
	Job     *TimelineJob
	Receipt *TimelineReceipt

	Position TimelinePosition
}

// TimelineJob is how a job stands.
type TimelineJob struct {
	ID          int64
	Kind        string
	State       string
	Attempt     int
	MaxAttempts int
	LastError   string // of its last attempt that failed; "" where none did
}

// TimelineReceipt names a raw request and what came of it.
type TimelineReceipt struct {
	ID         uuid.UUID
	Provider   string
	Kind       string
	ReceivedAt time.Time
	Outcome    string // pending, while there is none
}

// TimelineSource says where an item can be followed back to: the receipt's id for webhook, the message's for
// message, the actor's name for operator and api.
type TimelineSource struct {
	Type, ID string
}

// TimelinePosition is the place of an item: what comes before it is older.
type TimelinePosition struct {
	At   time.Time `json:"t"`
	Rank int       `json:"r"`
	ID   int64     `json:"i"`
}

// timelineQuery brings every kind to the same columns, and adds to the items of the page their jobs and receipts. Of
// what was recorded in one instant, the cause (rank 1) is older than its effects (rank 5).
const timelineQuery = `
	WITH page AS (
		SELECT at, kind, event, axis, from_status, to_status, verdict, source_type, source_id, note,
			occurred_at, channel, fact_id, job_id, action_id, receipt_id, message_id, rank, id
		FROM (
			SELECT t.at, 'transition' AS kind, f.event, t.axis, t.from_status, t.to_status, t.verdict, f.source AS source_type,
				CASE f.source
					WHEN 'webhook' THEN f.receipt_id::text
					WHEN 'message' THEN m.public_id::text
					ELSE a.actor
				END AS source_id,
				f.note, f.occurred_at, m.channel, f.id AS fact_id, f.job_id, f.action_id, f.receipt_id, m.public_id AS message_id,
				5 AS rank, t.id
			FROM transitions t
			JOIN facts f ON f.id = t.fact_id
			LEFT JOIN messages m ON m.id = f.message_id
			LEFT JOIN operator_actions a ON a.id = f.action_id
			WHERE t.business_id = $1
			UNION ALL
			SELECT p.recorded_at, 'payment', 'charge', NULL, NULL, NULL, NULL,
				CASE WHEN p.receipt_id IS NULL THEN 'system' ELSE 'webhook' END, p.receipt_id::text,
				(p.amount_in_cents / 100.0)::numeric(20, 2)::text || ' ' || p.currency, p.paid_at, NULL, NULL, NULL, NULL, p.receipt_id, NULL,
				4, p.id
			FROM payments p
			WHERE p.business_id = $1
			UNION ALL
			SELECT i.received_at, 'reply', i.action, NULL, NULL, NULL, NULL, 'webhook', i.receipt_id::text,
				left(i.body, 500), i.received_at, i.channel, NULL, NULL, NULL, i.receipt_id, m.public_id,
				3, i.id
			FROM inbound_messages i
			LEFT JOIN messages m ON m.id = i.message_id
			WHERE i.business_id = $1
			UNION ALL
			SELECT m.queued_at, 'message', m.state, NULL, NULL, m.state, NULL, 'message', m.public_id::text,
				left(m.body, 500), COALESCE(m.sent_at, m.dispatched_at), m.channel, NULL, NULL, NULL, NULL, m.public_id,
				2, m.id
			FROM messages m
			WHERE m.business_id = $1
			UNION ALL
			SELECT a.at, 'action', a.action, NULL, NULL, NULL, NULL, 'operator', a.actor,
				a.reason, NULL, NULL, NULL, NULL, a.id, NULL, NULL,
				1, a.id
			FROM operator_actions a
			WHERE a.target_type = 'business' AND a.target_id = (SELECT b.public_id::text FROM businesses b WHERE b.id = $1)
		) u
		WHERE $2::timestamptz IS NULL OR (at, rank, id) < ($2, $3, $4)
		ORDER BY at DESC, rank DESC, id DESC
		LIMIT $5
	)
	SELECT p.*, j.kind, j.state::text, j.attempt, j.max_attempts, j.errors[array_upper(j.errors, 1)] ->> 'error',
		w.provider, w.kind, w.received_at, COALESCE(o.outcome, 'pending')
	FROM page p
	LEFT JOIN river_job j ON j.id = p.job_id
	LEFT JOIN webhook_events w ON w.id = p.receipt_id
	LEFT JOIN receipt_outcomes o ON o.receipt_id = w.id
	ORDER BY p.at DESC, p.rank DESC, p.id DESC`

// Timeline returns at most limit items of a business, newest first, older than a position (nil: from the top).
func Timeline(ctx context.Context, q Querier, businessID int64, before *TimelinePosition, limit int) ([]TimelineItem, error) {
	var at *time.Time
	var rank int
	var id int64
	if before != nil {
		at, rank, id = &before.At, before.Rank, before.ID
	}
	rows, err := q.Query(ctx, timelineQuery, businessID, at, rank, id, limit)
	if err != nil {
		return nil, fmt.Errorf("read timeline: %w", err)
	}
	items, err := pgx.CollectRows(rows, scanTimelineItem)
	if err != nil {
		return nil, fmt.Errorf("read timeline: %w", err)
	}
	return items, nil
}

func scanTimelineItem(row pgx.CollectableRow) (TimelineItem, error) {
	var i TimelineItem
	var axis, from, to, verdict, sourceID, note, channel *string
	var fact, job, action *int64
	var receipt, message *uuid.UUID
	var j struct {
		kind, state, lastError *string
		attempt, maxAttempts   *int
	}
	var w struct {
		provider, kind *string
		at             *time.Time
		outcome        string
	}
	err := row.Scan(&i.At, &i.Kind, &i.Event, &axis, &from, &to, &verdict, &i.Source.Type, &sourceID, &note,
		&i.OccurredAt, &channel, &fact, &job, &action, &receipt, &message, &i.Position.Rank, &i.Position.ID,
		&j.kind, &j.state, &j.attempt, &j.maxAttempts, &j.lastError, &w.provider, &w.kind, &w.at, &w.outcome)
	i.At = i.At.UTC()
	i.Position.At = i.At
	if i.OccurredAt != nil {
		utc := i.OccurredAt.UTC()
		i.OccurredAt = &utc
	}
	i.Axis, i.From, i.To, i.Verdict = orZero(axis), orZero(from), orZero(to), orZero(verdict)
	i.Source.ID, i.Note, i.Channel = orZero(sourceID), orZero(note), orZero(channel)
	i.FactID, i.JobID, i.ActionID = orZero(fact), orZero(job), orZero(action)
	i.ReceiptID, i.MessageID = orZero(receipt), orZero(message)
	if j.kind != nil {
		i.Job = &TimelineJob{
			ID: i.JobID, Kind: *j.kind, State: orZero(j.state), Attempt: orZero(j.attempt), MaxAttempts: orZero(j.maxAttempts),
			LastError: orZero(j.lastError),
		}
	}
	if w.provider != nil {
		i.Receipt = &TimelineReceipt{
			ID: i.ReceiptID, Provider: *w.provider, Kind: orZero(w.kind), ReceivedAt: orZero(w.at).UTC(), Outcome: w.outcome,
		}
	}
	return i, err
}
