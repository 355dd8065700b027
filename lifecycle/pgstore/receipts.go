package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// OutcomePending stands for a receipt that has no outcome yet.
const OutcomePending = "pending"

// ReceiptOutcomes lists what may come of a receipt.
func ReceiptOutcomes() []string {
	return []string{"applied", "no_change", "ignored", "unmatched", "failed", OutcomePending}
}

// ReceiptFilter selects receipts; a zero field selects all.
type ReceiptFilter struct {
	Providers, Kinds, Outcomes []string // any of
	Since, Until               time.Time
	// BusinessID selects those that concern a contact: by what they led to, or by the person that they name.
	BusinessID int64
}

// ReceiptRow is a receipt, without its raw request, and what came of it.
type ReceiptRow struct {
	ID          uuid.UUID  `json:"id"`
	Provider    string     `json:"provider"`
	Kind        string     `json:"kind"`
	ReceivedAt  time.Time  `json:"received_at"`
	Outcome     string     `json:"outcome"`
	Detail      string     `json:"detail"`
	MatchKey    string     `json:"match_key"` // what an unmatched one waits for
	ProcessedAt *time.Time `json:"processed_at"`
	DedupeKey   string     `json:"dedupe_key"`
	ContactKey  string     `json:"contact_key"`
	ErasedAt    *time.Time `json:"erased_at"`
}

// receiptRowColumns are those that [scanReceiptRow] reads.
const receiptRowColumns = `w.id, w.provider, w.kind, w.received_at, COALESCE(o.outcome, 'pending'), COALESCE(o.detail, ''), COALESCE(o.match_key, ''),
	o.processed_at, w.dedupe_key, COALESCE(w.contact_key, ''), w.erased_at`

func (r *ReceiptRow) scan() []any {
	return []any{
		&r.ID, &r.Provider, &r.Kind, &r.ReceivedAt, &r.Outcome, &r.Detail, &r.MatchKey,
		&r.ProcessedAt, &r.DedupeKey, &r.ContactKey, &r.ErasedAt,
	}
}

func (r *ReceiptRow) toUTC() {
	r.ReceivedAt = r.ReceivedAt.UTC()
	for _, t := range []**time.Time{&r.ProcessedAt, &r.ErasedAt} {
		if *t != nil {
			utc := (*t).UTC()
			*t = &utc
		}
	}
}

// ListReceipts returns at most limit receipts, newest first, older than one (Nil: from the newest).
func ListReceipts(ctx context.Context, q Querier, f ReceiptFilter, before uuid.UUID, limit int) ([]ReceiptRow, error) {
	w := f.where()
	if before != uuid.Nil {
		w.add(`w.id < $%d`, before)
	}
	list, err := readReceipts(ctx, q, w, `DESC`, limit)
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return list, nil
}

// ReceiptsAfter returns at most limit receipts in the order in which they came, younger than one (Nil: from the oldest).
func ReceiptsAfter(ctx context.Context, q Querier, f ReceiptFilter, after uuid.UUID, limit int) ([]ReceiptRow, error) {
	w := f.where()
	if after != uuid.Nil {
		w.add(`w.id > $%d`, after)
	}
	list, err := readReceipts(ctx, q, w, `ASC`, limit)
	if err != nil {
		return nil, fmt.Errorf("walk through receipts: %w", err)
	}
	return list, nil
}

func readReceipts(ctx context.Context, q Querier, w *receiptWhere, order string, limit int) ([]ReceiptRow, error) {
	w.args = append(w.args, limit)
	rows, err := q.Query(ctx, fmt.Sprintf(`
		SELECT %s
		FROM webhook_events w
		LEFT JOIN receipt_outcomes o ON o.receipt_id = w.id
		WHERE %s
		ORDER BY w.id %s
		LIMIT $%d`, receiptRowColumns, w, order, len(w.args)), w.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptRow, error) {
		var r ReceiptRow
		err := row.Scan(r.scan()...)
		r.toUTC()
		return r, err
	})
}

// CountReceipts counts what a filter selects.
func CountReceipts(ctx context.Context, q Querier, f ReceiptFilter) (n int64, err error) {
	w := f.where()
	err = q.QueryRow(ctx, `
		SELECT count(*)
		FROM webhook_events w
		LEFT JOIN receipt_outcomes o ON o.receipt_id = w.id
		WHERE `+w.String(), w.args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count receipts: %w", err)
	}
	return n, nil
}

// receiptWhere collects conditions and their arguments.
type receiptWhere struct {
	terms []string
	args  []any
}

