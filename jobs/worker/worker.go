package worker

import (
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"onward/jobs/provider"
	"onward/jobs/recipienttime"
	"onward/jobs/tracktoken"
)

// What becomes of a send whose outcome stays unknown without evidence.
const (
	UnknownHold   = "hold"   // an operator decides
	UnknownResend = "resend" // the message is sent again
)

// Options is what the jobs need. Pool, Logger and Clock are required; the rest where a channel is used.
type Options struct {
	Pool   *pgxpool.Pool
	Logger *slog.Logger
	Clock  func() time.Time

	// SMS carries text messages, SMSLookup finds what became of one. SMSFrom is the number, or the
	// messaging service, that they go out by: the key under which their pace is kept.
	SMS       provider.Sender
	SMSLookup provider.Lookup
	SMSFrom   string
	// SMSPerSecond and EmailPerSecond are the pace of a sender that has none of its own yet.
	SMSPerSecond, EmailPerSecond float64

	Email              provider.Sender
	EmailFrom          string
	EmailPostalAddress string

	// PublicURL is the base of callback, tracking and unsubscribe addresses; Tokens seals the latter two.
	PublicURL string
	Tokens    *tracktoken.Codec

	QuietHours     recipienttime.Window
	UnknownSends   string // UnknownHold or UnknownResend
	RecurrenteLive bool   // sandbox deliveries are stored, never applied
	RetentionDays  int    // raw receipts; 0 keeps them

	// UnmatchedFor is how long a receipt whose message, site or business is missing is tried again.
	// Default 5 minutes.
	UnmatchedFor time.Duration
	// ReconcileAfter are the delays between looks for evidence of a send whose outcome is unknown;
	// after the last the message is held (or resent). Default 5 s to 30 min.
	ReconcileAfter []time.Duration
	// PollAfter are the ages at which a text without a final state is looked up at the provider, at most PollsPerMinute
	// over the whole fleet. Default 5 min, 30 min, 2 h, 12 h, 48 h; 60.
	PollAfter      []time.Duration
	PollsPerMinute int
	// FanOutChunk is how many businesses one fan-out transaction takes, two of them at once. Default 500: some 40 ms, and
	// well below a second on a machine with six times the work that it has cores for.
	FanOutChunk int

	// Wake tells workers, after a commit, of jobs that it enqueued: River's own notification may be throttled.
	// May be nil; must not block.
	Wake func(queues []string)

	// Fetched has the receipts that came along with the fetch of their jobs; nil: none do.
	Fetched *Fetched

	Observer Observer

	// Tracer makes a span of each provider call; nil: none.
	Tracer trace.Tracer
}

// Observer is told what happened, after the commit. Any field may be nil.
type Observer struct {
	Moved   func(Moved)
	Receipt func(ReceiptDone)
	Sent    func(SendDone)
	// Verified is told what a look at a sample of businesses and at the invariants found.
	Verified func(Verified)
	// Drift is told the provider that knew more of a message than we did, when it was asked.
	Drift func(provider string)
	// Skipped is told why somebody in a campaign's audience gets no message: a pgstore.Skip.
	Skipped func(why string)
}

func (o *Options) setDefaults() error {
	switch {
	case o.Pool == nil:
		return errors.New("worker: Pool is required")
	case o.Logger == nil:
		return errors.New("worker: Logger is required")
	case o.Clock == nil:
		return errors.New("worker: Clock is required")
	case o.UnknownSends != UnknownHold && o.UnknownSends != UnknownResend:
		return errors.New("worker: UnknownSends is neither hold nor resend")
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if o.UnmatchedFor == 0 {
		o.UnmatchedFor = 5 * time.Minute
	}
	if len(o.ReconcileAfter) == 0 {
		o.ReconcileAfter = []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute}
	}
	if len(o.PollAfter) == 0 {
		o.PollAfter = []time.Duration{5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 12 * time.Hour, 48 * time.Hour}
	}
	if o.PollsPerMinute == 0 {
		o.PollsPerMinute = 60
	}
	if o.FanOutChunk == 0 {
		o.FanOutChunk = 500
	}
	// Twilio queues what comes faster than a number may send; these defaults only keep bursts off its API.
	if o.SMSPerSecond == 0 {
		o.SMSPerSecond = 100
	}
	if o.EmailPerSecond == 0 {
		o.EmailPerSecond = 100
	}
	return nil
}

func newApplier(o Options) *applier {
	a := &applier{Options: o}
	a.callbacks = a.statusCallbackGroup()
	return a
}

// Register adds a worker for every job kind.
func Register(workers *river.Workers, o Options) error {
	if err := o.setDefaults(); err != nil {
		return err
	}
	a := newApplier(o)
	s := newSender(o, recipienttime.NewZones(nil))
	for _, err := range []error{
		river.AddWorkerSafely(workers, river.WorkFunc(a.workStatusCallback)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workReply)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workPurchase)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workSubscription)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workCancellation)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workChargeFailed)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workRefund)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workEmailEvent)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workUnsubscribe)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workTrack)),
		river.AddWorkerSafely(workers, river.WorkFunc(s.workSend)),
		river.AddWorkerSafely(workers, river.WorkFunc(s.workReconcile)),
		river.AddWorkerSafely(workers, river.WorkFunc(s.workFanOut)),
		river.AddWorkerSafely(workers, river.WorkFunc(s.workCampaignHalt)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workBulk)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workPartitions)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workTidy)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workPollMessages)),
		river.AddWorkerSafely(workers, river.WorkFunc(a.workAnalytics)),
		river.AddWorkerSafely(workers, &verifier{Options: o}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
