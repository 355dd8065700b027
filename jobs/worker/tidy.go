package worker

import (
	"context"
	"fmt"

	"github.com/riverqueue/river"

	"onward/jobs"
)

const (
	// keptAnswers is how long the answer of a request with an Idempotency-Key is repeated, as the API promises.
	keptAnswers = "1 day"
	// keptTargets is how long after its end a bulk action can be undone.
	keptTargets = "30 days"
	// tidyChunk is how many rows one statement deletes: some 50 ms.
	tidyChunk = 10_000
)

// workTidy deletes what was kept for a time that is over.
func (a *applier) workTidy(ctx context.Context, _ *river.Job[jobs.TidyArgs]) error {
	err := a.deleteChunks(ctx, `
		DELETE FROM idempotency_keys
		WHERE ctid IN (
			SELECT ctid
			FROM idempotency_keys
			WHERE created_at <= now() - $1::interval
			LIMIT $2
		)`, keptAnswers)
	if err != nil {
		return fmt.Errorf("delete answers that are not repeated any more: %w", err)
	}
	err = a.deleteChunks(ctx, `
		DELETE FROM bulk_targets
		WHERE (bulk_id, business_id) IN (
			SELECT t.bulk_id, t.business_id
			FROM bulk_actions k
			JOIN bulk_targets t ON t.bulk_id = k.id
			WHERE k.finished_at <= now() - $1::interval
			LIMIT $2
		)`, keptTargets)
	if err != nil {
		return fmt.Errorf("delete the businesses of old bulk actions: %w", err)
	}
	return nil
}

// deleteChunks runs a statement until it finds less than a chunk.
func (a *applier) deleteChunks(ctx context.Context, sql, age string) error {
	for {
		tag, err := a.Pool.Exec(ctx, sql, age, tidyChunk)
		if err != nil || tag.RowsAffected() < tidyChunk {
			return err
		}
	}
}
