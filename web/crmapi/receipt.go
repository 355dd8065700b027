package crmapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Outcomes of a receipt, as in receipt_outcomes; pending is one that has none yet.
const (
	outcomeUnmatched = "unmatched"
	outcomeFailed    = "failed"
	outcomePending   = "pending"
)

func outcomes() []string {
	return []string{"applied", "no_change", "ignored", outcomeUnmatched, outcomeFailed, outcomePending}
}

// Receipt is a webhook as it was accepted, and what came of it.
type Receipt struct {
	ID          uuid.UUID  `json:"id" format:"uuid"`
	Provider    string     `json:"provider"`
	Kind        string     `json:"kind"`
	DedupeKey   string     `json:"dedupe_key"`
	ContactKey  *string    `json:"contact_key" doc:"channel:address of the person that it came from"`
	ReceivedAt  time.Time  `json:"received_at"`
	Outcome     string     `json:"outcome" enum:"applied,no_change,ignored,unmatched,failed,pending"`
	Detail      *string    `json:"detail"`
	MatchKey    *string    `json:"match_key" doc:"What an unmatched receipt waits for"`
	ProcessedAt *time.Time `json:"processed_at"`
}

// ReceiptDetail is a receipt with the raw request.
type ReceiptDetail struct {
	Receipt
	Query        string              `json:"query"`
	Headers      map[string][]string `json:"headers"`
	Body         string              `json:"body"`
	BodyEncoding string              `json:"body_encoding" enum:"text,base64" doc:"base64 where the body is not UTF-8"`
	Facts        []ReceiptFact       `json:"facts" nullable:"false"`
}

// ReceiptFact is a fact that a receipt led to.
type ReceiptFact struct {
	FactID     int64     `json:"fact_id"`
	BusinessID uuid.UUID `json:"business_id" format:"uuid"`
	Event      string    `json:"event"`
	OccurredAt time.Time `json:"occurred_at"`
	RecordedAt time.Time `json:"recorded_at"`
}

const receiptColumns = `w.id, w.provider, w.kind, w.dedupe_key, w.contact_key, w.received_at, COALESCE(o.outcome, 'pending'), o.detail,
		o.match_key, o.processed_at`

const receiptTables = `
	FROM webhook_events w
	LEFT JOIN receipt_outcomes o ON o.receipt_id = w.id
	WHERE `

func (r *Receipt) scan() []any {
	return []any{&r.ID, &r.Provider, &r.Kind, &r.DedupeKey, &r.ContactKey, &r.ReceivedAt, &r.Outcome, &r.Detail, &r.MatchKey, &r.ProcessedAt}
}

func (r *Receipt) toUTC() { r.ReceivedAt, r.ProcessedAt = r.ReceivedAt.UTC(), utc(r.ProcessedAt) }

const tagReceipts = "Webhook events"

func (a *API) registerReceipts(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/webhook-events", id: "listReceipts", tag: tagReceipts, summary: "List webhooks that were accepted, newest first",
		description: "Where a filter selects few, a page holds what a bounded look found: follow next_cursor.",
	}, a.listReceipts)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/webhook-events/{id}", id: "getReceipt", tag: tagReceipts, summary: "One webhook: the raw request, and what came of it",
	}, a.getReceipt)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/webhook-events/{id}/replay", id: "replayReceipt", tag: tagReceipts, status: http.StatusAccepted,
		summary:     "Apply a webhook again",
		description: "What was applied before changes nothing: facts are recorded once. dry_run answers 200 with what would come of it.",
		also:        http.StatusOK,
	}, a.replayReceipt)
}

type listReceiptsInput struct {
	Paging
	Provider string    `query:"provider" enum:"twilio,recurrente,resend,onward" doc:"onward: our own pages"`
	Kind     string    `query:"kind" maxLength:"100" doc:"As the provider names it, or message_status, inbound_message, unsubscribe, open, click"`
	Outcome  []string  `query:"outcome" doc:"Any of applied, no_change, ignored, unmatched, failed, pending, with commas"`
	After    time.Time `query:"after" doc:"Received after this time"`
	Before   time.Time `query:"before" doc:"Received before this time"`
}

