package console

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (c *Console) businessRoutes() []Route {
	return []Route{
		{http.MethodGet, "/businesses", apitoken.Viewer, c.businesses},
		{http.MethodGet, "/businesses/list", apitoken.Viewer, c.businessList},
		{http.MethodPost, "/businesses/views", apitoken.Viewer, c.saveView},
		{http.MethodPost, "/businesses/views/{id}/delete", apitoken.Viewer, c.deleteView},
		{http.MethodGet, "/businesses/{id}", apitoken.Viewer, c.business},
		{http.MethodGet, "/businesses/{id}/life", apitoken.Viewer, c.businessLife},
		{http.MethodPost, "/businesses/{id}", apitoken.Operator, c.updateBusiness},
		{http.MethodPost, "/businesses/{id}/events", apitoken.Operator, c.recordBusinessEvent},
		{http.MethodPost, "/businesses/{id}/erase", apitoken.Admin, c.eraseBusiness},
	}
}

// apiBusiness is a business as the API has it.
type apiBusiness struct {
	ID                 uuid.UUID `json:"id"`
	Name               string    `json:"name"`
	Phone              string    `json:"phone"`
	Email              string    `json:"email"`
	City               string    `json:"city"`
	Country            string    `json:"country"`
	Timezone           string    `json:"timezone"`
	Category           string    `json:"category"`
	ExternalID         string    `json:"external_id"`
	ContactStatus      string    `json:"contact_status"`
	WebsiteStatus      string    `json:"website_status"`
	SubscriptionStatus string    `json:"subscription_status"`
	TicketStatus       string    `json:"ticket_status"`
	Tags               []string  `json:"tags"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`

	Sites []struct {
		ID                 uuid.UUID `json:"id"`
		URL                string    `json:"url"`
		Status             string    `json:"status"`
		SubscriptionStatus string    `json:"subscription_status"`
		SubscriptionID     string    `json:"subscription_id"`
		PriceInCents       *int64    `json:"price_in_cents"`
		Currency           string    `json:"currency"`
	} `json:"sites"`
	Suppressions []struct {
		Channel string    `json:"channel"`
		Address string    `json:"address"`
		Reason  string    `json:"reason"`
		Since   time.Time `json:"since"`
	} `json:"suppressions"`
}

// Erased reports whether its personal data is gone.
func (b apiBusiness) Erased() bool { return b.Name == pgstore.Erased }

// businessPage is one business.
type businessPage struct {
	Business apiBusiness
	Payments panel[[]pgstore.Payment]
	Life     any
}

func (c *Console) business(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	p := businessPage{}
	if err := v.api(http.MethodGet, "/crm/businesses/"+id.String(), nil, &p.Business); err != nil {
		return err
	}
	p.Payments = load(v, "payments", func(ctx context.Context, tx pgx.Tx) ([]pgstore.Payment, error) {
		b, err := pgstore.BusinessByPublicID(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		return pgstore.PaymentsOf(ctx, tx, b.ID, 50)
	})
	p.Life = c.life(v, id)
	return v.render("business", p.Business.Name, p)
}

func (c *Console) businessLife(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	return v.fragment("business", "life", c.life(v, id))
}

// timelineShown is how many items a page has.
const timelineShown = 50

// businessLife is what moves while somebody looks.
type businessLife struct {
	ID       uuid.UUID
	Diagrams []diagram
	Items    []pgstore.TimelineItem
	Next     string // cursor
	Older    bool   // this is not the first page
}

func (c *Console) life(v *visit, id uuid.UUID) any {
	return load(v, "life", func(ctx context.Context, tx pgx.Tx) (businessLife, error) {
		p := businessLife{ID: id}
		b, err := pgstore.BusinessByPublicID(ctx, tx, id)
		if err != nil {
			return p, err
		}
		moved, err := pgstore.MovesOf(ctx, tx, b.ID)
		if err != nil {
			return p, err
		}
		for _, axis := range lifecycle.Axes() {
			current := map[lifecycle.Axis]lifecycle.Status{
				lifecycle.AxisContact: b.Contact, lifecycle.AxisWebsite: b.Website, lifecycle.AxisSubscription: b.Subscription, lifecycle.AxisTicket: b.Ticket,
			}[axis]
			own := slices.DeleteFunc(slices.Clone(moved), func(m pgstore.Moved) bool { return m.Axis != axis })
			p.Diagrams = append(p.Diagrams, draw(axis, current, own, v.zone()))
		}
		before, err := timelineCursor(v.query("before"))
		if err != nil {
			return p, err
		}
		p.Older = before != nil
		p.Items, err = pgstore.Timeline(ctx, tx, b.ID, before, timelineShown+1)
		if err != nil {
			return p, err
		}
		if len(p.Items) > timelineShown {
			p.Items = p.Items[:timelineShown]
			raw, err := json.Marshal(p.Items[timelineShown-1].Position)
			if err != nil {
				return p, err
			}
			p.Next = base64.RawURLEncoding.EncodeToString(raw)
		}
		return p, nil
	})
}

// timelineCursor reads the place that a page of the timeline begins behind; nil at the top.
func timelineCursor(s string) (*pgstore.TimelinePosition, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // the top is no error
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	var p pgstore.TimelinePosition
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "This is no page of the timeline. Go back to the first.")
	}
	return &p, nil
}

// recordBusinessEvent records what an operator decides about a business, or knows of it.
func (c *Console) recordBusinessEvent(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	reason := v.form("reason")
	if reason == "" {
		return field("reason", "Say why: the reason goes to the operators' log.")
	}
	event := v.form("event")
	told := map[string]string{
		"opted_out":         "Opted out: from now on nothing is sent to its addresses.",
		"operator_reopened": "Reopened: it may be written to again.",
		"ticket_opened":     "Ticket opened.",
		"ticket_closed":     "Ticket closed.",
	}[event]
	if told == "" {
		return field("event", "The console records no such event; the API does.")
	}
	if err := v.api(http.MethodPost, "/crm/businesses/"+id.String()+"/events", map[string]any{"event": event, "note": reason}, nil); err != nil {
		return err
	}
	return v.done("/businesses/"+id.String(), toneGood, told)
}

// eraseBusiness takes a contact's personal data away, for good.
func (c *Console) eraseBusiness(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var b apiBusiness
	if err := v.api(http.MethodGet, "/crm/businesses/"+id.String(), nil, &b); err != nil {
		return err
	}
	switch {
	case v.form("reason") == "":
		return field("reason", "Say why, and name nobody in it: the operators' log outlives the erasure.")
	case v.form("name") != b.Name:
		return field("name", "The name is not that of this contact: nothing was erased.")
	}
	query := url.Values{"reason": {v.form("reason")}}
	if err := v.api(http.MethodDelete, "/crm/businesses/"+id.String()+"?"+query.Encode(), nil, nil); err != nil {
		return err
	}
	return v.done("/businesses/"+id.String(), toneGood, "Erased. What is kept names nobody.")
}
