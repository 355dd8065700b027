package inbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"onward/jobs"
)

const (
	maxKind = 100 // characters; the longest that a provider documents has 33

	// maxDedupeKey, in bytes, leaves the index entry far below the third of a page (2704 bytes) that a B-tree allows.
	maxDedupeKey = 200

	// dedupePrefix is how much of an odd key stays readable before its hash.
	dedupePrefix = 64

	// maxAddress, in bytes, is the longest e-mail address: 64 for the local part, 255 for the domain (RFC 5321, 4.5.3.1).
	maxAddress = 64 + 1 + 255
)

// Receipt is a verified request of a provider, as it came.
type Receipt struct {
	Provider string // a jobs.Provider…
	Kind     string // a jobs.Kind…, or the provider's name of the event; cut at 100 characters

	Query   string   // raw, without the question mark
	Headers []Header // those that matter, each name once
	Body    []byte   // raw; must not be changed afterwards

	// DedupeKey is the same for every delivery of the same event and begins with a prefix of its provider's own. Without
	// one, nothing is a duplicate of this receipt.
	DedupeKey string

	ReceivedAt time.Time // zero: now

	// Hold is set when this receipt may be an opt-out: nothing is dispatched to the address until the receipt is applied.
	Hold *Hold

	// ContactKey is "channel:address" of the person that the receipt speaks of, so that erasure finds it; "" if none.
	ContactKey string
}

// Header is one of a request's.
type Header struct {
	Name   string
	Values []string
}

// Hold names an address, spelled as in messages.address.
type Hold struct {
	Channel string // jobs.ChannelSMS or jobs.ChannelEmail
	Address string
}

// Result says what became of a receipt.
type Result int

// The results. An error comes with none of them.
const (
	Accepted  Result = iota + 1 // stored, and its job with it
	Duplicate                   // one of the same dedupe key had been stored; nothing is enqueued
)

// String returns the result's name.
func (r Result) String() string {
	switch r {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	default:
		return "none"
	}
}

// entry is a receipt on its way to the database, in a form that PostgreSQL can't refuse.
type entry struct {
	id         uuid.UUID
	provider   string
	kind       string
	query      string
	headers    []byte // JSON
	body       []byte
	dedupeKey  string
	contactKey string
	receivedAt time.Time
	hold       *Hold
	job        river.JobArgs // nil: stored without effect
	row        jobRow        // the committer's: what River makes of the job
	size       int64
	// traceparent is the caller's span, which a job of a commit that many share would lose; "" where it has none.
	traceparent string

	queuedAt time.Time

	// Written before done has its one value, read after.
	done   chan struct{}
	result Result
	settle bool // a provider call to the held address may be about to start
	err    error
}

func newEntry(r Receipt, clock func() time.Time) (*entry, error) {
	// Version 7, since webhook_events is partitioned by the time in its id.
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("inbox: make a receipt's id: %w", err)
	}
	e := &entry{
		id:         id,
		provider:   clean(r.Provider),
		kind:       cutRunes(clean(r.Kind), maxKind),
		query:      clean(r.Query),
		headers:    encodeHeaders(r.Headers),
		body:       r.Body,
		dedupeKey:  storedDedupeKey(r.DedupeKey),
		contactKey: clean(r.ContactKey),
		receivedAt: r.ReceivedAt,
	}
	if e.body == nil {
		e.body = []byte{} // the column refuses NULL
	}
	if r.DedupeKey == "" {
		e.dedupeKey = e.provider + ":" + id.String()
	}
	if len(e.contactKey) > maxAddress+len("email:") {
		e.contactKey = "" // no address, so no person's
	}
	if e.receivedAt.IsZero() {
		e.receivedAt = clock()
	}
	e.job = jobs.ForReceipt(e.provider, e.kind, id.String())
	if e.job != nil {
		// Without a job nothing would ever lift the hold.
		e.hold = storedHold(r.Hold)
	}
	e.size = int64(len(e.body) + len(e.headers) + len(e.query))
	return e, nil
}

// storedHold returns nil for what can be no address: nothing is ever dispatched to one like that.
func storedHold(h *Hold) *Hold {
	if h == nil || h.Channel == "" || h.Address == "" || len(h.Address) > maxAddress {
		return nil
	}
	if clean(h.Channel) != h.Channel || clean(h.Address) != h.Address {
		return nil
	}
	held := *h
	return &held
}

// storedDedupeKey returns a key that fits the column. Two keys that differ stay different: what cleaning or cutting would
// take away is in the hash.
func storedDedupeKey(key string) string {
	cleaned := clean(key)
	if cleaned == key && len(key) <= maxDedupeKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return strings.ToValidUTF8(cleaned[:min(len(cleaned), dedupePrefix)], "") + ":" + hex.EncodeToString(sum[:])
}

// encodeHeaders returns headers as JSON that PostgreSQL takes: an object of lists. By hand: each request comes through
// here, and a map costs encoding/json more than the handler's own work.
func encodeHeaders(headers []Header) []byte {
	size := 2
	for _, h := range headers {
		size += len(h.Name) + 6
		for _, value := range h.Values {
			size += len(value) + 3
		}
	}
	out := make([]byte, 0, size)
	out = append(out, '{')
	for n, h := range headers {
		if n > 0 {
			out = append(out, ',')
		}
		// Of two names that become one when they are cleaned, jsonb keeps the last.
		out = append(appendJSON(out, clean(h.Name)), ':', '[')
		for n, value := range h.Values {
			if n > 0 {
				out = append(out, ',')
			}
			out = appendJSON(out, clean(value))
		}
		out = append(out, ']')
	}
	return append(out, '}')
}

// appendJSON appends a string as JSON.
func appendJSON(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, _ := json.Marshal(s) // a string can't fail
			return append(out, text...)
		}
	}
	out = append(out, '"')
	out = append(out, s...)
	return append(out, '"')
}

// clean replaces what text and jsonb can't hold, zero bytes and broken UTF-8, with U+FFFD.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// cutRunes returns the first n characters of valid UTF-8.
func cutRunes(s string, n int) string {
	for at := range s {
		if n == 0 {
			return s[:at]
		}
		n--
	}
	return s
}
