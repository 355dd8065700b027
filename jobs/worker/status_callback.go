package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/provider/twilio"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workStatusCallback(ctx context.Context, job *river.Job[jobs.StatusCallbackArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.statusCallback)
}

// twilioState maps Twilio's status to a message state; false for those that say nothing about a message that
// we sent, and for those that Twilio may add.
func twilioState(status string) (lifecycle.MessageState, bool) {
	switch status {
	case "queued", "accepted", "scheduled":
		return lifecycle.MessageAccepted, true
	case "sending":
		return lifecycle.MessageSending, true
	case "sent":
		return lifecycle.MessageSent, true
	case "delivered", "partially_delivered":
		return lifecycle.MessageDelivered, true
	case "read":
		return lifecycle.MessageRead, true
	case "undelivered":
		return lifecycle.MessageUndelivered, true
	case "failed":
		return lifecycle.MessageFailed, true
	case "canceled":
		return lifecycle.MessageCanceled, true
	}
	return "", false
}

func (a *applier) statusCallback(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return failed("the body is not a form"), nil
	}
	status := first(form, "MessageStatus", "SmsStatus")
	state, ok := twilioState(status)
	if !ok {
		return ignored("status says nothing about a message of ours"), nil
	}
	sid := cleanKey(first(form, "MessageSid", "SmsSid"))
	id, err := findMessage(ctx, tx, sid, r.Query)
	if err != nil {
		return result{}, err
	}
	if id == 0 {
		return unmatched("message:" + sid), nil
	}
	return a.messageReport(ctx, tx, r, pgstore.Report{
		MessageID: id, State: state, ProviderSID: sid, ErrorCode: cleanKey(form.Get("ErrorCode")), At: r.ReceivedAt,
	})
}

// findMessage looks a message up by the provider's id, else by our own in the callback's query: a callback
// can come before the id is stored, and is then the evidence that the provider took the message. 0: not found.
func findMessage(ctx context.Context, tx pgx.Tx, sid, query string) (int64, error) {
	var id int64
	if sid != "" {
		err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE provider_sid = $1`, sid).Scan(&id)
		if err == nil || !errors.Is(err, pgx.ErrNoRows) {
			return id, err
		}
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return 0, nil //nolint:nilerr // a query that isn't ours names no message
	}
	public, err := uuid.Parse(q.Get(callbackMessage))
	if err != nil {
		return 0, nil //nolint:nilerr // as above
	}
	err = tx.QueryRow(ctx, `SELECT id FROM messages WHERE public_id = $1`, public).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// messageReport takes a provider's report into the message and, where it raised the message's state, into
// the business.
func (a *applier) messageReport(ctx context.Context, tx pgx.Tx, r receipt, report pgstore.Report) (result, error) {
	class, classified := twilio.Classify(report.ErrorCode)
	if classified {
		report.Reason = string(class)
	}
	raised, err := pgstore.Raise(ctx, tx, report)
	if err != nil {
		return result{}, err
	}
	if !raised.Up {
		return result{outcome: outcomeNoChange, detail: "the message was further already"}, nil
	}
	facts := evidence(raised, report.State, r)
	bad := report.State == lifecycle.MessageFailed || report.State == lifecycle.MessageUndelivered
	optedOut := bad && classified && class == provider.ClassOptedOut
	if optedOut {
		f := fact(raised, r, lifecycle.OptedOut, "opted_out", r.ReceivedAt)
		facts = append(facts, f)
	}
	applied, err := pgstore.Apply(ctx, tx, facts)
	if err != nil {
		return result{}, err
	}
	if optedOut {
		_, err := pgstore.Suppress(ctx, tx, []pgstore.Suppression{{
			Address: pgstore.Address{Channel: raised.Channel, Address: raised.Address},
			Reason:  "provider", Source: pgstore.SourceWebhook, SourceID: r.ID.String(),
		}})
		if err != nil {
			return result{}, err
		}
	}
	if bad && classified && class == provider.ClassSenderBroken {
		if err := pauseCampaign(ctx, tx, raised.CampaignID, "the provider refuses the sender or the account (code "+report.ErrorCode+")"); err != nil {
			return result{}, err
		}
	}
	if err := raised.Count(ctx, tx); err != nil {
		return result{}, err
	}
	res := of(applied)
	res.outcome = outcomeApplied // the message moved
	return res, nil
}

// evidence lists the facts that a report proves.
func evidence(m pgstore.Raised, state lifecycle.MessageState, r receipt) []pgstore.Fact {
	var facts []pgstore.Fact
	if m.From.Rank() < lifecycle.MessageAccepted.Rank() && state != lifecycle.MessageCanceled {
		// It went out when we called, whichever of callback and answer tells us first.
		at := r.ReceivedAt
		if m.DispatchedAt != nil {
			at = *m.DispatchedAt
		}
		facts = append(facts, fact(m, r, channelEvent(m.Channel, lifecycle.SMSSentEvent, lifecycle.EmailSent), "sent", at))
	}
	switch state {
	case lifecycle.MessageDelivered, lifecycle.MessageRead:
		facts = append(facts, fact(m, r, channelEvent(m.Channel, lifecycle.SMSDelivered, lifecycle.EmailDelivered), "delivered", r.ReceivedAt))
	case lifecycle.MessageFailed, lifecycle.MessageUndelivered:
		facts = append(facts, fact(m, r, channelEvent(m.Channel, lifecycle.SMSFailed, lifecycle.EmailBounced), "failed", r.ReceivedAt))
	}
	return facts
}

func fact(m pgstore.Raised, r receipt, e lifecycle.Event, what string, at time.Time) pgstore.Fact {
	return pgstore.Fact{
		BusinessID: m.BusinessID, Event: e, OccurredAt: at, Key: messageKey(m.MessageID, what),
		Source: pgstore.SourceWebhook, ReceiptID: r.ID, MessageID: m.MessageID, JobID: r.JobID,
	}
}

// messageKey is the key of a fact about a message: one of each kind, whoever reports it.
func messageKey(id int64, what string) string {
	return "m" + strconv.FormatInt(id, 10) + ":" + what
}

func channelEvent(channel string, sms, email lifecycle.Event) lifecycle.Event {
	if channel == jobs.ChannelEmail {
		return email
	}
	return sms
}

// first is the first value that is there under any of the keys.
func first(form url.Values, keys ...string) string {
	for _, k := range keys {
		if v := form.Get(k); v != "" {
			return v
		}
	}
	return ""
}

// pauseCampaign stops a campaign for a reason that an operator must see; messages stay queued.
func pauseCampaign(ctx context.Context, tx pgx.Tx, campaignID int64, reason string) error {
	if campaignID == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE campaigns
		SET status = 'paused', status_reason = $2, updated_at = now()
		WHERE id = $1 AND status IN ('sending', 'scheduled')`, campaignID, reason)
	if err != nil {
		return fmt.Errorf("pause campaign %d: %w", campaignID, err)
	}
	return nil
}
