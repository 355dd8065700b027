package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"onward/jobs/jobtrace"
	"onward/web/inbox"
	"onward/web/plainhttp"
)

const (
	// maxBody is what a request may carry: 1 MiB.
	maxBody = 1 << 20

	// readAhead is what is allocated on the word of a Content-Length: nearly every real body fits.
	readAhead = 8 << 10

	// retryAfter, in seconds, is longer than the inbox needs to work off a full queue.
	retryAfter = "5"
)

// Why a request is refused.
var (
	errMalformed = errors.New("malformed request")
	errTooLarge  = errors.New("body over 1 MiB")
)

// endpoint is what differs from one endpoint to the next.
type endpoint struct {
	provider string
	unsigned int // the status that answers a bad signature

	// read verifies a request, before it looks at anything else in it, and returns the receipt and the index of the secret
	// that matched, or -1. It need not set what answer fills in.
	read func(r *plainhttp.Request) (inbox.Receipt, int, error)

	// accepted is the answer to a receipt that is stored, whether it arrives or not.
	accepted plainhttp.Answer
}

// arrival is when a request came: for measuring, and by the clock of the receipt.
type arrival struct{ begun, receivedAt time.Time }

func (h *Webhooks) arrived() arrival { return arrival{time.Now(), h.opts.Clock()} }

// plain is the endpoint for plain requests.
func (h *Webhooks) plain(e endpoint) plainhttp.Handler {
	return func(ctx context.Context, r *plainhttp.Request) plainhttp.Answer {
		return h.answer(ctx, e, r, h.arrived())
	}
}

// serve is the endpoint for all that net/http reads. The method is the router's business.
func (h *Webhooks) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at := h.arrived()
		asked := &plainhttp.Request{
			Method: r.Method, Target: requestTarget(r), Path: r.URL.Path, Query: r.URL.RawQuery, Header: headersThatMatter(r.Header),
		}
		var (
			answer plainhttp.Answer
			err    error
		)
		if asked.Body, err = readBody(w, r); err != nil {
			answer = h.refuse(r.Context(), asked, e, at, -1, err)
		} else {
			answer = h.answer(r.Context(), e, asked, at)
		}
		for _, f := range answer.Header {
			w.Header().Set(f.Name, f.Value)
		}
		w.WriteHeader(answer.Status)
		_, _ = io.WriteString(w, answer.Body)
	}
}

// answer is the one way in: signature, shape, inbox, in this order.
func (h *Webhooks) answer(ctx context.Context, e endpoint, r *plainhttp.Request, at arrival) plainhttp.Answer {
	receipt, secret, err := e.read(r)
	if err != nil {
		return h.refuse(ctx, r, e, at, secret, err)
	}

	receipt.Provider = e.provider
	receipt.Query = r.Query
	receipt.Headers = kept(r.Header)
	receipt.Body = r.Body
	receipt.ReceivedAt = at.receivedAt

	id, result, err := h.opts.Inbox.Accept(ctx, receipt)
	if err != nil {
		return h.refuse(ctx, r, e, at, secret, err)
	}
	answer := e.accepted
	answer.Header = append(make([]plainhttp.Field, 0, 3), answer.Header...) // the listener names the request, too
	if result == inbox.Duplicate {
		h.observe(ctx, e, at, secret, ResultDuplicate)
		return answer
	}
	h.observe(ctx, e, at, secret, ResultAccepted)
	answer.Header = append(answer.Header, plainhttp.Field{Name: receiptHeader, Value: id.String()})
	return answer
}

// receiptHeader names the receipt to whoever reads the answer: the listener's log, and the provider's own.
const receiptHeader = "X-Receipt-Id"

func (h *Webhooks) observe(ctx context.Context, e endpoint, at arrival, secret int, result string) {
	h.opts.Observe(Answered{
		Provider: e.provider, Result: result, Secret: secret, Took: time.Since(at.begun), TraceID: jobtrace.TraceID(ctx),
	})
}

