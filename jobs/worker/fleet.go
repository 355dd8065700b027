package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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
}

// beat is how often a process shows that it lives; silence is how long one may be quiet before its jobs are put
// back. River's own rescue waits for an hour, since it can't tell a dead worker from a slow one.
const (
	beat    = 2 * time.Second
	silence = 15 * time.Second
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
	return p.rescue(ctx)
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

// rescue puts back the running jobs of processes that stopped beating. Running one twice is harmless: a receipt's
// effect is kept single by its facts' keys, and a send that was cut off is never repeated blindly.
func (p *Process) rescue(ctx context.Context) error {
	rows, err := p.Pool.Query(ctx, `
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
		return fmt.Errorf("put back the jobs of dead workers: %w", err)
	}
	var queues []string
	for rows.Next() {
		var q string
		if err := rows.Scan(&q); err != nil {
			return fmt.Errorf("put back the jobs of dead workers: %w", err)
		}
		queues = append(queues, q)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("put back the jobs of dead workers: %w", err)
	}
	if len(queues) > 0 {
		p.Logger.WarnContext(ctx, "put back jobs of workers that died", "queues", queues)
		if p.Wake != nil {
			p.Wake(queues)
		}
	}
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
