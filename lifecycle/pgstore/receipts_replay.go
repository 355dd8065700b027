package pgstore

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// TakeForReplay locks receipts that are to be applied again and makes those unprocessed that needed somebody's
// attention. The caller enqueues a job for each in the same transaction. Receipts that are gone, or were blanked by an
// erasure, are left out.
func TakeForReplay(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) ([]Receipt, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM receipt_outcomes o
		USING webhook_events w
		WHERE o.receipt_id = ANY($1::text[]::uuid[]) AND o.outcome IN ('unmatched', 'failed')
			AND w.id = o.receipt_id AND w.erased_at IS NULL`, texts)
	if err != nil {
		return nil, fmt.Errorf("take back the outcomes of receipts: %w", err)
	}
	rows, err := tx.Query(ctx, `
		SELECT id, provider, kind
		FROM webhook_events
		WHERE id = ANY($1::text[]::uuid[]) AND erased_at IS NULL
		ORDER BY id
		FOR KEY SHARE`, texts)
	if err != nil {
		return nil, fmt.Errorf("take receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Receipt])
	if err != nil {
		return nil, fmt.Errorf("take receipts: %w", err)
	}
	return list, nil
}

// ReplayJob is how a receipt stands after it was enqueued again.
type ReplayJob struct {
	ReceiptID uuid.UUID
	JobID     int64
	JobState  string // "" when the queue does not keep it any more
	Outcome   string
	Detail    string
	Facts     int // recorded by that job: 0 where the effect stood already
}

// Finished reports whether the job has come to an end.
func (r ReplayJob) Finished() bool {
	switch r.JobState {
	case "completed", "cancelled", "discarded", "":
		return true
	}
	return false
}

// ReadReplays reads how jobs that apply receipts again stand, in the order of the jobs.
func ReadReplays(ctx context.Context, q Querier, receipts []uuid.UUID, jobs []int64) ([]ReplayJob, error) {
	texts := make([]string, len(receipts))
	for i, id := range receipts {
		texts[i] = id.String()
	}
	rows, err := q.Query(ctx, `
		SELECT u.receipt_id::uuid, u.job_id, COALESCE(j.state::text, ''), COALESCE(o.outcome, 'pending'), COALESCE(o.detail, ''),
			(SELECT count(*) FROM facts f WHERE f.receipt_id = u.receipt_id::uuid AND f.job_id = u.job_id)
		FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS u (receipt_id, job_id, n)
		LEFT JOIN river_job j ON j.id = u.job_id
		LEFT JOIN receipt_outcomes o ON o.receipt_id = u.receipt_id::uuid
		ORDER BY u.n`, texts, jobs)
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ReplayJob])
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	return list, nil
}