// refuse answers a request that was not accepted: with a status and nothing else.
func (h *Webhooks) refuse(
	ctx context.Context, r *plainhttp.Request, e endpoint, at arrival, secret int, err error,
) plainhttp.Answer {
	result, status, level := ResultError, http.StatusServiceUnavailable, slog.LevelError
	switch {
	case errors.Is(err, errTooLarge):
		result, status, level = ResultTooLarge, http.StatusRequestEntityTooLarge, slog.LevelWarn
	case errors.Is(err, errMalformed):
		result, status, level = ResultMalformed, http.StatusBadRequest, slog.LevelWarn
	case errors.Is(err, ErrStaleTimestamp):
		result, status, level = ResultStaleTimestamp, e.unsigned, slog.LevelWarn
	case errors.Is(err, ErrBadSignature):
		result, status, level = ResultBadSignature, e.unsigned, slog.LevelWarn
	case errors.Is(err, inbox.ErrOverloaded):
		result, level = ResultOverloaded, slog.LevelWarn
	case errors.Is(err, context.Canceled):
		level = slog.LevelInfo // the connection broke, or the process stops
	}

	h.observe(ctx, e, at, secret, result)
	h.opts.Logger.LogAttrs(ctx, level, "webhook not accepted",
		slog.String("provider", e.provider), slog.String("path", r.Path), slog.String("result", result),
		slog.Int("status", status), slog.Any("error", err))

	answer := plainhttp.Answer{Status: status}
	if status == http.StatusServiceUnavailable {
		answer.Header = []plainhttp.Field{{Name: "Retry-After", Value: retryAfter}}
	}
	return answer
}

// readBody reads at most maxBody bytes, whatever Content-Length says.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // so that the rest need not be read
		return nil, errTooLarge
	}

	if 0 <= r.ContentLength && r.ContentLength <= readAhead {
		return readExactly(r.Body, make([]byte, r.ContentLength))
	}
	var body bytes.Buffer
	body.Grow(readAhead)
	if _, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, errTooLarge
		}
		return nil, fmt.Errorf("%w: body broke off: %w", errMalformed, err)
	}
	return body.Bytes(), nil
}

// readExactly reads a body that says how long it is. net/http ends it there; one that goes on nevertheless is too long.
func readExactly(r io.Reader, body []byte) ([]byte, error) {
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("%w: body broke off: %w", errMalformed, err)
	}
	var more [1]byte
	n, err := r.Read(more[:])
	switch {
	case n > 0:
		return nil, errTooLarge
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: body broke off: %w", errMalformed, err)
	}
	return body, nil
}

// requestTarget is the path and query as they were sent: what is signed is bytes, not their meaning.
func requestTarget(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // a proxy may send the absolute form
}

// matters are the headers that prove where a request came from and tell deliveries apart.
func matters(name string) bool {
	switch name {
	case "Content-Type", "User-Agent",
		"X-Twilio-Signature", "I-Twilio-Idempotency-Token",
		"Svix-Id", "Svix-Timestamp", "Svix-Signature",
		"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature":
		return true
	}
	return false
}

// headersThatMatter picks them from what net/http read, in the order of their names.
func headersThatMatter(h http.Header) plainhttp.Header {
	var list plainhttp.Header
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !matters(name) {
			continue
		}
		for _, value := range h[name] {
			list = append(list, plainhttp.Field{Name: name, Value: value})
		}
	}
	return list
}

// kept are the headers that a receipt keeps, each name once.
func kept(h plainhttp.Header) []inbox.Header {
	list, values := make([]inbox.Header, 0, 4), make([]string, 0, len(h))
	for n, f := range h {
		if !matters(f.Name) || slices.ContainsFunc(h[:n], func(before plainhttp.Field) bool { return before.Name == f.Name }) {
			continue
		}
		from := len(values)
		for _, other := range h[n:] {
			if other.Name == f.Name {
				values = append(values, other.Value)
			}
		}
		list = append(list, inbox.Header{Name: f.Name, Values: values[from:len(values):len(values)]})
	}
	return list
}

// hashOf stands in for an identity that a body does not state.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
