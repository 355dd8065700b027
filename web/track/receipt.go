package track

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"onward/jobs"
	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

const (
	// maxUserAgent, in bytes, is what is kept of one; browsers' have about 130.
	maxUserAgent = 512

	// recordTimeout bounds how long a handler stays for an open or a click after it has answered. The inbox
	// refuses what it cannot queue within 4 s; what is queued by then is stored even when nobody waits.
	recordTimeout = 5 * time.Second
)

// seen is the body of a receipt of an open or a click. Whether the reader or a machine did it is decided
// here as far as the request tells; that it came within two seconds of the send is for the worker to see,
// which knows when that was.
type seen struct {
	MessageID  string    `json:"message_id"`
	URL        string    `json:"url,omitempty"` // a click's
	UserAgent  string    `json:"user_agent"`
	Machine    bool      `json:"machine"`
	Method     string    `json:"method"`
	ReceivedAt time.Time `json:"received_at"`
}

// record hands an open or a click to the inbox. It is called when the answer is on its way, so it neither
// ends with the reader's connection nor keeps the reader waiting.
func (t *Track) record(r *http.Request, kind string, claims tracktoken.Claims, dedupeKey string, received time.Time) {
	body := seen{
		MessageID: claims.MessageID, URL: claims.URL, UserAgent: userAgent(r), Machine: isMachine(r),
		Method: r.Method, ReceivedAt: received.UTC(),
	}
	// A machine's is kept apart, so that a scanner's look does not take the place of the reader's.
	if body.Machine {
		dedupeKey += ":m"
	} else {
		dedupeKey += ":h"
	}
	receipt, err := newReceipt(r, kind, claims, dedupeKey, received, body)
	if err != nil {
		t.refused(r.Context(), kind, claims.MessageID, err)
		return
	}
	ctx, cancel := patience(r, recordTimeout)
	defer cancel()
	_, result, err := t.opts.Inbox.Accept(ctx, receipt)
	if err != nil {
		t.refused(r.Context(), kind, claims.MessageID, err)
		return
	}
	t.accepted(kind, result)
}

// newReceipt makes a receipt of ours. The query is left out: a link of ours has none, and what strangers
// add means nothing. So is the path: its token must not lie in a table.
func newReceipt(r *http.Request, kind string, claims tracktoken.Claims, dedupeKey string, received time.Time, body any) (inbox.Receipt, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return inbox.Receipt{}, fmt.Errorf("encode receipt: %w", err)
	}
	receipt := inbox.Receipt{
		Provider:   jobs.ProviderOnward,
		Kind:       kind,
		Headers:    []inbox.Header{{Name: "User-Agent", Values: []string{userAgent(r)}}},
		Body:       raw,
		DedupeKey:  dedupeKey,
		ReceivedAt: received,
	}
	if claims.Channel != "" && claims.Address != "" {
		receipt.ContactKey = claims.Channel + ":" + claims.Address
	}
	return receipt, nil
}

// patience is a time to wait that goes on when the client hangs up: mail programs fetch and leave.
func patience(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(r.Context()), d, fmt.Errorf("not accepted within %s", d))
}

// userAgent is the header as text, cut.
func userAgent(r *http.Request) string {
	ua := r.UserAgent()
	if len(ua) > maxUserAgent {
		ua = ua[:maxUserAgent]
	}
	return strings.ToValidUTF8(ua, "\uFFFD")
}

// flush sends an answer that is complete, so that its reader need not wait for what the handler does next.
func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // not every writer can; then it is sent at the end
}
