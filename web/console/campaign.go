package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle"
	"onward/web/apitoken"
)

func (c *Console) campaignRoutes() []Route {
	return []Route{
		{http.MethodGet, "/campaigns", apitoken.Viewer, c.campaigns},
		{http.MethodGet, "/campaigns/list", apitoken.Viewer, c.campaignList},
		{http.MethodGet, "/campaigns/new", apitoken.Operator, c.newCampaign},
		{http.MethodPost, "/campaigns", apitoken.Operator, c.createCampaign},
		{http.MethodPost, "/campaigns/preview", apitoken.Viewer, c.previewCampaign},
		{http.MethodGet, "/campaigns/{id}", apitoken.Viewer, c.campaign},
		{http.MethodGet, "/campaigns/{id}/progress", apitoken.Viewer, c.campaignProgress},
		{http.MethodGet, "/campaigns/{id}/edit", apitoken.Operator, c.editCampaign},
		{http.MethodPost, "/campaigns/{id}", apitoken.Operator, c.updateCampaign},
		{http.MethodPost, "/campaigns/{id}/test", apitoken.Operator, c.testCampaign},
		{http.MethodGet, "/campaigns/{id}/launch", apitoken.Operator, c.confirmLaunch},
		{http.MethodPost, "/campaigns/{id}/launch", apitoken.Operator, c.launchCampaign},
		{http.MethodPost, "/campaigns/{id}/pause", apitoken.Operator, c.moveCampaign("pause", "Paused. Calls that had begun end; what is queued stays.")},
		{http.MethodPost, "/campaigns/{id}/resume", apitoken.Operator, c.moveCampaign("resume", "It goes on.")},
		{http.MethodPost, "/campaigns/{id}/cancel", apitoken.Operator, c.moveCampaign("cancel", "Cancelled. What was queued is canceled within a second or so.")},
		{http.MethodPost, "/campaigns/{id}/resend", apitoken.Operator, c.resendCampaign},
	}
}

// campaignView is a campaign as the API has it.
type campaignView struct {
	ID           uuid.UUID        `json:"id"`
	Name         string           `json:"name"`
	Channel      string           `json:"channel"`
	Subject      string           `json:"subject"`
	Body         string           `json:"body"`
	Audience     audienceView     `json:"audience"`
	Status       string           `json:"status"`
	StatusReason string           `json:"status_reason"`
	SendAt       *time.Time       `json:"send_at"`
	PerSecond    *float64         `json:"per_second"`
	CreatedAt    time.Time        `json:"created_at"`
	LaunchedAt   *time.Time       `json:"launched_at"`
	FinishedAt   *time.Time       `json:"finished_at"`
	Recipients   *int64           `json:"recipients"`
	Counters     map[string]int64 `json:"counters"`
	Skipped      map[string]int64 `json:"skipped"`
	Total        int64            `json:"total"`
	ETA          *time.Time       `json:"eta"`
}

type audienceView struct {
	BusinessIDs []uuid.UUID    `json:"business_ids,omitempty"`
	Filter      map[string]any `json:"filter,omitempty"`
	FailedOf    *uuid.UUID     `json:"failed_of,omitempty"`
}

// counted is a number under a word.
type counted struct {
	Word string
	N    int64
}

// sum adds the counters of some states.
func (c campaignView) sum(states ...lifecycle.MessageState) (n int64) {
	for _, s := range states {
		n += c.Counters[string(s)]
	}
	return n
}

// Waiting, Delivered, Underway, Open and Failed put the states together as an operator asks for them.
func (c campaignView) Waiting() int64 {
	return c.sum(lifecycle.MessageQueued, lifecycle.MessageDispatching)
}

// Delivered is what is known to have arrived.
func (c campaignView) Delivered() int64 {
	return c.sum(lifecycle.MessageDelivered, lifecycle.MessageRead)
}

// Underway is what was handed over and is not known to have arrived.
func (c campaignView) Underway() int64 {
	return c.sum(lifecycle.MessageAccepted, lifecycle.MessageSending, lifecycle.MessageSent)
}

