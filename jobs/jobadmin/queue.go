package jobadmin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// QueueCounted is how far the jobs of a queue in one state are counted.
const QueueCounted = 2000

// Queue is how a queue stands.
type Queue struct {
	Name string `json:"name"`
	// Counts are its jobs by state, of those that are not over and of the discarded: [QueueCounted] + 1 stands for more
	// than QueueCounted.
	Counts map[string]int64 `json:"counts"`
	// Oldest is since when the job has waited that waits longest; nil: none waits.
	Oldest *time.Time `json:"oldest_waiting_at"`
	// PausedAt is nil while it is worked.
	PausedAt *time.Time `json:"paused_at"`
	// PausedBy and PausedFor are who paused it and why, where that is in the operators' log.
	PausedBy  string `json:"paused_by"`
	PausedFor string `json:"paused_for"`
	// Known is false where no worker ever worked it: there is nothing to pause yet.
	Known bool `json:"known"`
}

// queuesSQL reads each queue by the index that workers fetch by: the counts stop at a limit, an age is one entry.
const queuesSQL = `
	WITH queue AS (
		SELECT name, ord FROM unnest($1::text[]) WITH ORDINALITY AS u (name, ord)
		UNION ALL
		SELECT name, 1000 FROM river_queue WHERE name <> ALL ($1::text[])
	)
	SELECT q.name, (
			SELECT jsonb_object_agg(s.state, (
				SELECT count(*)
				FROM (SELECT 1 FROM river_job j WHERE j.state = s.state AND j.queue = q.name LIMIT $2) j
			))
			FROM unnest('{available,running,scheduled,retryable,discarded}'::river_job_state[]) AS s (state)
		), (
			SELECT min(f.scheduled_at)
			FROM generate_series(1, 4) AS p (priority)
			CROSS JOIN LATERAL (
				SELECT j.scheduled_at
				FROM river_job j
				WHERE j.state = 'available' AND j.queue = q.name AND j.priority = p.priority AND j.scheduled_at <= now()
				ORDER BY j.scheduled_at
				LIMIT 1
			) f
		), r.paused_at, COALESCE(a.actor, ''), COALESCE(a.reason, ''), r.name IS NOT NULL
	FROM queue q
	LEFT JOIN river_queue r ON r.name = q.name
	LEFT JOIN LATERAL (
		SELECT a.actor, a.reason
		FROM operator_actions a
		WHERE a.target_type = '` + queueTarget + `' AND a.target_id = q.name AND a.action = 'queue.pause'
		ORDER BY a.id DESC
		LIMIT 1
	) a ON r.paused_at IS NOT NULL
	ORDER BY q.ord, q.name`

// queueTarget is what operator_actions.target_type holds of acts on queues.
const queueTarget = "queue"

// Queues reads how the named queues stand, in their order, and after them those that workers know beside.
func Queues(ctx context.Context, tx pgx.Tx, names []string) ([]Queue, error) {
	// A scan of the table is what this must never do, and where statistics are young the planner may.
	if _, err := tx.Exec(ctx, `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`); err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	rows, err := tx.Query(ctx, queuesSQL, names, QueueCounted+1)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Queue, error) {
		var q Queue
		err := row.Scan(&q.Name, &q.Counts, &q.Oldest, &q.PausedAt, &q.PausedBy, &q.PausedFor, &q.Known)
		for _, t := range []*time.Time{q.Oldest, q.PausedAt} {
			if t != nil {
				*t = t.UTC()
			}
		}
		return q, err
	})
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	return list, nil
}

// ErrNoQueue says that no worker ever worked a queue of this name.
var ErrNoQueue = errors.New("no worker ever worked a queue of this name")

// PauseQueue stops the fetching of a queue's jobs in all processes, or lets it go on, and writes down who did it and why.
// What runs goes on. What is so already stays so.
func PauseQueue(ctx context.Context, tx pgx.Tx, client *river.Client[pgx.Tx], name string, pause bool, o Operator) error {
	verb, change := "resume", client.QueueResumeTx
	if pause {
		verb, change = "pause", client.QueuePauseTx
	}
	err := change(ctx, tx, name, nil)
	if errors.Is(err, river.ErrNotFound) {
		return fmt.Errorf("%s queue %s: %w", verb, name, ErrNoQueue)
	}
	if err != nil {
		return fmt.Errorf("%s queue %s: %w", verb, name, err)
	}
	var token *int64
	if o.TokenID != 0 {
		token = &o.TokenID
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO operator_actions (actor, token_id, action, target_type, target_id, reason)
		VALUES ($1, $2, $3, '`+queueTarget+`', $4, $5)`, o.Actor, token, "queue."+verb, name, o.Reason)
	if err != nil {
		return fmt.Errorf("record the %s of queue %s: %w", verb, name, err)
	}
	return nil
}
