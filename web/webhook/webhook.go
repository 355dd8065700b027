// Package webhook is where providers post: one file for each. A handler verifies the request, names the event and hands
// it to the inbox; it answers only when the receipt is committed. It knows no lifecycle, reads no table and calls no
// provider.
//
// It may import jobs, jobs/jobtrace, web/inbox and web/plainhttp, nothing else of ours.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"onward/jobs"
	"onward/web/inbox"
	"onward/web/plainhttp"
)

// Acceptor stores receipts; *inbox.Inbox is one.
type Acceptor interface {
	Accept(ctx context.Context, r inbox.Receipt) (uuid.UUID, inbox.Result, error)
}

// Options configure the endpoints. Inbox is required. A provider without a secret has no endpoint; a list holds the
// current secret and, while it is rotated, the one before or after.
type Options struct {
	Inbox Acceptor

	// PublicURL is the address that the providers use, e.g. https://hooks.example.com. Twilio signs it, so it is required
	// with TwilioAuthTokens. A path in it is one that a proxy takes off.
	PublicURL string

	TwilioAuthTokens  []string
	RecurrenteSecrets []string // whsec_…
	ResendSecrets     []string // whsec_…

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard

	// Observe is told of each answered request. May be nil; must not block.
	Observe func(Answered)
}

// Answered is one answered request.
type Answered struct {
	Provider string
	Result   string // one of Results
	Secret   int    // the index of the secret that its signature matched, or -1
	Took     time.Duration
	TraceID  string // "" where there is no trace
}

// The results that Observe is told of.
const (
	ResultAccepted       = "accepted"        // stored, with its job
	ResultDuplicate      = "duplicate"       // stored before
	ResultBadSignature   = "bad_signature"   // 403 from Twilio's endpoints, 401 from the others
	ResultStaleTimestamp = "stale_timestamp" // well signed, but not within five minutes of now: 401
	ResultTooLarge       = "too_large"       // 413
	ResultMalformed      = "malformed"       // 400
	ResultOverloaded     = "overloaded"      // 503, nothing stored
	ResultError          = "error"           // 503, not known to be stored
)

// Results lists what Observe may be told, so that every metric's series exists from the start.
func Results() []string {
	return []string{
		ResultAccepted, ResultDuplicate, ResultBadSignature, ResultStaleTimestamp,
		ResultTooLarge, ResultMalformed, ResultOverloaded, ResultError,
	}
}

// Webhooks are the endpoints of the providers whose secrets are set.
type Webhooks struct {
	opts       Options
	twilio     *TwilioVerifier // nil: no endpoint, likewise below
	recurrente *SvixVerifier
	resend     *SvixVerifier
}

// New checks the secrets. Its errors name the provider and never contain a secret.
func New(opts Options) (*Webhooks, error) {
	if opts.Inbox == nil {
		return nil, errors.New("webhook: Options.Inbox is missing")
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(Answered) {}
	}

	h := &Webhooks{opts: opts}
	var err error
	if len(opts.TwilioAuthTokens) > 0 {
		if h.twilio, err = NewTwilioVerifier(opts.PublicURL, opts.TwilioAuthTokens); err != nil {
			return nil, fmt.Errorf("webhook: Twilio: %w", err)
		}
	}
	if len(opts.RecurrenteSecrets) > 0 {
		if h.recurrente, err = NewSvixVerifier(opts.RecurrenteSecrets, opts.Clock); err != nil {
			return nil, fmt.Errorf("webhook: Recurrente: %w", err)
		}
	}
	if len(opts.ResendSecrets) > 0 {
		if h.resend, err = NewSvixVerifier(opts.ResendSecrets, opts.Clock); err != nil {
			return nil, fmt.Errorf("webhook: Resend: %w", err)
		}
	}
	return h, nil
}

// Providers lists those that have endpoints, as Observe names them.
func (h *Webhooks) Providers() []string {
	var providers []string
	if h.twilio != nil {
		providers = append(providers, jobs.ProviderTwilio)
	}
	if h.recurrente != nil {
		providers = append(providers, jobs.ProviderRecurrente)
	}
	if h.resend != nil {
		providers = append(providers, jobs.ProviderResend)
	}
	return providers
}

// endpoints are those of the providers whose secrets are set, by path.
func (h *Webhooks) endpoints() map[string]endpoint {
	list := map[string]endpoint{}
	if h.twilio != nil {
		list["/webhooks/twilio/status"] = h.twilioStatus()
		list["/webhooks/twilio/inbound"] = h.twilioInbound()
	}
	if h.recurrente != nil {
		list["/webhooks/recurrente"] = h.recurrenteEvent()
	}
	if h.resend != nil {
		list["/webhooks/resend"] = h.resendEvent()
	}
	return list
}

// Routes mounts the endpoints of the providers whose secrets are set.
func (h *Webhooks) Routes(r chi.Router) {
	for path, e := range h.endpoints() {
		r.Post(path, h.serve(e))
	}
}

// Plain are the same endpoints for plain requests, by path.
func (h *Webhooks) Plain() map[string]plainhttp.Handler {
	list := map[string]plainhttp.Handler{}
	for path, e := range h.endpoints() {
		list[path] = h.plain(e)
	}
	return list
}
