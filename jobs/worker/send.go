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
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"onward/jobs"
	"onward/jobs/jobtrace"
	"onward/jobs/provider"
	"onward/jobs/recipienttime"
)

// The query of a status callback: our own id of the message, the attempt, and its trace.
const (
	callbackMessage = "m"
	callbackAttempt = "a"
	// CallbackTrace joins the callback to the send's trace, where there is one.
	CallbackTrace = "t"
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
//
// What sends that are under way at the same time have to do in the database, they do together (send_group.go).
type sender struct {
	Options
	zones *recipienttime.Zones

	slots      *group[*slotItem]
	dispatches *group[*dispatchItem]
	settled    *group[*settleItem]

	// [startWithin] and [missedAfter], but for tests of something else: that a machine stalls them makes no call late.
	startWithin, missedAfter time.Duration
}

func newSender(o Options, zones *recipienttime.Zones) *sender {
	s := &sender{Options: o, zones: zones, startWithin: startWithin, missedAfter: missedAfter}
	s.slots = newGroup(o.Pool, applying(s.takeSlots))
	s.dispatches = newGroup(o.Pool, applying(s.decideAll))
	s.settled = newGroup(o.Pool, applying(s.acceptedAll))
	s.slots.committers = 1 // all of them want the sender's row
	return s
}

func (s *sender) workSend(ctx context.Context, job *river.Job[jobs.SendArgs]) error {
	slot, err := s.reserve(ctx, job.Args)
	if err != nil {
		return err
	}
	if slot.wait > 0 {
		return river.JobSnooze(slot.wait)
	}
	// The decision is made just before the slot, so that the call begins in it whatever the commit took.
	if err := sleepUntil(ctx, slot.at.Add(-decideAhead)); err != nil {
		return err
	}
	start := time.Now() // monotonic, and before the decision: the deadline errs on the early side
	dispatch := s.dispatch
	if job.Attempt > 1 {
		dispatch = s.dispatchAlone // what failed before goes alone from the start
	}
	d, err := dispatch(ctx, job.Args.MessageID, job.ID)
	if err != nil {
		return err
	}
	if d.stop != "" {
		return s.stopped(ctx, job, d)
	}
	if !s.inSlot(ctx, job.Args, slot, start.Add(s.startWithin)) {
		s.done(d, notStarted, 0)
		return s.giveBack(ctx, d, job.ID, notStarted, time.Second)
	}
	began := time.Now()
	calling, span := s.Tracer.Start(ctx, "send "+d.channel, trace.WithSpanKind(trace.SpanKindClient))
	accepted, err := d.via.Send(calling, d.message)
	took := time.Since(began)
	var failure *provider.SendError
	if err != nil && !errors.As(err, &failure) {
		// A sender that breaks its contract is taken at its most dangerous.
		failure = &provider.SendError{Class: provider.ClassUnknown, Code: "untyped", Err: err}
	}
	outcome := "accepted"
	if failure != nil {
		outcome = string(failure.Class)
		span.SetStatus(codes.Error, outcome)
	}
	span.SetAttributes(attribute.Int64("message.id", d.id), attribute.Int("message.attempt", d.attempt), attribute.String("outcome", outcome))
	span.End()
	s.done(d, outcome, took)
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "send", slog.Int64("message_id", d.id), slog.Int("attempt", d.attempt),
		slog.String("channel", d.channel), slog.String("outcome", outcome), slog.Duration("call", took), slog.Int64("job_id", job.ID))
	ctx, cancel := settling(ctx)
	defer cancel()
	return s.settle(ctx, d, job.ID, accepted, failure)
}

// decideAhead is how long before its slot a send is decided: longer than a commit mostly takes, and a fraction of
// startWithin.
const decideAhead = 100 * time.Millisecond

// finestSpacing is the shortest time between two slots at which a call keeps to its own. Shorter ones come as fast as a machine
// calls: slots that it is too late for would be reserved again and again, for nobody's good.
const finestSpacing = time.Millisecond

// missedAfter is how late in its slot a call may begin where slots are short; else a quarter of the slot. mostAhead is how
// far ahead a slot is reserved at most for a message that missed its own: the others' slots are behind it.
const (
	missedAfter = 5 * time.Millisecond
	mostAhead   = 200 * time.Millisecond
)

// inSlot waits for the slot of a message that is dispatched already. A slot that was missed, because the commit took
// long, is left to nobody and another is taken: a call outside its slot would break the pace. It reports false when
// no slot begins before the deadline: then no call may be made.
func (s *sender) inSlot(ctx context.Context, args jobs.SendArgs, at slot, deadline time.Time) bool {
	address, _ := s.senderOf(args.Channel)
	// Each slot that is missed is followed by one twice as far ahead: where reserving takes longer than the nearest slot
	// is away, the next would be missed like this one, and a database that is slow would be asked again and again.
	for ahead := missedAfter; ; ahead = min(2*ahead, mostAhead) {
		if at.at.After(deadline) || sleepUntil(ctx, at.at) != nil {
			return false
		}
		if now := time.Now(); now.After(deadline) {
			return false
		} else if at.spacing == 0 || at.fine || now.Sub(at.at) <= max(at.spacing/4, s.missedAfter) {
			return true
		}
		next, err := s.takeSlot(ctx, args, address, ahead)
		if err != nil || next.at.IsZero() {
			return false
		}
		at = next
	}
}

