// Package track serves the links in our own messages: the open pixel, the click redirect and the
// unsubscribe page. What a link means is sealed in its token; what happened is handed to the inbox as a
// receipt of our own (provider onward), and a worker applies it like any other. It knows no lifecycle and
// reads no table.
//
// Two of the three owe the reader an answer whatever becomes of the receipt: the pixel is always an image,
// a click always leads on. The third is a promise: "unsubscribed" is answered when the receipt is
// committed and no send to the address can start any more, and 503 when it is not.
//
// It may import jobs, jobs/tracktoken and web/inbox, nothing else of ours.
package track

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"onward/jobs"
	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

// Acceptor stores receipts; *inbox.Inbox is one.
type Acceptor interface {
	Accept(ctx context.Context, r inbox.Receipt) (uuid.UUID, inbox.Result, error)
}

// Options configure the pages. Inbox and Tokens are required.
type Options struct {
	Inbox  Acceptor
	Tokens *tracktoken.Codec

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default: discard

	// Observe is told of each request with its kind, one of Kinds, and its result, one of Results. May be nil;
	// must not block.
	Observe func(kind, result string)
}

// The results that Observe is told of.
const (
	ResultAccepted     = "accepted"      // stored, with its job
	ResultDuplicate    = "duplicate"     // stored before
	ResultInvalidToken = "invalid_token" // 404, or the image
	ResultTooLarge     = "too_large"     // 413: a body over maxBody
	ResultOverloaded   = "overloaded"    // nothing stored: 503 to an unsubscribe
	ResultError        = "error"         // not known to be stored: 503 to an unsubscribe
	ResultShown        = "shown"         // the page before an unsubscribe
)

// Results lists what Observe may be told, so that every metric's series exists from the start.
func Results() []string {
	return []string{
		ResultAccepted, ResultDuplicate, ResultInvalidToken, ResultTooLarge, ResultOverloaded, ResultError, ResultShown,
	}
}

// Kinds lists the kinds of receipts that these pages make.
func Kinds() []string { return []string{jobs.KindOpen, jobs.KindClick, jobs.KindUnsubscribe} }

// Track serves the links.
type Track struct {
	opts  Options
	pages *pages
}

// New checks the options.
func New(opts Options) (*Track, error) {
	switch {
	case opts.Inbox == nil:
		return nil, errors.New("track: Options.Inbox is missing")
	case opts.Tokens == nil:
		return nil, errors.New("track: Options.Tokens is missing")
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, string) {}
	}
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	return &Track{opts: opts, pages: pages}, nil
}

// Routes mounts the links: /t/o/, /t/c/ and /u/, each with its token. Whoever logs requests there must
// leave the path out: a token is all that it takes to unsubscribe.
func (t *Track) Routes(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(t.guard)
		r.Get("/t/o/{token}", t.open)
		r.Head("/t/o/{token}", t.open)
		r.Get("/t/c/{token}", t.click)
		r.Head("/t/c/{token}", t.click)
		r.Get("/u/{token}", t.askUnsubscribe)
		r.Head("/u/{token}", t.askUnsubscribe)
		r.Post("/u/{token}", t.unsubscribe)
	})
}

// guard sets the headers of every answer: nothing is kept, indexed, framed, guessed at, or told to the
// next site; nothing is loaded or run but our one style sheet.
func (t *Track) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", t.pages.policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		next.ServeHTTP(w, r)
	})
}

// claims opens the token in the path.
func (t *Track) claims(r *http.Request, p tracktoken.Purpose) (tracktoken.Claims, error) {
	return t.opts.Tokens.Open(p, chi.URLParam(r, "token"))
}

// refused observes and logs a receipt that was not accepted. The log names the
// message, never the token or the address.
func (t *Track) refused(ctx context.Context, kind, messageID string, err error) {
	result, level := ResultError, slog.LevelError
	if errors.Is(err, inbox.ErrOverloaded) {
		result, level = ResultOverloaded, slog.LevelWarn
	}
	t.opts.Observe(kind, result)
	t.opts.Logger.LogAttrs(ctx, level, "receipt not accepted", slog.String("provider", jobs.ProviderOnward),
		slog.String("kind", kind), slog.String("message_id", messageID), slog.String("result", result), slog.Any("error", err))
}

// accepted observes a receipt that is stored.
func (t *Track) accepted(kind string, result inbox.Result) {
	if result == inbox.Duplicate {
		t.opts.Observe(kind, ResultDuplicate)
		return
	}
	t.opts.Observe(kind, ResultAccepted)
}
