package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// stillMoving is how soon a halted campaign is looked at again that had jobs or calls under way: one that looked for a slot
// before the halt goes to sleep after it, and a provider that did not take a message gives it back as queued.
const stillMoving = time.Second

// workCampaignHalt ends at once what a paused or cancelled campaign has queued, instead of as each job's turn comes. That
// nothing is dispatched from the halt's commit on, the database sees to (trigger messages_guard_update_campaign).
func (s *sender) workCampaignHalt(ctx context.Context, job *river.Job[jobs.CampaignHaltArgs]) error {
	id := job.Args.CampaignID
	status, channel, err := s.halted(ctx, id, func(pgx.Tx) error { return nil })
	if err != nil || status == "" {
		return err // resumed meanwhile
	}
	if status == "cancelled" {
		if err := s.cancelQueued(ctx, id); err != nil {
			return err
		}
	}
	running, err := s.jobsRun(ctx, id, channel)
	if err != nil {
		return err
	}
	if err := s.endJobs(ctx, id, channel); err != nil {
		return err
	}
	if err := s.closeRanks(ctx, channel); err != nil {
		return err
	}
	if running {
		return river.JobSnooze(stillMoving)
	}
	if status != "cancelled" {
		return nil
	}
	var moving int64
	err = s.Pool.QueryRow(ctx, `
		SELECT COALESCE(sum(n), 0)
		FROM campaign_counters
		WHERE campaign_id = $1 AND state IN ('queued', 'dispatching')`, id).Scan(&moving)
	if err != nil {
		return fmt.Errorf("see what is left of campaign %d: %w", id, err)
	}
	if moving > 0 {
		return river.JobSnooze(stillMoving)
	}
	return nil
}

// halted runs fn in a transaction during which the campaign stays halted; it returns "" without running fn where it is not.
func (s *sender) halted(ctx context.Context, id int64, fn func(pgx.Tx) error) (status, channel string, err error) {
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if status, channel, err = pgstore.HaltedCampaign(ctx, tx, id); err != nil || status == "" {
			return err
		}
		return fn(tx)
	})
	return status, channel, err
}

func (s *sender) cancelQueued(ctx context.Context, id int64) error {
	for last := int64(0); ; {
		behind := last
		_, _, err := s.halted(ctx, id, func(tx pgx.Tx) (err error) {
			last, err = pgstore.CancelQueued(ctx, tx, id, behind, s.FanOutChunk)
			return err
		})
		if err != nil || last == 0 {
			return err
		}
	}
}

// jobsRun reports whether a worker is at a send job of a campaign.
func (s *sender) jobsRun(ctx context.Context, id int64, channel string) (is bool, err error) {
	err = s.Pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM river_job j
			JOIN messages m ON m.id = (j.args ->> 'message_id')::bigint
			WHERE j.kind = 'send' AND j.queue = $2 AND j.state = 'running' AND m.campaign_id = $1
		)`, id, sendQueue(channel)).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("see which jobs of campaign %d run: %w", id, err)
	}
	return is, nil
}

// endJobs completes the waiting send jobs of a halted campaign, as they would by themselves when they came up. Those that
// run end by themselves, or sleep and are ended by the next look; one that a resume made meanwhile is to stay, which is why
// the campaign is held in each transaction.
func (s *sender) endJobs(ctx context.Context, id int64, channel string) error {
	rows, err := s.Pool.Query(ctx, `
		SELECT j.id
		FROM river_job j
		JOIN messages m ON m.id = (j.args ->> 'message_id')::bigint
		WHERE j.kind = 'send' AND j.queue = $2 AND j.state IN ('available', 'scheduled', 'retryable') AND m.campaign_id = $1`,
		id, sendQueue(channel))
	if err != nil {
		return fmt.Errorf("find the jobs of campaign %d: %w", id, err)
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("find the jobs of campaign %d: %w", id, err)
	}
	for part := range slices.Chunk(waiting, s.FanOutChunk) {
		status, _, err := s.halted(ctx, id, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				UPDATE river_job
				SET state = 'completed', finalized_at = now(), metadata = metadata || '{"onward_halted": true}'
				WHERE id = ANY($1) AND state IN ('available', 'scheduled', 'retryable')`, part)
			return err
		})
		if err != nil {
			return fmt.Errorf("end the jobs of campaign %d: %w", id, err)
		}
		if status == "" {
			return nil
		}
	}
	return nil
}

