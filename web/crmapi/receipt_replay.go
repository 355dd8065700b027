package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
)

type replayReceiptInput struct {
	PathID
	Body *struct {
		Note *string `json:"note,omitempty" nullable:"true" maxLength:"2000" doc:"Why: kept in the operators' log"`
	}
}

// Replayed names the receipt that is applied again.
type Replayed struct {
	ID  uuid.UUID `json:"id" format:"uuid"`
	Job string    `json:"job" doc:"The kind of the job that applies it"`
}

func (a *API) replayReceipt(ctx context.Context, in *replayReceiptInput) (*answer[Replayed], error) {
	note := ""
	if in.Body != nil {
		note = strings.TrimSpace(orZero(in.Body.Note))
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Replayed], error) {
		var provider, kind string
		err := u.QueryRow(ctx, `
			SELECT provider, kind
			FROM webhook_events
			WHERE id = $1`, in.ID).Scan(&provider, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, notFound("webhook event, or it is past its retention")
		}
		if err != nil {
			return nil, fmt.Errorf("read receipt: %w", err)
		}
		args := jobs.ForReceipt(provider, kind, in.ID.String())
		if args == nil {
			return nil, huma.Error409Conflict(fmt.Sprintf("no job applies a %s of %s: it is stored only", kind, provider))
		}
		// What needed somebody's attention got it: it is unprocessed until the job says otherwise.
		_, err = u.Exec(ctx, `
			DELETE FROM receipt_outcomes
			WHERE receipt_id = $1 AND outcome IN ('unmatched', 'failed')`, in.ID)
		if err != nil {
			return nil, fmt.Errorf("take back a receipt's outcome: %w", err)
		}
		if err := u.enqueue(ctx, args); err != nil {
			return nil, err
		}
		_, err = u.record(ctx, "receipt.replay", targetReceipt, in.ID.String(), note, nil)
		return &answer[Replayed]{Status: http.StatusAccepted, Body: Replayed{ID: in.ID, Job: args.Kind()}}, err
	})
}