// add takes a condition that names its one argument as $%d, or $%[1]d where it does so more than once.
func (w *receiptWhere) add(term string, arg any) {
	w.args = append(w.args, arg)
	w.terms = append(w.terms, fmt.Sprintf(term, len(w.args)))
}

func (w *receiptWhere) String() string {
	if len(w.terms) == 0 {
		return "true"
	}
	return strings.Join(w.terms, "\n\t\t\tAND ")
}

// outcomeTerm spells outcomes out, so that the index of those that need attention can serve; there is a closed set of
// them.
func outcomeTerm(outcomes []string) string {
	var named []string
	term := "false"
	for _, known := range ReceiptOutcomes() {
		switch {
		case !slices.Contains(outcomes, known):
		case known == OutcomePending:
			term = "o.receipt_id IS NULL"
		default:
			named = append(named, "'"+known+"'")
		}
	}
	if len(named) == 0 {
		return term
	}
	in := "o.outcome IN (" + strings.Join(named, ", ") + ")"
	if term == "false" {
		return in
	}
	return "(" + in + " OR " + term + ")"
}

// where selects by id wherever it can: the partitions are cut by it. An id carries the time of acceptance, which is
// close to received_at, by another clock.
func (f ReceiptFilter) where() *receiptWhere {
	w := &receiptWhere{}
	if len(f.Providers) > 0 {
		w.add(`w.provider = ANY($%d)`, f.Providers)
	}
	if len(f.Kinds) > 0 {
		w.add(`w.kind = ANY($%d)`, f.Kinds)
	}
	if len(f.Outcomes) > 0 {
		w.terms = append(w.terms, outcomeTerm(f.Outcomes))
	}
	if !f.Since.IsZero() {
		w.add(`w.received_at >= $%[1]d AND w.id >= onward_uuid_floor($%[1]d::timestamptz - interval '1 hour')`, f.Since)
	}
	if !f.Until.IsZero() {
		w.add(`w.received_at < $%[1]d AND w.id < onward_uuid_floor($%[1]d::timestamptz + interval '1 hour')`, f.Until)
	}
	if f.BusinessID != 0 {
		w.add(`w.id IN (
				SELECT f.receipt_id FROM facts f WHERE f.business_id = $%[1]d AND f.receipt_id IS NOT NULL
				UNION
				SELECT i.receipt_id FROM inbound_messages i WHERE i.business_id = $%[1]d
				UNION
				SELECT p.receipt_id FROM payments p WHERE p.business_id = $%[1]d AND p.receipt_id IS NOT NULL
				UNION
				SELECT k.id
				FROM businesses b
				JOIN webhook_events k ON k.contact_key IN ('sms:' || b.phone, 'email:' || lower(b.email))
				WHERE b.id = $%[1]d
			)`, f.BusinessID)
	}
	return w
}

// ReceiptDetail is a receipt with its raw request, what it led to, and who worked on it.
type ReceiptDetail struct {
	ReceiptRow
	Query   string              `json:"query"`
	Headers map[string][]string `json:"headers"`
	Body    []byte              `json:"-"`
	Facts   []ReceiptFact       `json:"facts"`
	Jobs    []ReceiptJob        `json:"jobs"` // as long as the queue keeps them
	Actions []ReceiptAction     `json:"actions"`
}

// ReceiptFact is a fact that a receipt led to, and what that did.
type ReceiptFact struct {
	ID          int64               `json:"id"`
	BusinessID  uuid.UUID           `json:"business_id"`
	Event       string              `json:"event"`
	OccurredAt  time.Time           `json:"occurred_at"`
	RecordedAt  time.Time           `json:"recorded_at"`
	JobID       int64               `json:"job_id"`
	MessageID   *uuid.UUID          `json:"message_id"`
	Transitions []ReceiptTransition `json:"transitions"`
}

// ReceiptTransition is what a fact did to one axis.
type ReceiptTransition struct {
	Axis    string `json:"axis"`
	From    string `json:"from"`
	To      string `json:"to"`
	Verdict string `json:"verdict"`
}

