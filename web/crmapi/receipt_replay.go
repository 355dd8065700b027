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
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

type replayReceiptInput struct {
	PathID
	Body *struct {
		Note   *string `json:"note,omitempty" nullable:"true" maxLength:"2000" doc:"Why: kept in the operators' log"`
		DryRun bool    `json:"dry_run,omitempty" doc:"Say what would come of it, and change nothing"`
	}
}

// Replayed names the receipt that is applied again.
type Replayed struct {
	ID     uuid.UUID    `json:"id" format:"uuid"`
	Job    string       `json:"job" doc:"The kind of the job that applies it"`
	DryRun bool         `json:"dry_run,omitempty"`
	Trial  *ReplayTrial `json:"trial,omitempty" doc:"With dry_run: what would come of it"`
}

// ReplayTrial is what a webhook would come to if it were applied again now.
type ReplayTrial struct {
	Then     string         `json:"then" doc:"Its outcome, or pending"`
	Now      string         `json:"now" doc:"What would come of it; no_change where its effect stands"`
	Detail   string         `json:"detail"`
	Stands   bool           `json:"stands" doc:"Nothing would change: no status, fact, message or job"`
	Facts    int            `json:"facts" doc:"That are not recorded yet"`
	Changes  []ReplayChange `json:"changes" nullable:"false"`
	Enqueued []string       `json:"enqueued" nullable:"false" doc:"The kinds of the jobs that would be made"`
}

// ReplayChange is a status that would differ.
type ReplayChange struct {
	BusinessID uuid.UUID `json:"business_id" format:"uuid"`
	Axis       string    `json:"axis"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Event      string    `json:"event"`
	Verdict    string    `json:"verdict"`
}

func (a *API) replayReceipt(ctx context.Context, in *replayReceiptInput) (*answer[Replayed], error) {
	note := ""
	if in.Body != nil {
		note = strings.TrimSpace(orZero(in.Body.Note))
	}
	if in.Body != nil && in.Body.DryRun {
		return a.tryReceipt(ctx, in.ID)
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Replayed], error) {
		args, err := receiptJob(ctx, u, in.ID)
		if err != nil {
			return nil, err
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

// receiptJob is the job that applies a receipt.
func receiptJob(ctx context.Context, q pgstore.Querier, id uuid.UUID) (river.JobArgs, error) {
	var provider, kind string
	err := q.QueryRow(ctx, `
		SELECT provider, kind
		FROM webhook_events
		WHERE id = $1`, id).Scan(&provider, &kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("webhook event, or it is past its retention")
	}
	if err != nil {
		return nil, fmt.Errorf("read receipt: %w", err)
	}
	args := jobs.ForReceipt(provider, kind, id.String())
	if args == nil {
		return nil, huma.Error409Conflict(fmt.Sprintf("no job applies a %s of %s: it is stored only", kind, provider))
	}
	return args, nil
}

// tryReceipt says what applying a receipt again would come to.
func (a *API) tryReceipt(ctx context.Context, id uuid.UUID) (*answer[Replayed], error) {
	if a.opts.TryReceipt == nil {
		return nil, huma.Error409Conflict("this process makes no dry runs: use onward webhooks replay --dry-run")
	}
	args, err := receiptJob(ctx, a.opts.Pool, id)
	if err != nil {
		return nil, err
	}
	trial, err := a.opts.TryReceipt(ctx, id)
	if err != nil {
		return nil, err
	}
	return &answer[Replayed]{Status: http.StatusOK, Body: Replayed{ID: id, Job: args.Kind(), DryRun: true, Trial: &trial}}, nil
}