// closeRanks lets the jobs that were put to sleep behind a campaign which is gone now come up at the sender's pace. A
// message that sleeps for a reason of its own, such as quiet hours, sleeps on.
func (s *sender) closeRanks(ctx context.Context, channel string) error {
	address, _ := s.senderOf(channel)
	_, err := s.Pool.Exec(ctx, `
		UPDATE senders
		SET backlog_at = GREATEST(next_slot_at, clock_timestamp())
		WHERE channel = $1 AND address = $2 AND backlog_at > GREATEST(next_slot_at, clock_timestamp())`, channel, address)
	if err != nil {
		return fmt.Errorf("close ranks behind a sender: %w", err)
	}
	rows, err := s.Pool.Query(ctx, `
		SELECT j.id
		FROM river_job j
		JOIN messages m ON m.id = (j.args ->> 'message_id')::bigint
		WHERE j.kind = 'send' AND j.queue = $1 AND j.state IN ('available', 'scheduled') AND j.scheduled_at > now() + make_interval(secs => $2)
			AND m.state = 'queued' AND m.reason IS NULL
		ORDER BY j.priority, j.scheduled_at, j.id`, sendQueue(channel), nearSlot.Seconds())
	if err != nil {
		return fmt.Errorf("find who sleeps behind a sender: %w", err)
	}
	sleeping, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("find who sleeps behind a sender: %w", err)
	}
	for part := range slices.Chunk(sleeping, s.FanOutChunk) {
		_, err := s.Pool.Exec(ctx, `
			WITH turns AS (
				UPDATE senders
				SET backlog_at = GREATEST(backlog_at, clock_timestamp()) + make_interval(secs => cardinality($3::bigint[]) / per_second::float8)
				WHERE channel = $1 AND address = $2
				RETURNING backlog_at, 1 / per_second::float8 AS spacing
			)
			UPDATE river_job j
			SET scheduled_at = LEAST(j.scheduled_at, t.backlog_at - make_interval(secs => (cardinality($3::bigint[]) - u.n) * t.spacing))
			FROM turns t, unnest($3::bigint[]) WITH ORDINALITY AS u (id, n)
			WHERE j.id = u.id AND j.state IN ('available', 'scheduled')`, channel, address, part)
		if err != nil {
			return fmt.Errorf("close ranks behind a sender: %w", err)
		}
	}
	if len(sleeping) > 0 {
		s.wake([]string{sendQueue(channel)})
	}
	return nil
}

// enqueueQueued gives the messages of a resumed campaign that are still queued a job again. Those that a job waits for
// are left alone. One whose job runs gets another, since that job may have found the campaign paused: two jobs of one
// message make one call.
func (s *sender) enqueueQueued(ctx context.Context, id int64) error {
	waiting, err := s.waitingSends(ctx, id)
	if err != nil {
		return fmt.Errorf("find the jobs of campaign %d: %w", id, err)
	}
	for last := int64(0); ; {
		n, channel := 0, ""
		err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				SELECT id, channel
				FROM messages
				WHERE campaign_id = $1 AND id > $2 AND state = 'queued'
				ORDER BY id
				LIMIT $3`, id, last, s.FanOutChunk)
			if err != nil {
				return err
			}
			n = 0
			var ids []int64
			var message int64
			if _, err := pgx.ForEachRow(rows, []any{&message, &channel}, func() error {
				n, last = n+1, message
				if _, waits := waiting[message]; !waits {
					ids = append(ids, message)
				}
				return nil
			}); err != nil {
				return err
			}
			return enqueueSends(ctx, tx, channel, ids)
		})
		if err != nil {
			return fmt.Errorf("enqueue the queued messages of campaign %d: %w", id, err)
		}
		if n > 0 {
			s.wake([]string{sendQueue(channel)})
		}
		if n < s.FanOutChunk {
			return nil
		}
	}
}

// waitingSends are the messages of a campaign that a job waits for.
func (s *sender) waitingSends(ctx context.Context, id int64) (map[int64]struct{}, error) {
	rows, err := s.Pool.Query(ctx, `
		SELECT m.id
		FROM river_job j
		JOIN messages m ON m.id = (j.args ->> 'message_id')::bigint
		WHERE j.kind = 'send' AND j.queue IN ($2, $3) AND j.state IN ('available', 'scheduled', 'retryable') AND m.campaign_id = $1`,
		id, jobs.QueueSendSMS, jobs.QueueSendEmail)
	if err != nil {
		return nil, err
	}
	waiting := map[int64]struct{}{}
	var message int64
	_, err = pgx.ForEachRow(rows, []any{&message}, func() error { waiting[message] = struct{}{}; return nil })
	return waiting, err
}
