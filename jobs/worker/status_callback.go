package worker

import (
	"context"
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
	return a.applyInGroup(ctx, job.JobRow, job.Args.ReceiptArgs, a.callbacks, a.statusCallback)
}

// statusCallbackGroup is the group of status callbacks of one process.
func (a *applier) statusCallbackGroup() *group[*groupItem] {
	return newGroup(a.Pool, func(items []*groupItem) groupWork { return &callbackGroup{applier: a, items: items} })
}

// callbackGroup applies a group of callbacks in two round trips where the fetch has brought their receipts along, and in three
// where it has not.
type callbackGroup struct {
	*applier
	items []*groupItem

	ready    []*groupItem // those with something to apply
	receipts []receipt
	reports  []pgstore.Report
	raised   []pgstore.Raised
	locked   *pgstore.Locked
}

// first queues what is sent with BEGIN: the reports, or the read of their receipts.
func (g *callbackGroup) first(batch *pgx.Batch) {
	seen := make(map[uuid.UUID]struct{}, len(g.items))
	for _, i := range g.items {
		if i.receipt.ID == uuid.Nil {
			readReceipts(batch, g.items)
			return
		}
		_, i.lone = seen[i.id] // of one receipt with two jobs, the second goes after the first
		seen[i.id] = struct{}{}
	}
	g.raise(batch)
}

// raise parses the receipts that were read and queues their reports.
func (g *callbackGroup) raise(batch *pgx.Batch) {
	for _, i := range g.items {
		if i.lone {
			continue
		}
		report, res := parseCallback(i.receipt)
		if res != nil {
			i.result = *res
			continue
		}
		g.ready, g.receipts, g.reports = append(g.ready, i), append(g.receipts, i.receipt), append(g.reports, classified(report))
	}
	g.raised, g.locked = pgstore.RaiseQueued(batch, g.reports)
}

// apply does the rest. A callback that finds no message goes alone: it has to wait.
func (g *callbackGroup) apply(ctx context.Context, tx pgx.Tx, last *pgx.Batch) error {
	if g.locked == nil {
		batch := &pgx.Batch{}
		if g.raise(batch); batch.Len() > 0 {
			if err := tx.SendBatch(ctx, batch).Close(); err != nil {
				return err
			}
		}
	}
	results, err := g.reported(ctx, tx, g.receipts, g.reports, g.raised, g.locked.ApplyQueued, last)
	if err != nil {
		return err
	}
	for k, i := range g.ready {
		if g.raised[k].MessageID == 0 {
			i.lone = true
			continue
		}
		i.result = results[k]
		if i.result.aboutErased() {
			if err := pgstore.BlankReceipt(ctx, tx, i.id); err != nil {
				return err
			}
		}
	}
	pgstore.CloseQueued(last, g.reports, g.raised)
	markReceipts(last, g.items)
	pgstore.CountRaisedQueued(last, g.raised)
	return nil
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

// parseCallback reads what a status callback reports; a result where there is nothing to apply.
func parseCallback(r receipt) (pgstore.Report, *result) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		res := failed("the body is not a form")
		return pgstore.Report{}, &res
	}
	state, ok := twilioState(first(form, "MessageStatus", "SmsStatus"))
	if !ok {
		res := ignored("status says nothing about a message of ours")
		return pgstore.Report{}, &res
	}
	report := pgstore.Report{
		ProviderSID: cleanKey(first(form, "MessageSid", "SmsSid")), ErrorCode: cleanKey(form.Get("ErrorCode")), State: state, At: r.ReceivedAt,
	}
	if q, err := url.ParseQuery(r.Query); err == nil {
		if id, err := uuid.Parse(q.Get(callbackMessage)); err == nil {
			report.PublicID = id
		}
	}
	return report, nil
}

func (a *applier) statusCallback(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	report, res := parseCallback(r)
	if res != nil {
		return *res, nil
	}
	return a.messageReport(ctx, tx, r, report)
}

// messageReport takes a provider's report into its message, which may be missing yet, and, where it raised the message's
// state, into the business.
func (a *applier) messageReport(ctx context.Context, tx pgx.Tx, r receipt, report pgstore.Report) (result, error) {
	reports := []pgstore.Report{classified(report)}
	raised, err := pgstore.RaiseAll(ctx, tx, reports)
	if err != nil {
		return result{}, err
	}
	batch := &pgx.Batch{}
	list, err := a.reported(ctx, tx, []receipt{r}, reports, raised, pgstore.ApplyQueued, batch)
	if err != nil {
		return result{}, err
	}
	pgstore.CountRaisedQueued(batch, raised)
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return result{}, fmt.Errorf("write statuses, transitions and counters: %w", err)
		}
	}
	if raised[0].MessageID == 0 {
		return unmatched("message:" + report.ProviderSID), nil
	}
	return list[0], nil
}