// ReceiptJob is a job that applied a receipt, or tried to.
type ReceiptJob struct {
	ID          int64      `json:"id"`
	Kind        string     `json:"kind"`
	State       string     `json:"state"`
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"max_attempts"`
	CreatedAt   time.Time  `json:"created_at"`
	FinalizedAt *time.Time `json:"finalized_at"`
	LastError   string     `json:"last_error"`
}

// ReceiptAction is what an operator did with a receipt.
type ReceiptAction struct {
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// ErrNoReceipt says that there is no such receipt, or no longer: its retention has ended.
var ErrNoReceipt = errors.New("no such receipt: it never came, or its retention has ended")

// ReadReceipt reads a receipt whole.
func ReadReceipt(ctx context.Context, q Querier, id uuid.UUID) (ReceiptDetail, error) {
	var r ReceiptDetail
	var headers []byte
	err := q.QueryRow(ctx, `
		SELECT `+receiptRowColumns+`, w.query, w.headers, w.body
		FROM webhook_events w
		LEFT JOIN receipt_outcomes o ON o.receipt_id = w.id
		WHERE w.id = $1`, id).Scan(append(r.scan(), &r.Query, &headers, &r.Body)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("receipt %s: %w", id, ErrNoReceipt)
	}
	if err != nil {
		return r, fmt.Errorf("read receipt %s: %w", id, err)
	}
	r.toUTC()
	if err := json.Unmarshal(headers, &r.Headers); err != nil {
		return r, fmt.Errorf("read the headers of receipt %s: %w", id, err)
	}
	if r.Facts, err = factsOfReceipt(ctx, q, id); err != nil {
		return r, fmt.Errorf("read the facts of receipt %s: %w", id, err)
	}
	if r.Jobs, err = jobsOfReceipt(ctx, q, id); err != nil {
		return r, fmt.Errorf("read the jobs of receipt %s: %w", id, err)
	}
	if r.Actions, err = actionsOnReceipt(ctx, q, id); err != nil {
		return r, fmt.Errorf("read what was done with receipt %s: %w", id, err)
	}
	return r, nil
}

func factsOfReceipt(ctx context.Context, q Querier, id uuid.UUID) ([]ReceiptFact, error) {
	rows, err := q.Query(ctx, `
		SELECT f.id, b.public_id, f.event, f.occurred_at, f.recorded_at, COALESCE(f.job_id, 0), m.public_id,
			COALESCE((
				SELECT jsonb_agg(jsonb_build_object('axis', t.axis, 'from', t.from_status, 'to', t.to_status, 'verdict', t.verdict) ORDER BY t.id)
				FROM transitions t
				WHERE t.business_id = f.business_id AND t.fact_id = f.id
			), '[]')
		FROM facts f
		JOIN businesses b ON b.id = f.business_id
		LEFT JOIN messages m ON m.id = f.message_id
		WHERE f.receipt_id = $1
		ORDER BY f.id`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptFact, error) {
		var f ReceiptFact
		var transitions []byte
		err := row.Scan(&f.ID, &f.BusinessID, &f.Event, &f.OccurredAt, &f.RecordedAt, &f.JobID, &f.MessageID, &transitions)
		if err != nil {
			return f, err
		}
		f.OccurredAt, f.RecordedAt = f.OccurredAt.UTC(), f.RecordedAt.UTC()
		return f, json.Unmarshal(transitions, &f.Transitions)
	})
}

func jobsOfReceipt(ctx context.Context, q Querier, id uuid.UUID) ([]ReceiptJob, error) {
	rows, err := q.Query(ctx, `
		SELECT j.id, j.kind, j.state::text, j.attempt, j.max_attempts, j.created_at, j.finalized_at,
			COALESCE(j.errors[array_upper(j.errors, 1)] ->> 'error', '')
		FROM river_job j
		WHERE j.args ->> 'receipt_id' = $1::text
		ORDER BY j.id`, id.String())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptJob, error) {
		var j ReceiptJob
		err := row.Scan(&j.ID, &j.Kind, &j.State, &j.Attempt, &j.MaxAttempts, &j.CreatedAt, &j.FinalizedAt, &j.LastError)
		j.CreatedAt = j.CreatedAt.UTC()
		if j.FinalizedAt != nil {
			utc := j.FinalizedAt.UTC()
			j.FinalizedAt = &utc
		}
		return j, err
	})
}

func actionsOnReceipt(ctx context.Context, q Querier, id uuid.UUID) ([]ReceiptAction, error) {
	rows, err := q.Query(ctx, `
		SELECT actor, action, reason, at
		FROM operator_actions
		WHERE target_type = 'receipt' AND target_id = $1
		ORDER BY id`, id.String())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptAction, error) {
		var a ReceiptAction
		err := row.Scan(&a.Actor, &a.Action, &a.Reason, &a.At)
		a.At = a.At.UTC()
		return a, err
	})
}
