package worker

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"onward/jobs/messagetext"
	"onward/jobs/tracktoken"
)

// Paths of the public pages, below PublicURL; web/track serves them.
const (
	openPath        = "/t/o/"
	clickPath       = "/t/c/"
	unsubscribePath = "/u/"
)

// composeEmail adds what a mail has beyond its text: the HTML part with counted links and the pixel, the footer,
// the one-click address, and a Message-ID that names message and attempt.
func (s *sender) composeEmail(d *dispatch, public uuid.UUID) error {
	claims := tracktoken.Claims{MessageID: public.String(), Channel: d.channel, Address: d.address}
	open, err := s.Tokens.Seal(tracktoken.PurposeOpen, claims)
	if err != nil {
		return err
	}
	unsubscribe := s.unsubscribeURL(public, d.channel, d.address)
	parts := messagetext.EmailParts{
		Text: d.message.Text, PostalAddress: s.EmailPostalAddress, UnsubscribeURL: unsubscribe, PixelURL: s.PublicURL + openPath + open,
		Rewrite: func(link string) string {
			if strings.HasPrefix(link, s.PublicURL+unsubscribePath) {
				return link // the body's own unsubscribe link: no click, and it must work without a detour
			}
			c := claims
			c.URL = link
			token, err := s.Tokens.Seal(tracktoken.PurposeClick, c)
			if err != nil {
				return link // too long to count: it leads there all the same
			}
			return s.PublicURL + clickPath + token
		},
	}
	d.message.HTML = messagetext.EmailHTML(parts)
	d.message.Text = messagetext.EmailText(parts)
	d.message.From = s.EmailFrom
	d.message.UnsubscribeURL = unsubscribe
	d.message.MessageIDHeader = public.String() + "." + strconv.Itoa(d.attempt) + "@" + s.mailDomain()
	return nil
}

// mailDomain is the right side of our Message-IDs.
func (s *sender) mailDomain() string {
	from := strings.TrimSuffix(s.EmailFrom, ">")
	if i := strings.LastIndexByte(from, '@'); i >= 0 {
		return from[i+1:]
	}
	if u, err := url.Parse(s.PublicURL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return "onward.invalid"
}

// unsubscribeURL is the page, and one-click address, that ends messages to this address over this channel.
func (s *sender) unsubscribeURL(public uuid.UUID, channel, address string) string {
	token, err := s.Tokens.Seal(tracktoken.PurposeUnsubscribe, tracktoken.Claims{MessageID: public.String(), Channel: channel, Address: address})
	if err != nil {
		return ""
	}
	return s.PublicURL + unsubscribePath + token
}
