package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
)

const (
	// partitionsAhead is how far ahead receipts' partitions exist: a month in which nobody looks is survived.
	partitionsAhead = "28 days"
	// dropLockTimeout bounds how long a drop may stand in line for the table, since everyone else then waits behind it:
	// below what a webhook's acceptance waits for a lock.
	dropLockTimeout = "1s"
	// retentionChunk is how many outcomes one statement deletes: some 50 ms.
	retentionChunk = 10_000
)

func (a *applier) workPartitions(ctx context.Context, _ *river.Job[jobs.PartitionsArgs]) error {
	var created int
	err := a.Pool.QueryRow(ctx, `SELECT onward_ensure_partitions(now(), now() + $1::interval)`, partitionsAhead).Scan(&created)
	if err != nil {
		return fmt.Errorf("create partitions of receipts: %w", err)
	}
	if created > 0 {
		a.Logger.InfoContext(ctx, "created partitions of receipts", "created", created)
	}
	if a.RetentionDays <= 0 {
		return nil
	}
	return a.dropOldReceipts(ctx, a.Clock().AddDate(0, 0, -a.RetentionDays))
}

// dropOldReceipts drops the raw requests that were received before a time, a whole week at once, and then what came
// of them; facts and transitions stay. A week is kept for as long as one of its receipts has no outcome, or still holds
// sends to its address back: somebody has to look at that one first.
func (a *applier) dropOldReceipts(ctx context.Context, before time.Time) error {
	rows, err := a.Pool.Query(ctx, `
		SELECT name
		FROM (
			SELECT c.relname AS name,
				to_date(substring(c.relname FROM '\d{4}w\d{2}$'), 'IYYY"w"IW')::timestamp AT TIME ZONE 'UTC' AS week
			FROM pg_inherits i
			JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'webhook_events'::regclass AND c.relname ~ '^webhook_events_\d{4}w\d{2}$'
		) p
		WHERE week + interval '7 days' <= $1
		ORDER BY week`, before)
	if err != nil {
		return fmt.Errorf("list partitions past retention: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list partitions past retention: %w", err)
	}
	for _, name := range names {
		if err := a.dropPartition(ctx, name); err != nil {
			return err
		}
	}
	return a.dropOutcomes(ctx, before)
}

// openReceipts selects the receipts of a partition that nobody may lose.
const openReceipts = `
	FROM %s w
	WHERE NOT EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = w.id)
		OR EXISTS (SELECT 1 FROM inbound_pending p WHERE p.receipt_id = w.id)`

func (a *applier) dropPartition(ctx context.Context, name string) error {
	table := pgx.Identifier{name}.Sanitize()
	var open int
	err := a.Pool.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1`+fmt.Sprintf(openReceipts, table)+` LIMIT 1000) o`).Scan(&open)
	if err != nil {
		return fmt.Errorf("look for open receipts in %s: %w", name, err)
	}
	if open > 0 {
		a.Logger.LogAttrs(ctx, slog.LevelWarn, "receipts past retention are kept: some are not applied", slog.String("partition", name), slog.Int("open", open))
		return nil
	}
	// Nothing is added to it any more: ids carry the time of acceptance.
	err = pgx.BeginFunc(ctx, a.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, dropLockTimeout); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+table)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop receipts past retention (%s): %w", name, err)
	}
	a.Logger.LogAttrs(ctx, slog.LevelInfo, "dropped receipts past retention", slog.String("partition", name))
	return nil
}

// dropOutcomes deletes what came of receipts that are gone, and old receipts that the default partition caught. A run
// that ends early leaves the rest to the next.
func (a *applier) dropOutcomes(ctx context.Context, before time.Time) error {
	_, err := a.Pool.Exec(ctx, `
		DELETE FROM webhook_events_default w
		WHERE w.id < onward_uuid_floor($1)
			AND EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = w.id)
			AND NOT EXISTS (SELECT 1 FROM inbound_pending p WHERE p.receipt_id = w.id)`, before)
	if err != nil {
		return fmt.Errorf("delete receipts past retention: %w", err)
	}
	for ctx.Err() == nil {
		tag, err := a.Pool.Exec(ctx, `
			DELETE FROM receipt_outcomes
			WHERE receipt_id IN (
				SELECT o.receipt_id
				FROM receipt_outcomes o
				WHERE o.receipt_id < onward_uuid_floor($1)
					AND NOT EXISTS (SELECT 1 FROM webhook_events w WHERE w.id = o.receipt_id)
				ORDER BY o.receipt_id
				LIMIT $2
			)`, before, retentionChunk)
		if err != nil {
			return fmt.Errorf("delete outcomes of dropped receipts: %w", err)
		}
		if tag.RowsAffected() < retentionChunk {
			return nil
		}
	}
	return ctx.Err()
}
