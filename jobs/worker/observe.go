package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// Moved is one change of a status, committed.
type Moved struct {
	BusinessID int64
	Axis       lifecycle.Axis
	From, To   lifecycle.Status
	Event      lifecycle.Event
	Verdict    lifecycle.Verdict
	JobID      int64
	// ReceivedAt is when the webhook was received, CommittedAt when its effect was committed; ReceivedAt
	// is zero where no webhook led to it.
	ReceivedAt, CommittedAt time.Time
}

// ReceiptDone is one run of a job that applies a receipt.
type ReceiptDone struct {
	Provider, Kind, Outcome string
	// Latency is from receipt to commit.
	Latency time.Duration
}

// SendDone is one attempt to send.
type SendDone struct {
	Channel string
	// Outcome is accepted, a provider.Class, or why no call was made: suppressed, unsubscribed,
	// campaign_cancelled, not_started.
	Outcome string
	// Call is the duration of the provider call; 0 where none was made.
	Call time.Duration
}

// SendOutcomes lists what SendDone.Outcome may be beside accepted and the provider's classes: why no call was made.
func SendOutcomes() []string {
	return []string{
		stopSuppressed, stopUnsubscribed, stopErased, stopCancelled, stopPaused, stopHalted, stopQuiet, stopPending,
		stopSettled, stopCutOff, stopElsewhere, stopNoSender, notStarted,
	}
}

// notStarted is the outcome of a send whose slot passed before the call could begin.
const notStarted = "not_started"

// report logs and counts what was committed.
func (o *Options) report(ctx context.Context, applied []pgstore.Applied, receivedAt time.Time) {
	now := o.Clock()
	for _, a := range applied {
		for _, c := range a.Changes {
			if c.From != c.To {
				attrs := []slog.Attr{
					slog.Int64("business_id", a.Fact.BusinessID), slog.String("axis", string(c.Axis)),
					slog.String("from", string(c.From)), slog.String("to", string(c.To)),
					slog.String("event", string(a.Fact.Event)), slog.String("verdict", string(c.Verdict)),
					slog.Int64("job_id", a.Fact.JobID), slog.Int64("fact_id", a.FactID),
				}
				if a.Fact.ReceiptID != uuid.Nil {
					attrs = append(attrs, slog.String("receipt_id", a.Fact.ReceiptID.String()))
				}
				o.Logger.LogAttrs(ctx, slog.LevelInfo, "status", attrs...)
			}
			if o.Observer.Moved != nil {
				o.Observer.Moved(Moved{
					BusinessID: a.Fact.BusinessID, Axis: c.Axis, From: c.From, To: c.To, Event: a.Fact.Event,
					Verdict: c.Verdict, JobID: a.Fact.JobID, ReceivedAt: receivedAt, CommittedAt: now,
				})
			}
		}
	}
}
