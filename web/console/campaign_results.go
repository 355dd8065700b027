package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
	"onward/lifecycle/pgstore/analytics"
)

// campaignMessage is what a list shows of a message.
type campaignMessage struct {
	ID         uuid.UUID `json:"id"`
	BusinessID uuid.UUID `json:"business_id"`
	To         string    `json:"to"`
	Channel    string    `json:"channel"`
	State      string    `json:"state"`
	Reason     string    `json:"reason"`
	ErrorCode  string    `json:"error_code"`
	Segments   *int      `json:"segments"`
	QueuedAt   time.Time `json:"queued_at"`
}

// Open reports whether somebody may say what became of it.
func (m campaignMessage) Open() bool { return m.State == "unknown" || m.State == "held" }

// step is one of the steps of a campaign's funnel.
type step struct {
	Name string
	N    int64
	Of   int64 // those sent
}

// brought is what a campaign came to.
type brought struct {
	AsOf  *time.Time
	Steps []step
	Out   int64 // opted out after it
	Costs []analytics.Cost
}

type campaignPage struct {
	Campaign    campaignView
	Audience    []string // its filter in words
	Key         string
	Brought     panel[*brought]
	State       string // of the messages shown
	States      []lifecycle.MessageState
	Messages    []campaignMessage
	Next, First string
	Query       string
}

// campaign is a campaign's page: a draft with what it is, else what comes of it.
func (c *Console) campaign(v *visit) error {
	p, err := c.readProgress(v)
	if err != nil {
		return err
	}
	return v.render("campaign", p.Campaign.Name, p)
}

func (c *Console) campaignProgress(v *visit) error {
	p, err := c.readProgress(v)
	if err != nil {
		return err
	}
	return v.fragment("campaign", "progress", p)
}

func (c *Console) readProgress(v *visit) (campaignPage, error) {
	p := campaignPage{Key: uuid.NewString(), States: lifecycle.MessageStates(), Query: v.r.URL.RawQuery}
	var err error
	if p.Campaign, err = v.readCampaign(); err != nil {
		return p, err
	}
	p.Audience = p.Campaign.Audience.words()
	if p.Campaign.LaunchedAt == nil {
		return p, nil
	}
	p.Brought = load(v, "campaign", func(ctx context.Context, tx pgx.Tx) (*brought, error) { return readBrought(ctx, tx, p.Campaign.ID) })
	here := "/campaigns/" + p.Campaign.ID.String()
	q := url.Values{"campaign_id": {p.Campaign.ID.String()}, "limit": {"25"}}
	keep := url.Values{}
	if p.State = v.query("state"); p.State != "" {
		q.Set("state", p.State)
		keep.Set("state", p.State)
	}
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
		p.First = here + "?" + keep.Encode()
	}
	var page struct {
		Items      []campaignMessage `json:"items"`
		NextCursor string            `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/messages?"+q.Encode(), nil, &page); err != nil {
		return p, err
	}
	p.Messages = page.Items
	if page.NextCursor != "" {
		keep.Set("cursor", page.NextCursor)
		p.Next = here + "?" + keep.Encode()
	}
	return p, nil
}

// readBrought reads what analytics know of one campaign; nil: nothing yet.
func readBrought(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*brought, error) {
	found, err := analytics.ReadCampaigns(ctx, tx, analytics.CampaignsQuery{Campaign: id, Limit: 1})
	if err != nil || len(found.Rows) == 0 {
		return nil, err
	}
	r := found.Rows[0]
	b := &brought{AsOf: found.AsOf, Out: r.OptedOut, Costs: r.Costs}
	for _, s := range []step{
		{Name: "Sent", N: r.Sent},
		{Name: "Delivered", N: r.Delivered},
		{Name: "Opened", N: r.Opened},
		{Name: "Clicked", N: r.Clicked},
		{Name: "Replied", N: r.Replied},
		{Name: "Purchased", N: r.Purchased},
	} {
		if s.Name == "Opened" && r.Campaign.Channel == "sms" {
			continue // no text tells that it was opened
		}
		s.Of = r.Sent
		b.Steps = append(b.Steps, s)
	}
	return b, nil
}

// words tells whom a campaign is to.
func (a audienceView) words() []string {
	switch {
	case a.FailedOf != nil:
		return []string{"those whom another campaign failed to reach"}
	case len(a.BusinessIDs) > 0:
		return []string{plural(len(a.BusinessIDs), "business", "businesses") + " by id"}
	}
	var list []string
	for _, name := range filterNames() {
		switch value := a.Filter[name].(type) {
		case nil:
		case []any:
			words := ""
			for i, one := range value {
				if i > 0 {
					words += " or "
				}
				words += label(one)
			}
			if words != "" {
				list = append(list, label(name)+" is "+words)
			}
		case string:
			list = append(list, label(name)+" "+value)
		default:
			raw, err := json.Marshal(value)
			if err == nil {
				list = append(list, label(name)+" "+string(raw))
			}
		}
	}
	if len(list) == 0 {
		return []string{"everyone"}
	}
	return list
}
