package providersim

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Onward's webhook endpoints, relative to its public URL.
const (
	pathInbound    = "/webhooks/twilio/inbound"
	pathRecurrente = "/webhooks/recurrente"
	pathResend     = "/webhooks/resend"
)

// Options configure a [Sim]. Only the account and its token are needed.
type Options struct {
	// Seed makes a run repeat. RunID goes into every id; empty means random,
	// which keeps two runs against one database apart.
	Seed  uint64
	RunID string

	// TwilioAddr and SMTPAddr are listened on; empty means 127.0.0.1 on a free
	// port.
	TwilioAddr, SMTPAddr string

	// PublicURL is where Onward believes to be: webhooks are signed for it. It
	// can be set later by SetTarget. DeliverTo, if set, is where the requests for
	// PublicURL are really sent, e.g. past a proxy that a test has not got.
	PublicURL, DeliverTo string

	// AccountSID and AuthToken are what callers must show, and AuthToken signs.
	AccountSID, AuthToken string
	// ServiceFrom is the number that messages of a messaging service leave from.
	ServiceFrom string
	// RecurrenteSecret and ResendSecret ("whsec_…") sign their webhooks; empty
	// means that there are none of that kind. With a ResendSecret each mail that
	// the sink takes is followed by its delivery event.
	RecurrenteSecret, ResendSecret string
	// StandardHeaders names the signature headers webhook-* instead of svix-*.
	StandardHeaders bool

	// LatencyMin and LatencyMax bound the time that the Twilio API takes.
	LatencyMin, LatencyMax time.Duration
	// CallbackDelay is the mean time between two statuses of a message; each
	// step takes between half and one and a half of it.
	CallbackDelay time.Duration
	// SvixScale shortens Svix's schedule of retries (5 s to 10 h); 0 means 1, as
	// it is. 0.001 makes five seconds out of the first 80 minutes.
	SvixScale float64
	// MessagesPerSecond is what the API takes from one sender; more is answered
	// 429. (The real one queues some and refuses later.) 0 means no limit.
	MessagesPerSecond float64
	Faults            FaultRates

	// Keep bounds each record (messages, calls, deliveries, mails); the oldest
	// go first. 0 means 100 000.
	Keep int
	// Now replaces time.Now. Delays are real whatever it says.
	Now func() time.Time
	// Logger gets what goes wrong in the background; nil is silent.
	Logger *slog.Logger
}

// FaultRates are probabilities, 0 to 1, of what happens to a request that no
// magic number decides.
type FaultRates struct {
	// Drop closes the connection without an answer, and ServerError answers an
	// HTML 500; half of the time the message is on its way all the same.
	Drop, ServerError float64
	// Garbage answers 201 with a body that is no JSON; the message is on its way.
	Garbage float64
	// RateLimit answers 429.
	RateLimit float64
	// Undelivered ends messages as undelivered (30003, 30005 or 30008).
	Undelivered float64
	// DuplicateCallback posts a status twice, LoseCallback never, each drawn for
	// each status; ReorderCallback posts a message's statuses backwards.
	DuplicateCallback, ReorderCallback, LoseCallback float64
	// SMTPDrop closes a mail's connection at the closing dot; half of the time
	// the mail was taken.
	SMTPDrop float64
}

func (o *Options) complete() error {
	var errs []error
	if !strings.HasPrefix(o.AccountSID, "AC") || strings.Contains(o.AccountSID, "/") {
		errs = append(errs, errors.New("AccountSID must start with AC"))
	}
	if o.AuthToken == "" {
		errs = append(errs, errors.New("AuthToken is empty"))
	}
	for name, secret := range map[string]string{"RecurrenteSecret": o.RecurrenteSecret, "ResendSecret": o.ResendSecret} {
		if secret == "" {
			continue
		}
		if _, err := svixKey(secret); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if o.LatencyMin < 0 || o.LatencyMax < 0 || o.CallbackDelay < 0 {
		errs = append(errs, errors.New("a duration is negative"))
	}
	if o.MessagesPerSecond < 0 || o.SvixScale < 0 || o.Keep < 0 {
		errs = append(errs, errors.New("MessagesPerSecond, SvixScale or Keep is negative"))
	}
	f := o.Faults
	for _, rate := range []float64{f.Drop, f.ServerError, f.Garbage, f.RateLimit, f.Undelivered, f.DuplicateCallback, f.ReorderCallback, f.LoseCallback, f.SMTPDrop} {
		if rate < 0 || rate > 1 {
			errs = append(errs, errors.New("a fault rate is not between 0 and 1"))
			break
		}
	}
	if f.Drop+f.ServerError+f.Garbage+f.RateLimit > 1 {
		errs = append(errs, errors.New("fault rates of Drop, ServerError, Garbage and RateLimit add up to more than 1"))
	}
	if err := checkTarget(o.PublicURL, o.DeliverTo); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("providersim: %w", err)
	}
	o.defaults()
	return nil
}

func (o *Options) defaults() {
	const anyPort = "127.0.0.1:0"
	if o.TwilioAddr == "" {
		o.TwilioAddr = anyPort
	}
	if o.SMTPAddr == "" {
		o.SMTPAddr = anyPort
	}
	if o.ServiceFrom == "" {
		o.ServiceFrom = "+15005550006" // the valid sender of Twilio's test credentials
	}
	if o.SvixScale == 0 {
		o.SvixScale = 1
	}
	if o.Keep == 0 {
		o.Keep = 100_000
	}
	o.LatencyMax = max(o.LatencyMax, o.LatencyMin)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// checkTarget wants base URLs: scheme, host, perhaps a path to go before ours.
func checkTarget(urls ...string) error {
	for _, raw := range urls {
		if raw == "" {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("PublicURL and DeliverTo must be http(s)://host[:port][/path]")
		}
	}
	return nil
}
