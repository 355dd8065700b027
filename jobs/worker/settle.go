package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs/provider"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// settle records what came of a provider call and tries again while the database is away: until it succeeds the
// outcome lives in this process alone. If it never does, the message stays dispatching, and the next run of the
// job makes it unknown.
func (s *sender) settle(ctx context.Context, d dispatch, jobID int64, accepted provider.Accepted, failure *provider.SendError) error {
	if failure != nil && failure.Class == provider.ClassRetryLater {
		return s.retryLater(ctx, d, jobID, failure)
	}
	if failure == nil {
		item := &settleItem{member: newMember(), d: d, jobID: jobID, accepted: accepted}
		err := s.settled.do(ctx, item)
		if err == nil {
			s.wake(item.wake)
			s.report(ctx, item.applied, time.Time{})
			return nil
		}
		if !errors.Is(err, errNotInGroup) {
			return err
		}
	}
	var applied []pgstore.Applied
	var wake []string
	record := func() error {
		return beginHot(ctx, s.Pool, func(tx pgx.Tx) error {
			var err error
			if failure == nil {
				applied, wake, err = s.accepted(ctx, tx, d, jobID, accepted)
			} else {
				applied, err = s.refused(ctx, tx, d, jobID, failure)
			}
			return err
		})
	}
	if err := persist(ctx, record); err != nil {
		return fmt.Errorf("record the outcome of message %d: %w", d.id, err)
	}
	s.wake(wake)
	s.report(ctx, applied, time.Time{})
	return nil
}

// settleTimeout bounds the recording of an outcome, retries included.
const settleTimeout = 15 * time.Second

// settling is the context of recording what is known and must not be lost to a stop of this process.
func settling(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), settleTimeout, errors.New("time-out of recording a send's outcome"))
}

// persist repeats fn with growing pauses until it succeeds or ctx ends.
func persist(ctx context.Context, fn func() error) error {
	pause := 20 * time.Millisecond
	for {
		err := fn()
		if err == nil {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return errors.Join(err, context.Cause(ctx))
		case <-t.C:
		}
		pause = min(2*pause, time.Second)
	}
}

// accepted takes the provider's yes: from the call's answer, or found later by a look-up.
func (s *sender) accepted(ctx context.Context, tx pgx.Tx, d dispatch, jobID int64, a provider.Accepted) (applied []pgstore.Applied, wake []string, err error) {
	sid := cleanKey(a.SID)
	raised, err := pgstore.Raise(ctx, tx, pgstore.Report{
		MessageID: d.id, State: lifecycle.MessageAccepted, ProviderSID: sid, Segments: a.Segments,
		Price: a.Price, PriceUnit: a.PriceUnit, At: d.at,
	})
	if err != nil {
		return nil, nil, err
	}
	applied, err = pgstore.Apply(ctx, tx, []pgstore.Fact{{
		BusinessID: d.businessID, Event: channelEvent(d.channel, lifecycle.SMSSentEvent, lifecycle.EmailSent), OccurredAt: d.at,
		Key: messageKey(d.id, "sent"), Source: pgstore.SourceMessage, MessageID: d.id, JobID: jobID,
	}})
	if err != nil {
		return nil, nil, err
	}
	if wake, err = requeueMatching(ctx, tx, "message:"+sid); err != nil {
		return nil, nil, err
	}
	return applied, wake, raised.Count(ctx, tx)
}

// refused takes the provider's no, or its silence, by class.
func (s *sender) refused(ctx context.Context, tx pgx.Tx, d dispatch, jobID int64, f *provider.SendError) ([]pgstore.Applied, error) {
	switch f.Class {
	case provider.ClassUnknown:
		return nil, s.toUnknown(ctx, tx, d, clean(f.Code))
	case provider.ClassSenderBroken:
		if d.campaignID == 0 {
			return nil, s.fail(ctx, tx, d, f)
		}
		// The campaign first: counters are locked last.
		if err := pauseCampaign(ctx, tx, d.campaignID, "the provider refuses the sender or the account (code "+clean(f.Code)+")"); err != nil {
			return nil, err
		}
		return nil, s.requeue(ctx, tx, d, string(f.Class))
	case provider.ClassContentRefused:
		return nil, s.fail(ctx, tx, d, f)
	}
	if err := s.fail(ctx, tx, d, f); err != nil {
		return nil, err
	}
	fact := pgstore.Fact{
		BusinessID: d.businessID, Event: channelEvent(d.channel, lifecycle.SMSFailed, lifecycle.EmailBounced), OccurredAt: d.at,
		Key: messageKey(d.id, "failed"), Source: pgstore.SourceMessage, MessageID: d.id, JobID: jobID,
	}
	if f.Class == provider.ClassOptedOut {
		fact.Event, fact.Key = lifecycle.OptedOut, messageKey(d.id, "opted_out")
	}
	applied, err := pgstore.Apply(ctx, tx, []pgstore.Fact{fact})
	if err != nil || f.Class != provider.ClassOptedOut {
		return applied, err
	}
	_, err = pgstore.Suppress(ctx, tx, []pgstore.Suppression{{
		Address: pgstore.Address{Channel: d.channel, Address: d.address},
		Reason:  "provider", Source: pgstore.SourceMessage, SourceID: d.message.ID,
	}})
	return applied, err
}

