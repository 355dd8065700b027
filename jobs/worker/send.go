package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/recipienttime"
)

// The query of a status callback: our own id of the message, and the attempt.
const (
	callbackMessage = "m"
	callbackAttempt = "a"
	// StatusCallbackPath is where Twilio reports to, below PublicURL.
	StatusCallbackPath = "/webhooks/twilio/status"
)

// startWithin is how long after the decision to dispatch the provider call must have begun; later, it is not
// made. An opt-out's 2xx waits for calls that could still begin (web/inbox), and relies on this.
const startWithin = time.Second

// sender works the jobs that send. A send is three steps, none of which another worker can repeat:
//
//  1. dispatch: one transaction decides and commits the message as dispatching (dispatch.go);
//  2. the provider call, outside any transaction;
//  3. settle: one transaction records what came of it (settle.go).
//
// A job that finds its message dispatching was cut off between 1 and 3. It does not call: the message becomes
// unknown and is reconciled from evidence (reconcile.go).
type sender struct {
	Options
	zones *recipienttime.Zones
}

func (s *sender) workSend(ctx context.Context, job *river.Job[jobs.SendArgs]) error {
	slot, err := s.reserve(ctx, job.Args)
	if err != nil {
		return err
	}
	if slot.wait > 0 {
		return river.JobSnooze(slot.wait)
	}
	if err := s.sleepUntil(ctx, slot.at); err != nil {
		return err
	}
	start := time.Now() // monotonic, and before the decision: the deadline errs on the early side
	d, err := s.dispatch(ctx, job.Args.MessageID)
	if err != nil {
		return err
	}
	if d.stop != "" {
		return s.stopped(ctx, job, d)
	}
	if time.Since(start) > startWithin {
		s.done(d, "not_started", 0)
		return s.giveBack(ctx, d, job.ID, "not_started", time.Second)
	}
	began := time.Now()
	accepted, err := d.via.Send(ctx, d.message)
	took := time.Since(began)
	var failure *provider.SendError
	if err != nil && !errors.As(err, &failure) {
		// A sender that breaks its contract is taken at its most dangerous.
		failure = &provider.SendError{Class: provider.ClassUnknown, Code: "untyped", Err: err}
	}
	outcome := "accepted"
	if failure != nil {
		outcome = string(failure.Class)
	}
	s.done(d, outcome, took)
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "send", slog.Int64("message_id", d.id), slog.Int("attempt", d.attempt),
		slog.String("channel", d.channel), slog.String("outcome", outcome), slog.Duration("call", took), slog.Int64("job_id", job.ID))
	// What the provider said is known now and must not be lost to a stop of this process.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), settleTimeout, errors.New("time-out of recording a send's outcome"))
	defer cancel()
	return s.settle(ctx, d, job.ID, accepted, failure)
}

// settleTimeout bounds the recording of an outcome, retries included.
const settleTimeout = 15 * time.Second

// sleepUntil waits for a slot that is near. The wait is bounded by nearSlot, so no worker is held for long.
func (s *sender) sleepUntil(ctx context.Context, at time.Duration) error {
	if at <= 0 {
		return nil
	}
	t := time.NewTimer(at)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a slot: %w", context.Cause(ctx))
	}
}

// stopped ends a job whose message was not dispatched.
func (s *sender) stopped(ctx context.Context, job *river.Job[jobs.SendArgs], d dispatch) error {
	if d.id != 0 {
		s.done(d, d.stop, 0)
	}
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "send", slog.Int64("message_id", job.Args.MessageID),
		slog.String("outcome", d.stop), slog.Int64("job_id", job.ID))
	if d.snooze > 0 {
		return river.JobSnooze(d.snooze)
	}
	return nil
}

func (s *sender) done(d dispatch, outcome string, took time.Duration) {
	if s.Observer.Sent != nil {
		s.Observer.Sent(SendDone{Channel: d.channel, Outcome: outcome, Call: took})
	}
}