// sleepUntil waits for a slot that is near.
func sleepUntil(ctx context.Context, at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
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
func (s *sender) compose(ctx context.Context, d *dispatch, public uuid.UUID, subject, body string) error {
	d.message = provider.Message{
		ID: public.String(), Attempt: d.attempt, Channel: d.channel, To: d.address, Subject: subject, Text: body,
	}
	if d.channel == jobs.ChannelSMS {
		d.via = s.SMS
		query := url.Values{callbackMessage: {public.String()}, callbackAttempt: {strconv.Itoa(d.attempt)}}
		if traceparent := jobtrace.Traceparent(ctx); traceparent != "" {
			query.Set(CallbackTrace, traceparent)
		}
		d.message.StatusCallback = s.PublicURL + StatusCallbackPath + "?" + query.Encode()
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

// slot is a sender's turn: at is when it is, or wait how long the job is to sleep before it asks again.
// Neither is set for a message that is not to be sent now. spacing is the time between two slots.
type slot struct {
	at      time.Time
	wait    time.Duration
	spacing time.Duration
	alone   bool // of a message without a campaign: it waits behind none
	fine    bool // the next slot, slowed down or not, is nearer than finestSpacing
}

// nearSlot is how far ahead a slot is reserved at least, and nearSlots how many; a job further back in the line
// sleeps in the queue instead of holding a worker, for leastSleep or more.
const (
	// Longer than the time between two polls for jobs that are due (River's second and a tenth): with a nearer horizon,
	// most of those that a poll brings find no slot and go to the end of the line, and the slots till the next poll pass
	// unused. At 250 ms, 50 messages a second came out as 12.
	nearSlot   = 1250 * time.Millisecond
	nearSlots  = 2
	leastSleep = 250 * time.Millisecond
	// lead is how far ahead a slot is at least: the time in which the send is mostly decided and committed.
	lead = 50 * time.Millisecond
)

// reserve takes the sender's next slot over the whole fleet. Slots are spaced by the slower of the sender's and
// the campaign's pace. A job that gets none is put behind those that were put to sleep before it; what somebody waits
// for, such as a test message, is not, and looks twice as far ahead: behind all slots that a campaign has taken.
func (s *sender) reserve(ctx context.Context, args jobs.SendArgs) (slot, error) {
	address, perSecond := s.senderOf(args.Channel)
	got, err := s.takeSlot(ctx, args, address, lead)
	if err == nil && got.spacing == 0 {
		// Not to be sent now (dispatch says why), or by a sender that is not listed yet.
		_, err = s.Pool.Exec(ctx, `
			INSERT INTO senders (channel, address, per_second)
			VALUES ($1, $2, $3)
			ON CONFLICT (channel, address) DO NOTHING`, args.Channel, address, perSecond)
		if err == nil {
			got, err = s.takeSlot(ctx, args, address, lead)
		}
	}
	if err != nil {
		return slot{}, fmt.Errorf("reserve a slot: %w", err)
	}
	if !got.at.IsZero() || got.spacing == 0 {
		return got, nil
	}
	// A place in the line is as long as a slot at full pace, slowed down or not: who comes up too soon sleeps again, while
	// places reckoned at the slowest would keep the line slow long after the provider has recovered.
	var sleep float64
	err = s.Pool.QueryRow(ctx, `
		UPDATE senders
		SET backlog_at = CASE WHEN $4 THEN backlog_at ELSE GREATEST(backlog_at, next_slot_at) + make_interval(secs => $3) END
		WHERE channel = $1 AND address = $2
		RETURNING extract(epoch FROM CASE WHEN $4 THEN next_slot_at ELSE backlog_at END - clock_timestamp())::float8`,
		args.Channel, address, got.spacing.Seconds(), got.alone).Scan(&sleep)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return slot{}, fmt.Errorf("queue for a slot: %w", err)
	}
	got.wait = max(time.Duration(sleep*float64(time.Second)), leastSleep)
	return got, nil
}

// easeAfter is how long after it was slowed down a sender begins to be eased: when the answers to calls at the slower
// pace are there.
const easeAfter = 2 * nearSlot

// margin keeps the pace a little slower than what is asked for, so that what the way to the provider varies by does
// not add up to a call too many.
const margin = 1.01

// takeSlot takes the next slot that is no nearer than ahead: the result's at is zero where none is near, its spacing
// where the message is not to be sent now. Those who ask at the same time in one process are served together.
func (s *sender) takeSlot(ctx context.Context, args jobs.SendArgs, address string, ahead time.Duration) (slot, error) {
	item := &slotItem{member: newMember(), messageID: args.MessageID, channel: args.Channel, address: address, ahead: ahead}
	err := s.slots.do(ctx, item)
	if errors.Is(err, errNotInGroup) {
		err = s.slots.run(ctx, func(*pgx.Batch) {}, func(tx pgx.Tx, last *pgx.Batch) error {
			return s.takeSlots(ctx, tx, last, []*slotItem{item})
		})
	}
	return item.got, err
}