type receiptPosition struct {
	ID uuid.UUID `json:"i"`
}

func (a *API) listReceipts(ctx context.Context, in *listReceiptsInput) (*pageOutput[Receipt], error) {
	const list = "webhook-events"
	behind, err := position[receiptPosition](in.Paging, list)
	if err != nil {
		return nil, err
	}
	if err := checkAnyOf("query.outcome", in.Outcome, outcomes()); err != nil {
		return nil, err
	}
	look := pgstore.ReceiptLook{ReceiptFilter: pgstore.ReceiptFilter{Outcomes: in.Outcome, Since: in.After, Until: in.Before}}
	if !in.After.IsZero() {
		look.Since = in.After.Add(time.Microsecond) // it does not count itself
	}
	if in.Provider != "" {
		look.Providers = []string{in.Provider}
	}
	if in.Kind != "" {
		look.Kinds = []string{in.Kind}
	}
	found, err := pgstore.LookForReceipts(ctx, a.opts.Pool, look, orZero(behind).ID, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Receipt]{Body: Page[Receipt]{Items: make([]Receipt, 0, len(found.Rows))}}
	for _, r := range found.Rows {
		out.Body.Items = append(out.Body.Items, Receipt{
			ID: r.ID, Provider: r.Provider, Kind: r.Kind, DedupeKey: r.DedupeKey, ContactKey: orNull(r.ContactKey), ReceivedAt: r.ReceivedAt,
			Outcome: r.Outcome, Detail: orNull(r.Detail), MatchKey: orNull(r.MatchKey), ProcessedAt: r.ProcessedAt,
		})
	}
	if found.Next != uuid.Nil {
		out.Body.NextCursor, err = encodeCursor(list, receiptPosition{found.Next})
	}
	return out, err
}

func (a *API) getReceipt(ctx context.Context, in *PathID) (*struct{ Body ReceiptDetail }, error) {
	out := &struct{ Body ReceiptDetail }{}
	err := a.read(ctx, func(tx pgx.Tx) error {
		var err error
		out.Body, err = receipt(ctx, tx, in.ID)
		return err
	})
	return out, err
}

func receipt(ctx context.Context, q pgstore.Querier, id uuid.UUID) (ReceiptDetail, error) {
	var r ReceiptDetail
	var headers, body []byte
	err := q.QueryRow(ctx, `SELECT `+receiptColumns+`, w.query, w.headers, w.body`+receiptTables+`w.id = $1`, id).
		Scan(append(r.scan(), &r.Query, &headers, &body)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, notFound("webhook event, or it is past its retention")
	}
	if err != nil {
		return r, fmt.Errorf("read receipt: %w", err)
	}
	r.toUTC()
	if err := json.Unmarshal(headers, &r.Headers); err != nil {
		return r, fmt.Errorf("read a receipt's headers: %w", err)
	}
	r.Body, r.BodyEncoding = string(body), "text"
	if !utf8.Valid(body) {
		r.Body, r.BodyEncoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	rows, err := q.Query(ctx, `
		SELECT f.id, b.public_id, f.event, f.occurred_at, f.recorded_at
		FROM facts f
		JOIN businesses b ON b.id = f.business_id
		WHERE f.receipt_id = $1
		ORDER BY f.id`, id)
	if err != nil {
		return r, fmt.Errorf("read a receipt's facts: %w", err)
	}
	r.Facts, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptFact, error) {
		var f ReceiptFact
		err := row.Scan(&f.FactID, &f.BusinessID, &f.Event, &f.OccurredAt, &f.RecordedAt)
		f.OccurredAt, f.RecordedAt = f.OccurredAt.UTC(), f.RecordedAt.UTC()
		return f, err
	})
	if err != nil {
		return r, fmt.Errorf("read a receipt's facts: %w", err)
	}
	return r, nil
}