// compose makes the provider's message out of ours.
func (s *sender) compose(d *dispatch, public uuid.UUID, subject, body string) error {
	d.message = provider.Message{
		ID: public.String(), Attempt: d.attempt, Channel: d.channel, To: d.address, Subject: subject, Text: body,
	}
	if d.channel == jobs.ChannelSMS {
		d.via = s.SMS
		d.message.StatusCallback = s.PublicURL + StatusCallbackPath + "?" + url.Values{
			callbackMessage: {public.String()}, callbackAttempt: {strconv.Itoa(d.attempt)},
		}.Encode()
	} else {
		d.via = s.Email
		if err := s.composeEmail(d, public); err != nil {
			return err
		}
	}
	return nil
}

// senderOf is the address whose pace a message shares.
func (s *sender) senderOf(channel string) (address string, perSecond float64) {
	if channel == jobs.ChannelEmail {
		return s.EmailFrom, s.EmailPerSecond
	}
	return s.SMSFrom, s.SMSPerSecond
}

// slot is a sender's turn: at is how far away it is, or wait how long the job is to sleep before it asks again.
type slot struct{ at, wait time.Duration }

// nearSlot is how far ahead a slot is reserved; a job further back in the line sleeps in the queue instead of
// holding a worker.
const nearSlot = 250 * time.Millisecond

// reserve takes the sender's next slot over the whole fleet. Slots are spaced by the slower of the sender's and
// the campaign's pace. A job that gets none is put behind those that were put to sleep before it.
func (s *sender) reserve(ctx context.Context, args jobs.SendArgs) (slot, error) {
	address, perSecond := s.senderOf(args.Channel)
	var at, wait *float64
	err := s.Pool.QueryRow(ctx, `
		WITH pace AS (
			SELECT LEAST(s.per_second, COALESCE(c.per_second, s.per_second)) AS per_second
			FROM messages m
			LEFT JOIN campaigns c ON c.id = m.campaign_id
			JOIN senders s ON s.channel = m.channel AND s.address = $2
			WHERE m.id = $1 AND m.state = 'queued' AND (c.id IS NULL OR c.status = 'sending')
		), slot AS (
			UPDATE senders s
			SET next_slot_at = GREATEST(s.next_slot_at, clock_timestamp()) + make_interval(secs => (s.slowdown / pace.per_second)::float8),
				slowdown = GREATEST(1, s.slowdown * 0.98)
			FROM pace
			WHERE s.channel = $3 AND s.address = $2 AND s.next_slot_at <= clock_timestamp() + make_interval(secs => $4)
			RETURNING GREATEST(extract(epoch FROM s.next_slot_at - clock_timestamp())::float8 - (s.slowdown / pace.per_second)::float8, 0) AS at
		)
		SELECT (SELECT at FROM slot), (SELECT 1 / per_second::float8 FROM pace)`,
		args.MessageID, address, args.Channel, nearSlot.Seconds()).Scan(&at, &wait)
	switch {
	case err != nil:
		return slot{}, fmt.Errorf("reserve a slot: %w", err)
	case at != nil:
		return slot{at: time.Duration(*at * float64(time.Second))}, nil
	case wait == nil:
		// Not to be sent now (dispatch says why), or a sender that is not listed yet.
		_, err := s.Pool.Exec(ctx, `
			INSERT INTO senders (channel, address, per_second)
			VALUES ($1, $2, $3)
			ON CONFLICT (channel, address) DO NOTHING`, args.Channel, address, perSecond)
		if err != nil {
			return slot{}, fmt.Errorf("list a sender: %w", err)
		}
		return slot{}, nil
	}
	var sleep float64
	err = s.Pool.QueryRow(ctx, `
		UPDATE senders
		SET backlog_at = GREATEST(backlog_at, next_slot_at) + make_interval(secs => $3 * slowdown::float8)
		WHERE channel = $1 AND address = $2
		RETURNING extract(epoch FROM backlog_at - clock_timestamp())::float8`, args.Channel, address, *wait).Scan(&sleep)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return slot{}, fmt.Errorf("queue for a slot: %w", err)
	}
	return slot{wait: max(time.Duration(sleep*float64(time.Second)), nearSlot)}, nil
}
