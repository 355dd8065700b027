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
	Provider string    `query:"provider" maxLength:"100"`
	Kind     string    `query:"kind" maxLength:"100"`
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
	condition, args := in.where(behind)
	rows, err := a.opts.Pool.Query(ctx, `SELECT `+receiptColumns+receiptTables+condition+fmt.Sprintf(`
		ORDER BY w.id DESC
		LIMIT $%d`, len(args)+1), append(args, in.Limit+1)...)
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Receipt, error) {
		var r Receipt
		err := row.Scan(r.scan()...)
		r.toUTC()
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return page(in.Paging, list, found, func(r Receipt) Receipt { return r }, func(r Receipt) any { return receiptPosition{r.ID} })
}

// where selects by id wherever it can: the partitions are cut by it.
func (in *listReceiptsInput) where(behind *receiptPosition) (string, []any) {
	condition, args := `true`, []any{}
	where := func(sql string, arg any) {
		args = append(args, arg)
		condition += fmt.Sprintf("\n\t\tAND "+sql, len(args))
	}
	if behind != nil {
		where(`w.id < $%d`, behind.ID)
	}
	if !in.After.IsZero() {
		where(`w.received_at > $%[1]d AND w.id >= onward_uuid_floor($%[1]d::timestamptz - interval '1 hour')`, in.After)
	}
	if !in.Before.IsZero() {
		where(`w.received_at < $%[1]d AND w.id < onward_uuid_floor($%[1]d::timestamptz + interval '1 hour')`, in.Before)
	}
	if in.Provider != "" {
		where(`w.provider = $%d`, in.Provider)
	}
	if in.Kind != "" {
		where(`w.kind = $%d`, in.Kind)
	}
	if len(in.Outcome) > 0 {
		where(`COALESCE(o.outcome, 'pending') = ANY($%d)`, in.Outcome)
	}
	return condition, args
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
