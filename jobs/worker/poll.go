package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// Twilio repeats no callback that was lost, so a text that stays without a final state is looked up. Nothing of it is
// written when a text is sent, and messages have no index over their state, which would cost each of their updates:
// the facts of sends, in the order in which they were recorded, say what was sent when. A cursor follows them at the
// distance of the first delay, each is looked at once, and only a message that is not final by then gets a row of its
// own in message_polls.

const (
	// pollChunk is how many facts one statement looks through: some 10 ms.
	pollChunk = 5000
	// pollBudget is how long a run may take, below the time-out of a job.
	pollBudget = 40 * time.Second
	// pollLease is when a message is due again whose poll was cut off.
	pollLease = 5 * time.Minute
)

// pollTooOld is how long after its send a message may be met for the first time and still be polled: the last delay,
// and a day in which no worker ran. Behind it lies what was sent before there were polls.
func (a *applier) pollTooOld() time.Duration { return a.PollAfter[len(a.PollAfter)-1] + 24*time.Hour }

// workPollMessages looks up texts whose callbacks were lost, at most PollsPerMinute of them over the whole fleet.
func (a *applier) workPollMessages(ctx context.Context, job *river.Job[jobs.PollMessagesArgs]) error {
	if a.SMSLookup == nil {
		return nil
	}
	until := time.Now().Add(pollBudget)
	if err := a.findSilent(ctx, until); err != nil {
		return err
	}
	due, err := a.claimPolls(ctx)
	if err != nil {
		return err
	}
	for _, p := range due {
		if time.Now().After(until) || ctx.Err() != nil {
			return nil // the rest is due again when its lease ends
		}
		goOn, err := a.poll(ctx, p, job.ID)
		if err != nil || !goOn {
			return err
		}
	}
	return nil
}

// findSilent lists the texts that were sent longer than the first delay ago and are not final.
func (a *applier) findSilent(ctx context.Context, until time.Time) error {
	for {
		var looked, found int
		// A fact is ripe by the start of its transaction: what has a lower id and is not committed yet would have to be
		// older than the delay, far above any transaction's time-out.
		err := a.Pool.QueryRow(ctx, `
			WITH progress AS (
				SELECT fact_id FROM poll_progress FOR UPDATE
			), chunk AS MATERIALIZED (
				SELECT f.id, f.event, f.message_id, f.recorded_at
				FROM facts f
				WHERE f.id > (SELECT fact_id FROM progress)
				ORDER BY f.id
				LIMIT $1
			), ripe AS (
				SELECT id, event, message_id
				FROM chunk
				WHERE id < COALESCE((SELECT min(id) FROM chunk WHERE recorded_at > now() - make_interval(secs => $2)), 9223372036854775807)
			), silent AS (
				INSERT INTO message_polls (message_id, next_at)
				SELECT m.id, now()
				FROM ripe r
				JOIN messages m ON m.id = r.message_id
				WHERE r.event = $3 AND m.channel = 'sms' AND m.provider_sid IS NOT NULL
					AND m.state IN ('accepted', 'sending', 'sent')
					AND m.sent_at > now() - make_interval(secs => $4)
				ORDER BY m.id
				ON CONFLICT (message_id) DO NOTHING
				RETURNING 1
			), moved AS (
				UPDATE poll_progress
				SET fact_id = (SELECT max(id) FROM ripe)
				WHERE EXISTS (SELECT 1 FROM ripe)
			)
			SELECT (SELECT count(*) FROM ripe), (SELECT count(*) FROM silent)`,
			pollChunk, a.PollAfter[0].Seconds(), string(lifecycle.SMSSentEvent), a.pollTooOld().Seconds()).Scan(&looked, &found)
		if err != nil {
			return fmt.Errorf("look for silent messages: %w", err)
		}
		if found > 0 {
			a.Logger.LogAttrs(ctx, slog.LevelInfo, "messages without a final state will be looked up", slog.Int("messages", found))
		}
		if looked < pollChunk || time.Now().After(until) {
			return nil
		}
	}
}

// pollDue is a message to look up.
type pollDue struct {
	messageID int64
	sid       string
	tries     int
	sentAt    time.Time
}