// fail ends a message that the provider certainly did not take.
func (s *sender) fail(ctx context.Context, tx pgx.Tx, d dispatch, f *provider.SendError) error {
	raised, err := pgstore.Raise(ctx, tx, pgstore.Report{
		MessageID: d.id, State: lifecycle.MessageFailed, ErrorCode: cleanKey(f.Code), Reason: string(f.Class), At: d.at,
	})
	if err != nil {
		return err
	}
	// Refused at the door: it was never sent.
	if _, err := tx.Exec(ctx, `UPDATE messages SET sent_at = NULL WHERE id = $1 AND provider_sid IS NULL`, d.id); err != nil {
		return err
	}
	return raised.Count(ctx, tx)
}

// maxRetryLater bounds how long a message is offered to a provider that does not take it.
const maxRetryLater = 15 * time.Minute

// retryLater gives back a message that was certainly not processed, and slows its sender down where the
// provider said that we are too fast.
func (s *sender) retryLater(ctx context.Context, d dispatch, jobID int64, f *provider.SendError) error {
	wait := f.RetryAfter
	if wait <= 0 {
		// 1 s, 2 s, 4 s … by attempt.
		wait = min(time.Second<<min(d.attempt-1, 10), maxRetryLater)
	}
	if isThrottle(f) {
		address, _ := s.senderOf(d.channel)
		// Not again for calls whose slots were taken before the last slow-down could show: they are one message of the
		// provider's. Without this, a second of 429 at 100 calls a second would slow a sender down 64 times.
		_, err := s.Pool.Exec(ctx, `
			UPDATE senders
			SET slowdown = CASE WHEN slowdown = 1 OR $4 > updated_at THEN LEAST(slowdown * 2, 64) ELSE slowdown END,
				next_slot_at = GREATEST(next_slot_at, clock_timestamp() + make_interval(secs => $3)),
				updated_at = CASE WHEN slowdown = 1 OR $4 > updated_at THEN clock_timestamp() ELSE updated_at END
			WHERE channel = $1 AND address = $2`, d.channel, address, f.RetryAfter.Seconds(), d.at.Add(-nearSlot))
		if err != nil {
			s.Logger.ErrorContext(ctx, "slow a sender down", "channel", d.channel, "error", err)
		}
	}
	return s.giveBack(ctx, d, jobID, string(f.Class), wait)
}

func isThrottle(f *provider.SendError) bool {
	switch f.Code {
	case "20429", "21611", "30001", "http_429":
		return true
	}
	return f.RetryAfter > 0
}

// giveBack makes a message queued again that no provider took, and lets its job sleep.
func (s *sender) giveBack(ctx context.Context, d dispatch, jobID int64, reason string, wait time.Duration) error {
	// Also while this process stops: left as it is, the message would count as one that may have been sent.
	ctx, cancel := settling(ctx)
	defer cancel()
	err := persist(ctx, func() error {
		return pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error { return s.requeue(ctx, tx, d, reason) })
	})
	if err != nil {
		return fmt.Errorf("give back message %d (job %d): %w", d.id, jobID, err)
	}
	return river.JobSnooze(wait)
}

// requeue makes a dispatching message queued again: only for one that certainly was not processed.
func (s *sender) requeue(ctx context.Context, tx pgx.Tx, d dispatch, reason string) error {
	tag, err := tx.Exec(ctx, `
		UPDATE messages
		SET state = 'queued', reason = $3, updated_at = now()
		WHERE id = $1 AND state = 'dispatching' AND attempt = $2`, d.id, d.attempt, reason)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM dispatches WHERE message_id = $1`, d.id); err != nil {
		return err
	}
	return pgstore.Count(ctx, tx, d.campaignID, d.id, string(lifecycle.MessageDispatching), string(lifecycle.MessageQueued))
}