// Open is what somebody, or evidence, has to decide about.
func (c campaignView) Open() int64 { return c.sum(lifecycle.MessageUnknown, lifecycle.MessageHeld) }

// Failed is what did not arrive.
func (c campaignView) Failed() int64 {
	return c.sum(lifecycle.MessageFailed, lifecycle.MessageUndelivered)
}

// Done is how many recipients are through: handed over, ended, or skipped.
func (c campaignView) Done() int64 { return c.Total - c.Waiting() + c.SkippedSum() }

// SkippedSum is how many get no message.
func (c campaignView) SkippedSum() (n int64) {
	for _, k := range c.Skipped {
		n += k
	}
	return n
}

// Audienced is how many there are, once that is known.
func (c campaignView) Audienced() int64 {
	if c.Recipients == nil {
		return 0
	}
	return *c.Recipients
}

// States are the counters in the order in which a message moves, without those at 0.
func (c campaignView) States() []counted {
	var list []counted
	for _, s := range lifecycle.MessageStates() {
		if n := c.Counters[string(s)]; n > 0 {
			list = append(list, counted{string(s), n})
		}
	}
	return list
}

// Skips are the reasons for which somebody gets nothing, the most frequent first.
func (c campaignView) Skips() []counted { return sortedCounts(c.Skipped) }

func sortedCounts(m map[string]int64) []counted {
	var list []counted
	for word, n := range m {
		if n > 0 {
			list = append(list, counted{word, n})
		}
	}
	slices.SortFunc(list, func(a, b counted) int {
		if a.N != b.N {
			return int(b.N - a.N)
		}
		return strings.Compare(a.Word, b.Word)
	})
	return list
}

// Moving reports whether its numbers still change by themselves.
func (c campaignView) Moving() bool {
	return c.Status == "sending" || c.Status == "scheduled" || c.Underway()+c.Open() > 0
}

// Tone is that of its progress bar.
func (c campaignView) Tone() string {
	switch c.Status {
	case "paused":
		return toneWarn
	case "sent":
		return toneGood
	}
	return ""
}

type campaignsPage struct {
	Filter      url.Values
	Items       []campaignView
	Next, First string
	Query       string // of the live part
}

// readCampaigns lists them, newest first; its filters are the API's.
func (c *Console) readCampaigns(v *visit) (campaignsPage, error) {
	p := campaignsPage{Filter: url.Values{}, Query: v.r.URL.RawQuery}
	q := url.Values{"limit": {"25"}}
	for _, name := range []string{"status", "channel", "cursor"} {
		if value := v.query(name); value != "" {
			q.Set(name, value)
			p.Filter.Set(name, value)
		}
	}
	if v.query("cursor") != "" {
		p.First = v.With("cursor", "")
	}
	var page struct {
		Items      []campaignView `json:"items"`
		NextCursor string         `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/campaigns?"+q.Encode(), nil, &page); err != nil {
		return p, err
	}
	p.Items = page.Items
	if page.NextCursor != "" {
		u := url.Values{}
		for k, values := range p.Filter {
			u[k] = values
		}
		u.Set("cursor", page.NextCursor)
		p.Next = "/campaigns?" + u.Encode()
	}
	if p.First != "" {
		u := url.Values{}
		for k, values := range p.Filter {
			if k != "cursor" {
				u[k] = values
			}
		}
		p.First = "/campaigns?" + u.Encode()
	}
	return p, nil
}

func (c *Console) campaigns(v *visit) error {
	p, err := c.readCampaigns(v)
	if err != nil {
		return err
	}
	return v.render("campaigns", "Campaigns", p)
}

func (c *Console) campaignList(v *visit) error {
	p, err := c.readCampaigns(v)
	if err != nil {
		return err
	}
	return v.fragment("campaigns", "list", p)
}

// readCampaign reads the campaign that the path names.
func (v *visit) readCampaign() (campaignView, error) {
	var c campaignView
	id, err := v.id("id")
	if err != nil {
		return c, err
	}
	return c, v.api(http.MethodGet, "/campaigns/"+id.String(), nil, &c)
}
