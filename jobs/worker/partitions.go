package worker

import (
	"context"
	"fmt"

	"github.com/riverqueue/river"

	"onward/jobs"
)

// partitionsAhead is how far ahead receipts' partitions exist: a month in which nobody looks is survived.
const partitionsAhead = "28 days"

func (a *applier) workPartitions(ctx context.Context, _ *river.Job[jobs.PartitionsArgs]) error {
	var created int
	err := a.Pool.QueryRow(ctx, `SELECT onward_ensure_partitions(now(), now() + $1::interval)`, partitionsAhead).Scan(&created)
	if err != nil {
		return fmt.Errorf("create partitions of receipts: %w", err)
	}
	if created > 0 {
		a.Logger.InfoContext(ctx, "created partitions of receipts", "created", created)
	}
	return nil
}