// classified is a report with what its error code means.
func classified(r pgstore.Report) pgstore.Report {
	if class, ok := twilio.Classify(r.ErrorCode); ok {
		r.Reason = string(class)
	}
	return r
}

// applyQueued applies facts, but for what it queues on batch.
type applyQueued func(ctx context.Context, tx pgx.Tx, facts []pgstore.Fact, batch *pgx.Batch) ([]pgstore.Applied, error)

// reported does what follows from reports that have raised their messages: each step with one statement, whatever their number.
// Receipt i is what report i came by. A report whose message is missing does nothing. The last statements are queued on batch;
// the caller sends it, with the counters of what was raised as its last.
func (a *applier) reported(
	ctx context.Context, tx pgx.Tx, receipts []receipt, reports []pgstore.Report, raised []pgstore.Raised, apply applyQueued, batch *pgx.Batch,
) ([]result, error) {
	var facts []pgstore.Fact
	var suppress []pgstore.Suppression
	until := make([]int, len(raised)) // where the facts of each report end
	for i, m := range raised {
		if m.Up {
			r := receipts[i]
			facts = append(facts, evidence(m, reports[i].State, r)...)
			if isRefused(reports[i], provider.ClassOptedOut) {
				facts = append(facts, fact(m, r, lifecycle.OptedOut, "opted_out", r.ReceivedAt))
				if m.Address != pgstore.Erased {
					suppress = append(suppress, pgstore.Suppression{
						Address: pgstore.Address{Channel: m.Channel, Address: m.Address},
						Reason:  "provider", Source: r.source(), SourceID: r.sourceID(),
					})
				}
			}
		}
		until[i] = len(facts)
	}

	applied, err := apply(ctx, tx, facts, batch)
	if err != nil {
		return nil, err
	}
	if _, err := pgstore.Suppress(ctx, tx, suppress); err != nil {
		return nil, err
	}
	for i, m := range raised {
		if m.Up && isRefused(reports[i], provider.ClassSenderBroken) {
			why := "the provider refuses the sender or the account (code " + reports[i].ErrorCode + ")"
			if err := pauseCampaign(ctx, tx, m.CampaignID, why); err != nil {
				return nil, err
			}
		}
	}
	results := make([]result, len(reports))
	from := 0
	for i, m := range raised {
		results[i] = result{outcome: outcomeApplied, erased: m.Address == pgstore.Erased}
		if !m.Up {
			results[i].outcome, results[i].detail = outcomeNoChange, "the message was further already"
		}
		results[i].applied = applied[from:until[i]:until[i]] // the same array: ids may come with the batch
		from = until[i]
	}
	return results, nil
}

// isRefused reports whether a message failed for a reason of this class.
func isRefused(r pgstore.Report, class provider.Class) bool {
	return (r.State == lifecycle.MessageFailed || r.State == lifecycle.MessageUndelivered) && r.Reason == string(class)
}

// evidence lists the facts that a report proves: each message's but once, since each step up is seen by one report.
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
		if m.From.Rank() >= lifecycle.MessageDelivered.Rank() {
			break // it is known: delivered, and now read
		}
		facts = append(facts, fact(m, r, channelEvent(m.Channel, lifecycle.SMSDelivered, lifecycle.EmailDelivered), "delivered", r.ReceivedAt))
	case lifecycle.MessageFailed, lifecycle.MessageUndelivered:
		facts = append(facts, fact(m, r, channelEvent(m.Channel, lifecycle.SMSFailed, lifecycle.EmailBounced), "failed", r.ReceivedAt))
	}
	return facts
}

func fact(m pgstore.Raised, r receipt, e lifecycle.Event, what string, at time.Time) pgstore.Fact {
	return pgstore.Fact{
		BusinessID: m.BusinessID, Event: e, OccurredAt: at, Key: messageKey(m.MessageID, what),
		Source: r.source(), ReceiptID: r.ID, MessageID: m.MessageID, JobID: r.JobID,
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
	tag, err := tx.Exec(ctx, `
		UPDATE campaigns
		SET status = 'paused', status_reason = $2, updated_at = now()
		WHERE id = $1 AND status IN ('sending', 'scheduled')`, campaignID, reason)
	if err != nil {
		return fmt.Errorf("pause campaign %d: %w", campaignID, err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, jobs.CampaignHaltArgs{CampaignID: campaignID}, nil); err != nil {
		return fmt.Errorf("end what campaign %d has queued: %w", campaignID, err)
	}
	return nil
}
