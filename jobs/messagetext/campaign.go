package messagetext

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSMS is the longest text that Twilio takes, in characters.
const MaxSMS = 1600

// ErrUnsendable says that a text came out as one that no provider takes: empty, or too long for its channel.
var ErrUnsendable = errors.New("the rendered message cannot be sent")

// Campaign is the text of a campaign: what each of its messages is rendered from.
type Campaign struct {
	sms           bool
	subject, body *Template
}

// ParseCampaign parses subject and body. SMS says that they go out as texts, which have no subject.
func ParseCampaign(sms bool, subject, body string) (Campaign, error) {
	c := Campaign{sms: sms}
	var err error
	if c.body, err = Parse(body); err != nil {
		return c, fmt.Errorf("parse the body: %w", err)
	}
	if c.subject, err = Parse(subject); err != nil {
		return c, fmt.Errorf("parse the subject: %w", err)
	}
	return c, nil
}

// Render makes one message. Its errors are [ErrTooLong] and [ErrUnsendable].
func (c Campaign) Render(f Fields) (subject, text string, err error) {
	if text, err = c.body.Render(f); err != nil {
		return "", "", err
	}
	if strings.TrimSpace(text) == "" {
		return "", "", fmt.Errorf("%w: it is empty", ErrUnsendable)
	}
	if n := utf8.RuneCountInString(text); c.sms && n > MaxSMS {
		return "", "", fmt.Errorf("%w: it has %d characters, a text message at most %d", ErrUnsendable, n, MaxSMS)
	}
	if subject, err = c.subject.Render(f); err != nil {
		return "", "", err
	}
	subject = strings.Join(strings.Fields(subject), " ") // one line: a header has no other
	if !c.sms && subject == "" {
		return "", "", fmt.Errorf("%w: its subject is empty", ErrUnsendable)
	}
	return subject, text, nil
}
