package providersim

import (
	"slices"
	"strings"
	"time"
)

// EmailEvent is what a delivery event tells of its mail.
type EmailEvent struct {
	To, From, Subject string
	MessageID         string            // without angle brackets
	Headers           map[string]string // of the mail; X-Onward-Message among them
	// BounceType is Permanent (unless set) or Transient.
	BounceType string
	// Link and UserAgent are those of a click; UserAgent also of an opening.
	Link, UserAgent string
	At              time.Time // zero is now
}

// EmailEvent sends a delivery event as Resend does: email.delivered, .bounced,
// .complained, .opened, .clicked, .sent or .delivery_delayed, with or without
// the prefix. It returns the id of the delivery (svix-id).
func (s *Sim) EmailEvent(kind string, e EmailEvent) (string, error) {
	event := "email." + strings.TrimPrefix(kind, "email.")
	if e.At.IsZero() {
		e.At = s.opts.Now()
	}
	at := e.At.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	headers := []map[string]string{}
	if e.MessageID != "" {
		headers = append(headers, map[string]string{"name": "Message-ID", "value": "<" + e.MessageID + ">"})
	}
	names := make([]string, 0, len(e.Headers))
	for name := range e.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		headers = append(headers, map[string]string{"name": name, "value": e.Headers[name]})
	}
	data := map[string]any{
		"created_at": at,
		"email_id":   s.uuid("email", e.MessageID, e.To),
		"from":       e.From,
		"headers":    headers,
		"subject":    e.Subject,
		"to":         []string{e.To},
	}
	switch event {
	case "email.bounced":
		kind := or(e.BounceType, "Permanent")
		data["bounce"] = map[string]any{"type": kind, "subType": "General", "message": "The recipient's mail server refused the message."}
	case "email.clicked":
		data["click"] = map[string]any{"ipAddress": "192.0.2.7", "link": e.Link, "timestamp": at, "userAgent": e.UserAgent}
	case "email.opened":
		data["open"] = map[string]any{"ipAddress": "192.0.2.7", "timestamp": at, "userAgent": e.UserAgent}
	}
	return s.svix("resend", s.opts.ResendSecret, pathResend, event, map[string]any{"type": event, "created_at": at, "data": data})
}
