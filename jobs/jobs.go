// Package jobs names what may be enqueued: job kinds, their arguments, queues and insert options.
// Nothing in it runs; the workers are in jobs/worker. It imports River alone.
//
// Arguments carry ids and provider facts, snake_case and additive only: a job enqueued by an older
// version must still decode (see testdata/golden.json).
package jobs

import (
	"strings"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// The queues. A flood in one cannot starve another: each has workers of its own.
const (
	QueueInbound     = "inbound"     // replies and opt-outs: first, since a send waits for them
	QueueCallbacks   = "callbacks"   // providers' delivery reports
	QueueBilling     = "billing"     // purchases, subscriptions
	QueueSendSMS     = "send_sms"    // one job a message
	QueueSendEmail   = "send_email"  // one job a message
	QueueMaintenance = "maintenance" // fan-out, reconciliation, partitions
)

// Queues lists every queue, in the order in which an operator wants to see them.
func Queues() []string {
	return []string{QueueInbound, QueueCallbacks, QueueBilling, QueueSendSMS, QueueSendEmail, QueueMaintenance}
}

// PriorityCampaign is that of a campaign's jobs. What somebody waits for, a test message or one that was put back by
// hand, has River's default of 1 and does not queue behind a hundred thousand of them.
const PriorityCampaign = 2

// Channels of messages and suppressions.
const (
	ChannelSMS   = "sms"
	ChannelEmail = "email"
)

// SendArgs dispatches one message.
type SendArgs struct {
	MessageID int64  `json:"message_id"`
	Channel   string `json:"channel"`
}

// Kind is the job's name in river_job.
func (SendArgs) Kind() string { return "send" }

// InsertOpts puts each channel on a queue of its own.
func (a SendArgs) InsertOpts() river.InsertOpts {
	if a.Channel == ChannelEmail {
		return river.InsertOpts{Queue: QueueSendEmail}
	}
	return river.InsertOpts{Queue: QueueSendSMS}
}

// ReceiptArgs is what every job that applies a receipt carries.
type ReceiptArgs struct {
	ReceiptID string `json:"receipt_id"` // webhook_events.id
}

// StatusCallbackArgs applies a Twilio delivery report.
type StatusCallbackArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (StatusCallbackArgs) Kind() string { return "status_callback" }

// InsertOpts names the queue.
func (StatusCallbackArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueCallbacks}
}

// ReplyArgs applies an inbound message: a reply, STOP, START or HELP.
type ReplyArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (ReplyArgs) Kind() string { return "reply" }

// InsertOpts names the queue.
func (ReplyArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueInbound} }

// EmailEventArgs applies a delivery event of the email provider.
type EmailEventArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (EmailEventArgs) Kind() string { return "email_event" }

// InsertOpts names the queue.
func (EmailEventArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueCallbacks} }

// UnsubscribeArgs applies a one-click unsubscribe or a spam complaint.
type UnsubscribeArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (UnsubscribeArgs) Kind() string { return "unsubscribe" }

// InsertOpts names the queue.
func (UnsubscribeArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueInbound} }

// TrackArgs applies an open or a click that web/track accepted.
type TrackArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (TrackArgs) Kind() string { return "track" }

// InsertOpts names the queue.
func (TrackArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueCallbacks} }

// PurchaseArgs applies a charge that succeeded.
type PurchaseArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (PurchaseArgs) Kind() string { return "purchase" }

// InsertOpts names the queue.
func (PurchaseArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueBilling} }

// SubscriptionArgs applies a change of a subscription other than its end.
type SubscriptionArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (SubscriptionArgs) Kind() string { return "subscription" }

// InsertOpts names the queue.
func (SubscriptionArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueBilling} }

// CancellationArgs applies the end of a subscription.
type CancellationArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (CancellationArgs) Kind() string { return "cancellation" }

// InsertOpts names the queue.
func (CancellationArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueBilling} }

// ChargeFailedArgs records a charge that failed.
type ChargeFailedArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (ChargeFailedArgs) Kind() string { return "charge_failed" }

// InsertOpts names the queue.
func (ChargeFailedArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueBilling} }

// RefundArgs takes money that was given back off its payment.
type RefundArgs struct{ ReceiptArgs }

// Kind is the job's name in river_job.
func (RefundArgs) Kind() string { return "refund" }

// InsertOpts names the queue.
func (RefundArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueBilling} }

// FanOutArgs freezes a campaign's audience and turns it into messages and send jobs, a chunk at a time.
type FanOutArgs struct {
	CampaignID int64 `json:"campaign_id"`
	// Resume enqueues, before the fan-out goes on, every message that is still queued and has no job: the pause
	// ended these.
	Resume bool `json:"resume,omitempty"`
}

// Kind is the job's name in river_job.
func (FanOutArgs) Kind() string { return "campaign_fan_out" }

// InsertOpts names the queue.
func (FanOutArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, Priority: PriorityCampaign}
}

// CampaignHaltArgs ends what a paused or cancelled campaign has queued: the jobs, and of a cancelled one the messages.
type CampaignHaltArgs struct {
	CampaignID int64 `json:"campaign_id"`
}

// Kind is the job's name in river_job.
func (CampaignHaltArgs) Kind() string { return "campaign_halt" }

