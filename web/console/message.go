package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
	"onward/web/apitoken"
)

func (c *Console) messageRoutes() []Route {
	return []Route{
		{http.MethodGet, "/messages", apitoken.Viewer, c.messages},
		{http.MethodGet, "/messages/{id}", apitoken.Viewer, wholePage(c.readMessage, "message", func(messagePage) string { return "Message" })},
		{http.MethodGet, "/messages/{id}/now", apitoken.Viewer, livePart(c.readMessage, "message", "events")},
		{http.MethodPost, "/messages/{id}/resolve", apitoken.Operator, c.resolveMessage},
	}
}

// apiMessage is a message as the API has it.
type apiMessage struct {
	ID          uuid.UUID  `json:"id"`
	CampaignID  *uuid.UUID `json:"campaign_id"`
	BusinessID  uuid.UUID  `json:"business_id"`
	Channel     string     `json:"channel"`
	To          string     `json:"to"`
	Body        string     `json:"body"`
	Subject     string     `json:"subject"`
	State       string     `json:"state"`
	Reason      string     `json:"reason"`
	ProviderSID string     `json:"provider_sid"`
	ErrorCode   string     `json:"error_code"`
	Segments    *int       `json:"segments"`
	Attempt     int        `json:"attempt"`
	QueuedAt    time.Time  `json:"queued_at"`
	SentAt      *time.Time `json:"sent_at"`
	DeliveredAt *time.Time `json:"delivered_at"`
}

// Open reports whether the outcome of its send is in question.
func (m apiMessage) Open() bool { return m.State == "unknown" || m.State == "held" }

type messagesPage struct {
	Filter url.Values
	States []lifecycle.MessageState
	Items  []apiMessage
	Next   string
	First  string
	CSV    string
}

// messages lists them, newest first; its filters are the API's.
func (c *Console) messages(v *visit) error {
	p := messagesPage{Filter: selection(v.r, []string{"state", "campaign_id", "business_id"}), States: lifecycle.MessageStates()}
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for k, values := range p.Filter {
		q[k] = values
	}
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
		p.First = v.With("cursor", "")
	}
	var page struct {
		Items      []apiMessage `json:"items"`
		NextCursor string       `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/messages?"+q.Encode(), nil, &page); err != nil {
		return err
	}
	p.Items = page.Items
	if page.NextCursor != "" {
		p.Next = v.With("cursor", page.NextCursor)
	}
	return v.render("messages", "Messages", p)
}

type messagePage struct {
	Message  apiMessage
	Business string // its name
	Campaign string // its name; "" without one
	Events   panel[messageEvents]
}

func (c *Console) readMessage(v *visit) (messagePage, error) {
	var p messagePage
	id, err := v.id("id")
	if err != nil {
		return p, err
	}
	if err := v.api(http.MethodGet, "/messages/"+id.String(), nil, &p.Message); err != nil {
		return p, err
	}
	err = c.read(v.ctx(), func(tx pgx.Tx) error {
		return tx.QueryRow(v.ctx(), `
			SELECT b.name, COALESCE((SELECT c.name FROM campaigns c WHERE c.public_id = $2), '')
			FROM businesses b
			WHERE b.public_id = $1`, p.Message.BusinessID, p.Message.CampaignID).Scan(&p.Business, &p.Campaign)
	})
	if err != nil {
		return p, err
	}
	p.Events = c.readMessageEvents(v, p.Message)
	return p, nil
}

// resolveMessage says what became of a send whose outcome is unknown.
func (c *Console) resolveMessage(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	as := v.form("as")
	var told string
	switch as {
	case "sent":
		told = "Taken as sent. Should the provider report otherwise, that counts."
	case "not_sent":
		told = "Taken as not sent: it is queued again."
	default:
		return field("as", "Say whether it was sent.")
	}
	if v.form("reason") == "" {
		return field("reason", "Say how you know: the reason goes to the operators' log.")
	}
	if err := v.api(http.MethodPost, "/messages/"+id.String()+"/resolve", map[string]any{"as": as, "note": v.form("reason")}, nil); err != nil {
		return err
	}
	return v.done(v.back("/messages/"+id.String()), toneGood, told)
}
