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
	"net/http"
	"time"

	"onward/jobs/jobtrace"
	"onward/web/inbox"
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
	// that matched, or -1. It need not set what serve fills in.
	read func(r *http.Request, body []byte) (inbox.Receipt, int, error)

	// accepted writes the answer to a receipt that is stored.
	accepted func(w http.ResponseWriter)
}

// serve is the one way in: size, signature, shape, inbox, in this order. The method is the router's business.
func (h *Webhooks) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begun, receivedAt := time.Now(), h.opts.Clock()

		body, err := readBody(w, r)
		if err != nil {
			h.refuse(w, r, e, begun, -1, err)
			return
		}
		receipt, secret, err := e.read(r, body)
		if err != nil {
			h.refuse(w, r, e, begun, secret, err)
			return
		}

		receipt.Provider = e.provider
		receipt.Query = r.URL.RawQuery
		receipt.Headers = headersThatMatter(r.Header)
		receipt.Body = body
		receipt.ReceivedAt = receivedAt

		id, result, err := h.opts.Inbox.Accept(r.Context(), receipt)
		if err != nil {
			h.refuse(w, r, e, begun, secret, err)
			return
		}
		if result == inbox.Duplicate {
			h.observe(r, e, begun, secret, ResultDuplicate)
		} else {
			w.Header().Set(receiptHeader, id.String())
			h.observe(r, e, begun, secret, ResultAccepted)
		}
		e.accepted(w)
	}
}

// receiptHeader names the receipt to whoever reads the answer: the listener's log, and the provider's own.
const receiptHeader = "X-Receipt-Id"

func (h *Webhooks) observe(r *http.Request, e endpoint, begun time.Time, secret int, result string) {
	h.opts.Observe(Answered{
		Provider: e.provider, Result: result, Secret: secret, Took: time.Since(begun), TraceID: jobtrace.TraceID(r.Context()),
	})
}

// refuse answers a request that was not accepted: with a status and nothing else.
func (h *Webhooks) refuse(w http.ResponseWriter, r *http.Request, e endpoint, begun time.Time, secret int, err error) {
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

	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)

	h.observe(r, e, begun, secret, result)
	h.opts.Logger.LogAttrs(r.Context(), level, "webhook not accepted",
		slog.String("provider", e.provider), slog.String("path", r.URL.Path), slog.String("result", result),
		slog.Int("status", status), slog.Any("error", err))
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

// headersThatMatter picks what proves where a request came from and what tells deliveries apart.
func headersThatMatter(h http.Header) []inbox.Header {
	kept := make([]inbox.Header, 0, 4)
	for _, name := range [...]string{
		"Content-Type", "User-Agent",
		"X-Twilio-Signature", "I-Twilio-Idempotency-Token",
		"Svix-Id", "Svix-Timestamp", "Svix-Signature",
		"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
	} {
		if values := h[name]; len(values) > 0 {
			kept = append(kept, inbox.Header{Name: name, Values: values})
		}
	}
	return kept
}

// hashOf stands in for an identity that a body does not state.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
