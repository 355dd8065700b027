package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/recipienttime"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// dispatch is the decision on one message: to call the provider, or why not.
type dispatch struct {
	id, campaignID, businessID int64
	channel, address           string
	attempt                    int
	at                         time.Time // dispatched_at, the database's clock
	message                    provider.Message
	via                        provider.Sender

	stop   string        // not empty: no call, and why
	snooze time.Duration // with stop: ask again after
}

// Reasons for not calling, as they stand in messages.reason and in metrics.
const (
	stopSuppressed   = "suppressed"
	stopUnsubscribed = "unsubscribed"
	stopErased       = "erased"
	stopCancelled    = "campaign_cancelled"
	stopPaused       = "campaign_paused"
	stopHalted       = "campaign_halted" // paused or cancelled between the decision and its commit
	stopQuiet        = "quiet_hours"
	stopPending      = "inbound_pending"
	stopSettled      = "settled_already"
	stopCutOff       = "cut_off"
	stopElsewhere    = "dispatching_elsewhere"
	stopNoSender     = "no_sender"
)

// pendingAgain is when a message that waits for an inbound receipt is tried again.
const pendingAgain = time.Second

// elsewhereAgain is when a job looks again at a message that another job is dispatching: River runs that one for a minute
// at most, or puts it back.
const elsewhereAgain = time.Minute

// dispatch decides, under the message's lock, whether to call the provider, and commits that decision before
// the call, with those who decide at the same time where nothing speaks against it. What a call needs is read in the same
// transaction.
func (s *sender) dispatch(ctx context.Context, messageID, jobID int64) (dispatch, error) {
	item := &dispatchItem{member: newMember(), ctx: ctx, jobID: jobID, candidate: candidate{dispatch: dispatch{id: messageID}}}
	err := s.dispatches.do(ctx, item)
	if errors.Is(err, errNotInGroup) {
		return s.dispatchAlone(ctx, messageID, jobID)
	}
	return item.dispatch, err
}

// dispatchAlone is dispatch in a transaction of its own.
func (s *sender) dispatchAlone(ctx context.Context, messageID, jobID int64) (dispatch, error) {
	var d dispatch
	err := beginHot(ctx, s.Pool, func(tx pgx.Tx) error {
		var err error
		d, err = s.decide(ctx, tx, messageID, jobID)
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "ON001" {
		// The database's own guard: decide looked before the suppression was committed. Look again.
		return dispatch{stop: stopSuppressed, snooze: 100 * time.Millisecond}, nil
	}
	if errors.As(err, &refused) && refused.Code == "ON002" {
		return dispatch{stop: stopPending, snooze: pendingAgain}, nil
	}
	if errors.As(err, &refused) && refused.Code == "ON004" {
		// As above: decide looked before the halt was committed.
		return dispatch{stop: stopHalted, snooze: 100 * time.Millisecond}, nil
	}
	if err != nil {
		return dispatch{}, fmt.Errorf("dispatch message %d: %w", messageID, err)
	}
	return d, nil
}

// candidate is a message that is decided about, and what speaks for and against it.
type candidate struct {
	dispatch
	public                      uuid.UUID
	subject, body               string
	state                       lifecycle.MessageState
	campaignStatus              string // "": it has no campaign
	optedOut, suppressed, holds bool
	erased                      bool
	zone, country               string
}

// lockCandidates reads messages that are to be dispatched, by ascending id, and locks them.
func lockCandidates(ctx context.Context, tx pgx.Tx, ids []int64) ([]candidate, error) {
	rows, err := tx.Query(ctx, `
		SELECT m.id, m.public_id, COALESCE(m.campaign_id, 0), m.business_id, m.channel, m.address, m.subject, m.body, m.state, m.attempt,
			COALESCE(c.status, ''), b.opted_out, b.erased_at IS NOT NULL, COALESCE(b.timezone, ''), COALESCE(b.country, ''),
			onward_suppressed(m.channel, m.address),
			EXISTS (SELECT 1 FROM inbound_pending p WHERE p.channel = m.channel AND p.address = m.address)
		FROM messages m
		JOIN businesses b ON b.id = m.business_id
		LEFT JOIN campaigns c ON c.id = m.campaign_id
		WHERE m.id = ANY($1)
		ORDER BY m.id
		FOR NO KEY UPDATE OF m`, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.id, &c.public, &c.campaignID, &c.businessID, &c.channel, &c.address, &c.subject, &c.body, &c.state, &c.attempt,
			&c.campaignStatus, &c.optedOut, &c.erased, &c.zone, &c.country, &c.suppressed, &c.holds)
		return c, err
	})
}

