package twilio

import (
	"context"
	"strconv"
	"strings"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"onward/jobs/provider"
)

// callbackOverrides asks Twilio for more than its default of one retry, and that
// only when it could not connect: 3 s to connect, 5 s to answer, 15 s in all,
// five retries on any failure. 15 s is the most that Twilio allows, so a longer
// outage of ours still loses callbacks and non-final messages must be polled.
//
// https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
const callbackOverrides = "ct=3000&rt=5000&tt=15000&rc=5&rp=all"

// Send creates a message at Twilio. It makes one request and never repeats it.
func (c *Client) Send(ctx context.Context, m provider.Message) (provider.Accepted, error) {
	service, x := c.service(ctx)
	created, err := service.CreateMessage(c.params(m))
	if err != nil && (x.err != nil || x.status < 200 || x.status > 299) {
		return provider.Accepted{}, x.sendError()
	}
	if err != nil {
		return provider.Accepted{}, x.unreadable("unreadable", "with a body that is not a message")
	}
	if text(created.Sid) == "" {
		return provider.Accepted{}, x.unreadable("no_sid", "without a sid")
	}
	return provider.Accepted{
		SID:       *created.Sid,
		Status:    text(created.Status),
		Segments:  number(created.NumSegments),
		Price:     text(created.Price),
		PriceUnit: strings.ToUpper(text(created.PriceUnit)),
	}, nil
}

func (c *Client) params(m provider.Message) *openapi.CreateMessageParams {
	params := new(openapi.CreateMessageParams).SetTo(m.To).SetBody(m.Text)
	from, service := m.From, m.MessagingServiceSID
	if from == "" && service == "" {
		from, service = c.opts.From, c.opts.MessagingServiceSID
	}
	if from != "" {
		params.SetFrom(from)
	}
	if service != "" {
		params.SetMessagingServiceSid(service)
	}
	if m.StatusCallback != "" {
		callback, _, _ := strings.Cut(m.StatusCallback, "#")
		params.SetStatusCallback(callback + "#" + callbackOverrides)
	}
	return params
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func number(s *string) int {
	n, err := strconv.Atoi(text(s))
	if err != nil {
		return 0
	}
	return n
}