// InsertOpts names the queue; there it comes before fan-outs.
func (CampaignHaltArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance}
}

// BulkArgs goes on with an operator's action on many businesses, a chunk at a time.
type BulkArgs struct {
	BulkID int64 `json:"bulk_id"`
}

// Kind is the job's name in river_job.
func (BulkArgs) Kind() string { return "bulk" }

// InsertOpts names the queue.
func (BulkArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, Priority: PriorityCampaign}
}

// TidyArgs deletes what was kept for a time that is over: answers of repeated requests, the businesses of bulk actions.
type TidyArgs struct{}

// Kind is the job's name in river_job.
func (TidyArgs) Kind() string { return "tidy" }

// InsertOpts names the queue. A run that fails is not tried again: the next comes within the hour.
func (TidyArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, MaxAttempts: 1}
}

// ReconcileArgs looks for evidence of a send whose outcome is unknown.
type ReconcileArgs struct {
	MessageID int64 `json:"message_id"`
	Attempt   int   `json:"attempt"`
}

// Kind is the job's name in river_job.
func (ReconcileArgs) Kind() string { return "reconcile_send" }

// InsertOpts names the queue.
func (ReconcileArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueMaintenance} }

// PartitionsArgs creates the partitions of the coming weeks and drops those past retention.
type PartitionsArgs struct{}

// Kind is the job's name in river_job.
func (PartitionsArgs) Kind() string { return "partitions" }

// InsertOpts names the queue.
func (PartitionsArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance}
}

// VerifySampleArgs recomputes the statuses of some businesses, drawn at random, and checks the invariants.
type VerifySampleArgs struct{}

// Kind is the job's name in river_job.
func (VerifySampleArgs) Kind() string { return "verify_sample" }

// InsertOpts names the queue. One at a time; few attempts, since the next comes soon.
func (VerifySampleArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, MaxAttempts: 5, UniqueOpts: river.UniqueOpts{
		ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
			rivertype.JobStateRetryable, rivertype.JobStateScheduled,
		},
	}}
}

// PollMessagesArgs looks up, at the provider, texts whose callbacks were lost.
type PollMessagesArgs struct{}

// Kind is the job's name in river_job.
func (PollMessagesArgs) Kind() string { return "poll_messages" }

// InsertOpts names the queue. A run that fails is not tried again: the next comes within a minute.
func (PollMessagesArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, MaxAttempts: 1}
}

// AnalyticsArgs counts what happened since the last time. One job lives for as long as the fleet: it sleeps a few
// seconds after each run.
type AnalyticsArgs struct{}

// Kind is the job's name in river_job.
func (AnalyticsArgs) Kind() string { return "analytics" }

// InsertOpts names the queue. One at a time; one that is lost is replaced within a minute.
func (AnalyticsArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMaintenance, Priority: PriorityCampaign, MaxAttempts: 5, UniqueOpts: river.UniqueOpts{
		ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
			rivertype.JobStateRetryable, rivertype.JobStateScheduled,
		},
	}}
}

// Providers that post webhooks, as stored in webhook_events.provider.
const (
	ProviderTwilio     = "twilio"
	ProviderRecurrente = "recurrente"
	ProviderResend     = "resend"
	ProviderOnward     = "onward" // our own pages: unsubscribe, tracking
)

// Providers lists them.
func Providers() []string {
	return []string{ProviderTwilio, ProviderRecurrente, ProviderResend, ProviderOnward}
}

// Kinds of receipts where the provider's body names none.
const (
	KindMessageStatus  = "message_status"
	KindInboundMessage = "inbound_message"
	KindUnsubscribe    = "unsubscribe"
	KindOpen           = "open"
	KindClick          = "click"
)

// ForReceipt names the job that applies a receipt of this provider and kind; nil where none does:
// such a receipt is stored and stays without effect.
func ForReceipt(provider, kind, receiptID string) river.JobArgs {
	r := ReceiptArgs{ReceiptID: receiptID}
	switch provider {
	case ProviderTwilio:
		switch kind {
		case KindMessageStatus:
			return StatusCallbackArgs{r}
		case KindInboundMessage:
			return ReplyArgs{r}
		}
	case ProviderRecurrente:
		switch {
		case kind == "subscription.cancel", kind == "subscription.cancelled", kind == "subscription.canceled":
			return CancellationArgs{r}
		case strings.HasPrefix(kind, "subscription."):
			return SubscriptionArgs{r}
		case strings.HasSuffix(kind, "intent.succeeded") && !strings.HasPrefix(kind, "setup_intent."):
			return PurchaseArgs{r}
		case strings.HasSuffix(kind, "intent.failed") && !strings.HasPrefix(kind, "setup_intent."):
			return ChargeFailedArgs{r}
		case kind == "refund.create", kind == "refund.created":
			return RefundArgs{r}
		}
	case ProviderResend:
		switch {
		case kind == "email.complained":
			return UnsubscribeArgs{r}
		case strings.HasPrefix(kind, "email."):
			return EmailEventArgs{r}
		}
	case ProviderOnward:
		switch kind {
		case KindUnsubscribe:
			return UnsubscribeArgs{r}
		case KindOpen, KindClick:
			return TrackArgs{r}
		}
	}
	return nil
}