func (s *sender) decide(ctx context.Context, tx pgx.Tx, messageID, jobID int64) (dispatch, error) {
	found, err := lockCandidates(ctx, tx, []int64{messageID})
	if err != nil {
		return dispatch{id: messageID}, err
	}
	if len(found) == 0 {
		return dispatch{stop: stopErased}, nil
	}
	c := found[0]
	d := c.dispatch
	switch {
	case c.state == lifecycle.MessageDispatching:
		elsewhere, err := calledElsewhere(ctx, tx, messageID, jobID)
		if err != nil {
			return d, err
		}
		if elsewhere {
			d.stop, d.snooze = stopElsewhere, elsewhereAgain
			return d, nil
		}
		// An earlier run was cut off after the commit: the provider may have been called.
		d.stop = stopCutOff
		return d, s.toUnknown(ctx, tx, d, stopCutOff)
	case c.state != lifecycle.MessageQueued:
		d.stop = stopSettled
		return d, nil
	case c.campaignStatus == "cancelled":
		return d, s.cancelMessage(ctx, tx, &d, stopCancelled)
	case c.campaignStatus == "paused":
		d.stop = stopPaused // resuming enqueues every queued message anew
		return d, nil
	case c.erased:
		return d, s.cancelMessage(ctx, tx, &d, stopErased)
	case c.suppressed:
		return d, s.cancelMessage(ctx, tx, &d, stopSuppressed)
	case c.optedOut:
		return d, s.cancelMessage(ctx, tx, &d, stopUnsubscribed)
	case c.holds:
		d.stop, d.snooze = stopPending, pendingAgain
		return d, nil
	}
	if wait := s.quiet(d.channel, d.address, c.zone, c.country); wait > 0 {
		d.stop, d.snooze = stopQuiet, wait
		// Why it is still queued: for who looks, and for closeRanks.
		_, err := tx.Exec(ctx, `UPDATE messages SET reason = $2 WHERE id = $1`, d.id, stopQuiet)
		return d, err
	}
	d.attempt++
	if err := s.compose(ctx, &d, c.public, c.subject, c.body); err != nil {
		return d, err
	}
	if d.via == nil {
		d.stop = stopNoSender
		return d, pauseCampaign(ctx, tx, d.campaignID, "no provider is configured for "+d.channel)
	}
	err = tx.QueryRow(ctx, `
		UPDATE messages
		SET state = 'dispatching', attempt = $2, dispatched_at = clock_timestamp(), reason = NULL, updated_at = now()
		WHERE id = $1
		RETURNING dispatched_at`, d.id, d.attempt).Scan(&d.at)
	if err != nil {
		return d, err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at, job_id)
		VALUES ($1, $2, $3, $4, $5, $6)`, d.id, d.channel, d.address, d.attempt, d.at, jobID)
	if err != nil {
		return d, err
	}
	return d, pgstore.Count(ctx, tx, d.campaignID, d.id, string(lifecycle.MessageQueued), string(lifecycle.MessageDispatching))
}

// calledElsewhere reports whether another job than this one is making the message's call. A message may have two jobs: one
// that a pause did not end, and one that the resume made.
func calledElsewhere(ctx context.Context, tx pgx.Tx, messageID, jobID int64) (bool, error) {
	var is bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM dispatches
			WHERE message_id = $1 AND job_id <> $2 AND dispatched_at > now() - make_interval(secs => $3)
		)`, messageID, jobID, (2 * elsewhereAgain).Seconds()).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("see who dispatches message %d: %w", messageID, err)
	}
	return is, nil
}

// quiet is how long the recipient's quiet hours still last; email has none.
func (s *sender) quiet(channel, address, zone, country string) time.Duration {
	if channel != jobs.ChannelSMS {
		return 0
	}
	now := s.Clock()
	where := recipienttime.Recipient{Timezone: zone, Country: country, Phone: address}
	open, ever := recipienttime.NextOpen(now, s.QuietHours, s.zones.Of(where))
	if !ever {
		// No minute suits all the zones that the recipient may be in; somebody may set one meanwhile.
		return time.Hour
	}
	return open.Sub(now)
}

// cancelMessage ends a message that will not be sent.
func (s *sender) cancelMessage(ctx context.Context, tx pgx.Tx, d *dispatch, reason string) error {
	d.stop = reason
	_, err := tx.Exec(ctx, `
		UPDATE messages
		SET state = 'canceled', reason = $2, updated_at = now()
		WHERE id = $1`, d.id, reason)
	if err != nil {
		return err
	}
	return pgstore.Count(ctx, tx, d.campaignID, d.id, string(lifecycle.MessageQueued), string(lifecycle.MessageCanceled))
}

// toUnknown marks a message whose provider call may have happened, and starts the search for evidence.
func (s *sender) toUnknown(ctx context.Context, tx pgx.Tx, d dispatch, reason string) error {
	tag, err := tx.Exec(ctx, `
		UPDATE messages
		SET state = 'unknown', reason = $2, updated_at = now()
		WHERE id = $1 AND state = 'dispatching' AND attempt = $3`, d.id, reason, d.attempt)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return nil // evidence was quicker
	}
	_, err = tx.Exec(ctx, `
		UPDATE dispatches
		SET state = 'unknown', unknown_at = now()
		WHERE message_id = $1`, d.id)
	if err != nil {
		return err
	}
	client := river.ClientFromContext[pgx.Tx](ctx)
	_, err = client.InsertTx(ctx, tx, jobs.ReconcileArgs{MessageID: d.id, Attempt: d.attempt}, &river.InsertOpts{
		ScheduledAt: s.Clock().Add(s.ReconcileAfter[0]),
	})
	if err != nil {
		return fmt.Errorf("enqueue the reconciliation: %w", err)
	}
	return pgstore.Count(ctx, tx, d.campaignID, d.id, string(lifecycle.MessageDispatching), string(lifecycle.MessageUnknown))
}
