package twilio

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"onward/jobs/provider"
)

// A list is read in pages of findPageSize up to findMaxPages: 1000 messages to
// one recipient, far past what any campaign sends a contact.
const (
	findPageSize = 100
	findMaxPages = 10
)

// findSlack is how far before `since` a page must lie for the reading to stop:
// Twilio's clock is not ours, and a list is ordered by the time of sending while
// we filter by the time of creation.
const findSlack = 24 * time.Hour

// Get fetches one message.
func (c *Client) Get(ctx context.Context, sid string) (provider.Status, error) {
	service, x := c.service(ctx)
	// twilio-go puts the sid into the path as it is.
	m, err := service.FetchMessage(url.PathEscape(sid), nil)
	if err != nil {
		e := x.readError()
		if x.status == http.StatusNotFound && x.twilioCode() != "" {
			e.Class, e.Err = provider.ClassUnknown, fmt.Errorf("%w: %w", provider.ErrNotFound, e.Err)
		}
		return provider.Status{}, e
	}
	if text(m.Sid) == "" {
		return provider.Status{}, &provider.SendError{Class: provider.ClassRetryLater, Code: "no_sid", Err: fmt.Errorf("twilio: HTTP %d without a sid", x.status)}
	}
	return status(m), nil
}

// Find lists messages to a recipient that were created since a time.
//
// It does not use Twilio's date filter: that one is on the sent date, which a
// message still in the queue lacks, so the message that one looks for would be
// the one left out. The pair of numbers narrows the list enough.
func (c *Client) Find(ctx context.Context, to, from string, since time.Time) ([]provider.Status, error) {
	params := new(openapi.ListMessageParams).SetTo(to).SetPageSize(findPageSize)
	if from != "" {
		params.SetFrom(from)
	}
	// Twilio's times have whole seconds.
	since = since.Truncate(time.Second)
	var found []provider.Status
	var token, number string
	for range findMaxPages {
		service, x := c.service(ctx)
		page, err := service.PageMessage(params, token, number)
		if err != nil {
			return found, x.readError()
		}
		older := len(page.Messages) > 0
		for i := range page.Messages {
			s := status(&page.Messages[i])
			if s.DateCreated.IsZero() || !s.DateCreated.Before(since) {
				found = append(found, s)
			}
			if s.DateCreated.After(since.Add(-findSlack)) {
				older = false
			}
		}
		if token, number = nextPage(text(page.NextPageUri)); token == "" || older {
			return found, nil
		}
	}
	return found, &provider.SendError{
		Class: provider.ClassRetryLater, Code: "list_truncated",
		Err: fmt.Errorf("twilio: more than %d messages: %w", findPageSize*findMaxPages, provider.ErrListTruncated),
	}
}

// nextPage takes the two parameters that make a page out of next_page_uri, and
// nothing else of it: the rest is what we asked for.
func nextPage(uri string) (token, number string) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", ""
	}
	return u.Query().Get("PageToken"), u.Query().Get("Page")
}

func status(m *openapi.ApiV2010Message) provider.Status {
	s := provider.Status{
		SID: text(m.Sid), Status: text(m.Status),
		To: text(m.To), From: text(m.From), Body: text(m.Body),
		DateCreated: date(m.DateCreated), DateSent: date(m.DateSent),
		Segments: number(m.NumSegments), Price: text(m.Price), PriceUnit: strings.ToUpper(text(m.PriceUnit)),
	}
	if m.ErrorCode != nil && *m.ErrorCode != 0 {
		s.ErrorCode = strconv.Itoa(*m.ErrorCode)
	}
	return s
}

// date reads Twilio's RFC 2822 times; zero when there is none.
func date(s *string) time.Time {
	t, err := time.Parse(time.RFC1123Z, text(s))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
