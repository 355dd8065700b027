package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
)

func (a *applier) workTrack(ctx context.Context, job *river.Job[jobs.TrackArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.track)
}

// track applies an open or a click on one of our links. A machine's stays without effect.
func (a *applier) track(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	var body struct {
		MessageID uuid.UUID `json:"message_id"`
		Machine   bool      `json:"machine"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		return failed("the body is not an open or click"), nil
	}
	if body.Machine {
		return ignored("machine: by its user agent or method"), nil
	}
	var id int64
	err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE public_id = $1`, body.MessageID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return unmatched("message:" + body.MessageID.String()), nil
	}
	if err != nil {
		return result{}, fmt.Errorf("find message: %w", err)
	}
	event, what := lifecycle.EmailOpened, "opened"
	if r.Kind == jobs.KindClick {
		event, what = lifecycle.LinkClicked, "clicked"
	}
	return a.engagement(ctx, tx, r, id, event, what)
}
