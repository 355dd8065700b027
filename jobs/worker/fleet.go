package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Process is one member of the fleet, as the others see it.
type Process struct {
	Pool     *pgxpool.Pool
	Logger   *slog.Logger
	ClientID string // River's id of this process
	Version  string
	Queues   []string
	Capacity int
	Wake     func(queues []string)
	// Running says whether a job runs in this process. Without it, jobs that got lost on their way here are left to
	// River's own rescue.
	Running func(jobID int64) bool

	lost map[int64]int // jobs that the last look found to be this process's and not running in it, with their attempts
}

// beat is how often a process shows that it lives; silence is how long one may be quiet before its jobs are put
// back. River's own rescue waits for an hour, since it can't tell a dead worker from a slow one.
//
// onTheWay is how long a job may be fetched for this process without running in it.
const (
	beat     = 2 * time.Second
	silence  = 15 * time.Second
	onTheWay = 5 * time.Second
	// closing is how often finished campaigns are looked for.
	closing = 250 * time.Millisecond
)

// Run keeps the process listed, puts back the jobs of those that died, and closes campaigns that are done, until
// ctx ends. Any number of processes may do so at once.
func (p *Process) Run(ctx context.Context) {
	tick := time.NewTicker(closing)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := p.once(ctx, n%int(beat/closing) == 0); err != nil && ctx.Err() == nil {
			p.Logger.ErrorContext(ctx, "keep the fleet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Process) once(ctx context.Context, beats bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("time-out of the fleet's upkeep"))
	defer cancel()
	if !beats {
		return p.finishCampaigns(ctx)
	}
	if err := p.Beat(ctx); err != nil {
		return err
	}
	return errors.Join(p.rescue(ctx), p.reclaim(ctx))
}

// Beat lists the process, or shows that it still lives.
func (p *Process) Beat(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	_, err = p.Pool.Exec(ctx, `
		INSERT INTO worker_processes (client_id, host, pid, version, queues, capacity)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (client_id) DO UPDATE SET seen_at = now()`,
		p.ClientID, host, os.Getpid(), p.Version, p.Queues, p.Capacity)
	if err != nil {
		return fmt.Errorf("show that this worker lives: %w", err)
	}
	return nil
}

// Leave takes the process off the list after it has stopped; whatever it may have left running is put back at
// once.
func (p *Process) Leave(ctx context.Context) error {
	if _, err := p.Pool.Exec(ctx, `DELETE FROM worker_processes WHERE client_id = $1`, p.ClientID); err != nil {
		return fmt.Errorf("leave the fleet: %w", err)
	}
	return nil
}

// look looks at running jobs by an index scan. PostgreSQL would rather make a bitmap, which at each look visits every version of a
// row that was ever running and not vacuumed yet: after ten seconds of 3,000 jobs a second that took 200 ms, every two seconds. An index
// scan marks a dead one when it meets it first, and passes over it from then on.
func (p *Process) look(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, p.Pool, pgx.TxOptions{
		BeginQuery: "BEGIN; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off",
	}, fn)
}

// rescue puts back the running jobs of processes that stopped beating. Running one twice is harmless: a receipt's
// effect is kept single by its facts' keys, and a send that was cut off is never repeated blindly.
func (p *Process) rescue(ctx context.Context) error {
	var queues []string
	err := p.look(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			WITH dead AS (
				DELETE FROM worker_processes
				WHERE seen_at < now() - make_interval(secs => $1)
				RETURNING client_id
			), back AS (
				UPDATE river_job j
				SET state = 'available', scheduled_at = now(),
					metadata = j.metadata || jsonb_build_object('onward_rescued', COALESCE((j.metadata ->> 'onward_rescued')::int, 0) + 1)
				WHERE j.state = 'running'
					AND j.attempted_at < now() - make_interval(secs => $1)
					AND (j.attempted_by[array_upper(j.attempted_by, 1)] IN (SELECT client_id FROM dead)
						OR NOT EXISTS (
							SELECT 1 FROM worker_processes w
							WHERE w.client_id = j.attempted_by[array_upper(j.attempted_by, 1)]
						))
				RETURNING j.queue
			)
			SELECT DISTINCT queue FROM back`, silence.Seconds())
		if err != nil {
			return err
		}
		queues, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return fmt.Errorf("put back the jobs of dead workers: %w", err)
	}
	p.wake(ctx, "put back jobs of workers that died", queues)
	return nil
}

// wake tells of jobs that were put back.
func (p *Process) wake(ctx context.Context, what string, queues []string) {
	if len(queues) == 0 {
		return
	}
	p.Logger.WarnContext(ctx, what, "queues", queues)
	if p.Wake != nil {
		p.Wake(queues)
	}
}

// reclaim puts back jobs that the database holds to run here and that do not: it broke down after it had committed
// their fetch and before it could answer, or before it could take their completion. Two looks in a row must agree, so
// that a job that has just ended is not taken for one.
func (p *Process) reclaim(ctx context.Context) error {
	if p.Running == nil {
		return nil
	}
	lost := map[int64]int{}
	var ids, attempts []int64
	err := p.look(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id, attempt FROM river_job
			WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND attempted_at < now() - make_interval(secs => $2)`,
			p.ClientID, onTheWay.Seconds())
		if err != nil {
			return err
		}
		var id int64
		var attempt int
		_, err = pgx.ForEachRow(rows, []any{&id, &attempt}, func() error {
			if p.Running(id) {
				return nil
			}
			lost[id] = attempt
			if p.lost[id] == attempt {
				ids, attempts = append(ids, id), append(attempts, int64(attempt))
			}
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("look for lost jobs: %w", err)
	}
	p.lost = lost
	if len(ids) == 0 {
		return nil
	}
	rows, err := p.Pool.Query(ctx, `
		WITH back AS (
			UPDATE river_job j
			SET state = 'available', scheduled_at = now(),
				metadata = j.metadata || jsonb_build_object('onward_rescued', COALESCE((j.metadata ->> 'onward_rescued')::int, 0) + 1)
			FROM unnest($1::bigint[], $2::bigint[]) AS lost (id, attempt)
			WHERE j.id = lost.id AND j.attempt = lost.attempt AND j.state = 'running'
			RETURNING j.queue
		)
		SELECT DISTINCT queue FROM back`, ids, attempts)
	if err != nil {
		return fmt.Errorf("put back lost jobs: %w", err)
	}
	queues, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("put back lost jobs: %w", err)
	}
	p.wake(ctx, "put back jobs that were lost on their way", queues)
	return nil
}

// finishCampaigns closes the campaigns whose last message has left.
func (p *Process) finishCampaigns(ctx context.Context) error {
	_, err := p.Pool.Exec(ctx, `
		UPDATE campaigns c
		SET status = 'sent', status_reason = NULL, finished_at = now(), updated_at = now()
		WHERE c.status = 'sending' AND c.fanned_out_at IS NOT NULL
			AND COALESCE((
				SELECT sum(n) FROM campaign_counters n
				WHERE n.campaign_id = c.id AND n.state IN ('queued', 'dispatching')
			), 0) = 0`)
	if err != nil {
		return fmt.Errorf("close finished campaigns: %w", err)
	}
	return nil
}
