package smtp

import (
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/url"
	"strings"

	"github.com/wneessen/go-mail"

	"onward/jobs/provider"
)

// signedHeaders are what DKIM covers: go-mail's default and the two headers of
// one-click unsubscribing, which RFC 8058, 4 wants signed.
func signedHeaders() []string {
	return []string{
		"From", "To", "Subject", "Date", "Message-ID", "Content-Type", "MIME-Version",
		"List-Unsubscribe", "List-Unsubscribe-Post",
	}
}

// compose makes the mail, or says what is wrong with it before any connection
// is opened. It renders the mail once for nothing: an error in the content then
// shows here and not halfway through the DATA command.
func (c *Client) compose(m provider.Message) (*mail.Msg, string, *provider.SendError) {
	from, to, refused := c.addresses(m)
	if refused != nil {
		return nil, "", refused
	}
	messageID, err := chooseMessageID(m, from)
	if err != nil {
		return nil, "", contentRefused(err)
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	msg.ToMailAddress(to)
	msg.SetMessageIDWithValue(messageID)
	msg.SetDate()
	if err := setHeaders(msg, m); err != nil {
		return nil, "", contentRefused(err)
	}
	switch {
	case m.Text == "" && m.HTML == "":
		return nil, "", contentRefused(errors.New("no text and no HTML"))
	case m.HTML == "":
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
	case m.Text == "":
		msg.SetBodyString(mail.TypeTextHTML, m.HTML)
	default: // the last alternative is the one that a reader prefers
		msg.SetBodyString(mail.TypeTextPlain, m.Text)
		msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	}
	if c.dkim != nil {
		msg.SetDKIM(c.dkim)
	}
	if _, err := msg.WriteTo(io.Discard); err != nil {
		return nil, "", contentRefused(errors.New("it can't be rendered"))
	}
	return msg, messageID, nil
}

func contentRefused(err error) *provider.SendError {
	return &provider.SendError{Class: provider.ClassContentRefused, Code: "content", Err: fmt.Errorf("smtp: mail refused before sending: %w", err)}
}

func (c *Client) addresses(m provider.Message) (from, to *netmail.Address, refused *provider.SendError) {
	sender := m.From
	if sender == "" {
		sender = c.opts.From
	}
	from, err := parseAddress(sender)
	if err != nil {
		return nil, nil, &provider.SendError{Class: provider.ClassSenderBroken, Code: "from", Err: errors.New("smtp: the sender is not a mail address")}
	}
	to, err = parseAddress(m.To)
	if err != nil {
		return nil, nil, &provider.SendError{Class: provider.ClassBadRecipient, Code: "to", Err: errors.New("smtp: the recipient is not a mail address")}
	}
	return from, to, nil
}

func parseAddress(s string) (*netmail.Address, error) {
	if hasControl(s) {
		return nil, errors.New("control character")
	}
	return netmail.ParseAddress(s)
}

// chooseMessageID takes the caller's or makes one of our id, which is unique and
// the same however often this attempt is made.
func chooseMessageID(m provider.Message, from *netmail.Address) (string, error) {
	id := strings.TrimSuffix(strings.TrimPrefix(m.MessageIDHeader, "<"), ">")
	if id == "" {
		_, domain, _ := strings.Cut(from.Address, "@")
		id = fmt.Sprintf("%s.%d@%s", m.ID, m.Attempt, domain)
	}
	for _, r := range id {
		if r <= ' ' || r > '~' || r == '<' || r == '>' {
			return "", errors.New("the Message-ID holds more than printable ASCII")
		}
	}
	return id, nil
}

func setHeaders(msg *mail.Msg, m provider.Message) error {
	if hasControl(m.Subject) {
		return errors.New("the subject holds a line break or control character")
	}
	msg.Subject(m.Subject)
	for name, value := range m.Headers {
		if !isExtensionHeader(name) {
			return errors.New("a header's name is malformed or not for the caller to set")
		}
		if hasControl(value) {
			return errors.New("a header holds a line break or control character")
		}
		msg.SetGenHeader(mail.Header(name), value)
	}
	if m.ID != "" {
		value := provider.FormatMessageHeader(m.ID, m.Attempt)
		if hasControl(value) {
			return errors.New("the message's id holds a control character")
		}
		msg.SetGenHeader(provider.MessageHeader, value)
	}
	return setUnsubscribe(msg, m.UnsubscribeURL)
}

// setUnsubscribe adds the one-click headers of RFC 8058. That RFC wants https;
// plain http is let through for a server on a developer's machine, where a mail
// reader would ignore it and a test would not.
func setUnsubscribe(msg *mail.Msg, raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || hasControl(raw) || strings.ContainsAny(raw, "<> ") {
		return errors.New("the unsubscribe address is not an http(s) URL")
	}
	if u.Scheme == "https" {
		return msg.SetListUnsubscribeOneClick(raw)
	}
	msg.SetListUnsubscribe(raw)
	msg.SetListUnsubscribePost()
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f })
}

// isExtensionHeader says whether a caller may set a header: a well-formed name
// (RFC 5322, 2.2) that is none of those that this package writes itself or that
// would route the mail.
func isExtensionHeader(name string) bool {
	for _, r := range name {
		if r <= ' ' || r > '~' || r == ':' {
			return false
		}
	}
	lower := strings.ToLower(name)
	switch lower {
	case "", "from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version", "return-path",
		"dkim-signature", "list-unsubscribe", "list-unsubscribe-post", strings.ToLower(provider.MessageHeader):
		return false
	}
	return !strings.HasPrefix(lower, "content-") && !strings.HasPrefix(lower, "resent-")
}