// claimPolls takes the polls that are due, as many as the running minute has left over the whole fleet. A claim is a
// lease: a worker that dies with it delays its messages, and loses none.
func (a *applier) claimPolls(ctx context.Context) ([]pollDue, error) {
	var due []pollDue
	err := pgx.BeginFunc(ctx, a.Pool, func(tx pgx.Tx) error {
		var left int
		err := tx.QueryRow(ctx, `
			UPDATE poll_progress
			SET minute = date_trunc('minute', now()),
				polled = CASE WHEN minute = date_trunc('minute', now()) THEN polled ELSE 0 END
			RETURNING $1 - polled`, a.PollsPerMinute).Scan(&left)
		if err != nil {
			return err
		}
		// Callbacks that came after all.
		_, err = tx.Exec(ctx, `
			DELETE FROM message_polls p
			USING messages m
			WHERE p.next_at <= now() AND m.id = p.message_id AND m.state NOT IN ('accepted', 'sending', 'sent')`)
		if err != nil || left <= 0 {
			return err
		}
		rows, err := tx.Query(ctx, `
			UPDATE message_polls p
			SET next_at = now() + make_interval(secs => $2)
			FROM (
				SELECT message_id
				FROM message_polls
				WHERE next_at <= now()
				ORDER BY next_at
				LIMIT $1
				FOR UPDATE SKIP LOCKED
			) d
			JOIN messages m ON m.id = d.message_id
			WHERE p.message_id = d.message_id
			RETURNING p.message_id, m.provider_sid, p.tries, COALESCE(m.sent_at, m.queued_at)`, left, pollLease.Seconds())
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (pollDue, error) {
			var p pollDue
			err := row.Scan(&p.messageID, &p.sid, &p.tries, &p.sentAt)
			return p, err
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE poll_progress SET polled = polled + $1`, len(due))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take messages to look up: %w", err)
	}
	return due, nil
}

// poll asks the provider about one message and takes its answer in. It reports whether there is a point in asking about
// the next.
func (a *applier) poll(ctx context.Context, p pollDue, jobID int64) (goOn bool, err error) {
	status, err := a.SMSLookup.Get(ctx, p.sid)
	if errors.Is(err, provider.ErrNotFound) {
		a.Logger.LogAttrs(ctx, slog.LevelWarn, "the provider does not know a message that it took", slog.Int64("message_id", p.messageID))
		return true, a.endPoll(ctx, p.messageID)
	}
	if err != nil {
		a.Logger.LogAttrs(ctx, slog.LevelWarn, "look up a message", slog.Int64("message_id", p.messageID), slog.Any("error", err))
		var refused *provider.SendError
		broken := errors.As(err, &refused) && (refused.Class == provider.ClassSenderBroken || refused.Class == provider.ClassRetryLater)
		return !broken, nil
	}
	var res result
	err = pgx.BeginFunc(ctx, a.Pool, func(tx pgx.Tx) error {
		var err error
		res, err = a.takeStatus(ctx, tx, p, status, jobID)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("take the status of message %d: %w", p.messageID, err)
	}
	if res.outcome == outcomeApplied && a.Observer.Drift != nil {
		a.Observer.Drift(jobs.ProviderTwilio)
	}
	a.wake(res.wake)
	a.report(ctx, res.applied, time.Time{})
	return true, nil
}

// takeStatus takes a looked-up status into the message as a callback's, and says when to look again. The facts have no
// receipt: their source is the system.
func (a *applier) takeStatus(ctx context.Context, tx pgx.Tx, p pollDue, status provider.Status, jobID int64) (result, error) {
	state, ok := twilioState(status.Status)
	var res result
	if ok {
		at := p.statusAt(status, a.Clock())
		var err error
		res, err = a.messageReport(ctx, tx, receipt{JobID: jobID, ReceivedAt: at}, pgstore.Report{
			MessageID: p.messageID, State: state, ProviderSID: p.sid, ErrorCode: cleanKey(status.ErrorCode),
			Segments: status.Segments, Price: status.Price, PriceUnit: status.PriceUnit, At: at,
		})
		if err != nil {
			return result{}, err
		}
	}
	next := p.tries + 1
	if ok && state.Final() || next >= len(a.PollAfter) {
		// A carrier that never confirms leaves a message sent for good: there is no more to know.
		_, err := tx.Exec(ctx, `DELETE FROM message_polls WHERE message_id = $1`, p.messageID)
		return res, err
	}
	_, err := tx.Exec(ctx, `
		UPDATE message_polls
		SET tries = $2, next_at = GREATEST($3::timestamptz, now() + make_interval(secs => $4))
		WHERE message_id = $1`, p.messageID, next, p.sentAt.Add(a.PollAfter[next]), a.PollAfter[0].Seconds())
	return res, err
}

// statusAt is when a status may have come about. The provider tells the second of sending and nothing of what came
// after it: it is the earliest that it can be, so that a lost report of long ago does not outrank what happened since.
func (p pollDue) statusAt(status provider.Status, now time.Time) time.Time {
	at := p.sentAt.Add(time.Millisecond) // after the fact of the send
	if status.DateSent.After(at) {
		at = status.DateSent
	}
	if at.After(now) {
		return now
	}
	return at
}

func (a *applier) endPoll(ctx context.Context, messageID int64) error {
	if _, err := a.Pool.Exec(ctx, `DELETE FROM message_polls WHERE message_id = $1`, messageID); err != nil {
		return fmt.Errorf("look no more for message %d: %w", messageID, err)
	}
	return nil
}
