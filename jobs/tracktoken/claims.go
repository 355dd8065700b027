package tracktoken

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Claims is what a token says. What a purpose does not need is left empty, for a shorter link.
type Claims struct {
	MessageID string // UUID, the message's public id; required
	Channel   string // "sms", "email" or empty
	Address   string // whom the message went to; required to unsubscribe, with its channel
	URL       string // where a click leads: an http or https address; required for a click, else empty
}

// maxClaims is the length of the longest encoding: id, channel, address with its length, URL.
const maxClaims = 16 + 1 + 2 + MaxAddress + MaxURL

// channels in the order of their codes.
func channels() []string { return []string{"", "sms", "email"} }

// encode writes id (16 bytes), channel (1), length of the address (2), address, URL (the rest).
func (c Claims) encode(p Purpose) ([]byte, error) {
	if err := c.check(p); err != nil {
		return nil, err
	}
	plain, err := hex.DecodeString(strings.ReplaceAll(c.MessageID, "-", ""))
	if err != nil {
		return nil, errors.New("the message id is no UUID")
	}
	for code, channel := range channels() {
		if channel == c.Channel {
			plain = append(plain, byte(code))
		}
	}
	plain = append(plain, byte(len(c.Address)>>8), byte(len(c.Address)))
	plain = append(plain, c.Address...)
	return append(plain, c.URL...), nil
}

func decode(p Purpose, plain []byte) (Claims, error) {
	const fixed = 16 + 1 + 2
	if len(plain) < fixed || int(plain[16]) >= len(channels()) {
		return Claims{}, ErrInvalid
	}
	length := int(plain[17])<<8 | int(plain[18])
	rest := plain[fixed:]
	if length > len(rest) {
		return Claims{}, ErrInvalid
	}
	id := hex.EncodeToString(plain[:16])
	c := Claims{
		MessageID: id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:],
		Channel:   channels()[plain[16]],
		Address:   string(rest[:length]),
		URL:       string(rest[length:]),
	}
	if c.check(p) != nil {
		return Claims{}, ErrInvalid
	}
	return c, nil
}

// check says what keeps claims from being those of a link. Its errors name no address.
func (c Claims) check(p Purpose) error {
	if !isUUID(c.MessageID) {
		return errors.New("the message id is no UUID in lower case")
	}
	switch c.Channel {
	case "", "sms", "email":
	default:
		return fmt.Errorf("unknown channel %q", c.Channel)
	}
	if len(c.Address) > MaxAddress || !isLine(c.Address) {
		return fmt.Errorf("the address is longer than %d bytes or not one line of text", MaxAddress)
	}
	switch p {
	case PurposeUnsubscribe:
		if c.Address == "" || c.Channel == "" {
			return errors.New("to unsubscribe takes an address and its channel")
		}
	case PurposeClick:
		return CheckURL(c.URL)
	}
	if c.URL != "" {
		return fmt.Errorf("a token to %s carries no URL", p)
	}
	return nil
}

// CheckURL says why an address is none that a click may lead to: it must be absolute, http or https, with
// a host, on one line and not too long.
func CheckURL(address string) error {
	if len(address) > MaxURL {
		return fmt.Errorf("the URL is longer than %d bytes", MaxURL)
	}
	if !isLine(address) || strings.ContainsFunc(address, unicode.IsSpace) || strings.Contains(address, `\`) {
		return errors.New("the URL has a space, a backslash or a control character")
	}
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the URL cannot be parsed")
	}
	if scheme := strings.ToLower(u.Scheme); scheme != "http" && scheme != "https" || u.Hostname() == "" {
		return errors.New("the URL is not an http or https address with a host")
	}
	return nil
}

// isLine reports whether a text is valid and without control characters.
func isLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isUUID accepts the canonical spelling alone, so that an id has one token's worth of meaning.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
