package crmapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// BusinessQuery is a filter of businesses in a query.
type BusinessQuery struct {
	Q                  string    `query:"q" maxLength:"200" doc:"Part of a name, of a phone in any spelling, of an email or a city, in any case and without regard to accents; one or two characters: the beginning of a word"`
	ContactStatus      []string  `query:"contact_status" doc:"Any of these, with commas"`
	WebsiteStatus      []string  `query:"website_status" doc:"Any of these, with commas"`
	SubscriptionStatus []string  `query:"subscription_status" doc:"Any of these, with commas"`
	TicketStatus       []string  `query:"ticket_status" doc:"Any of these, with commas"`
	City               string    `query:"city" maxLength:"120" doc:"The whole name, in any case"`
	Country            string    `query:"country" maxLength:"2" doc:"ISO 3166-1 alpha-2"`
	Category           string    `query:"category" maxLength:"120" doc:"The whole name, in any case"`
	Tag                []string  `query:"tag" doc:"Any of these, with commas"`
	CreatedAfter       time.Time `query:"created_after"`
	CreatedBefore      time.Time `query:"created_before"`
	UpdatedAfter       time.Time `query:"updated_after"`
	UpdatedBefore      time.Time `query:"updated_before"`
}

func (f BusinessQuery) filter() (pgstore.BusinessFilter, error) {
	out := pgstore.BusinessFilter{
		Q: f.Q, ContactStatus: f.ContactStatus, WebsiteStatus: f.WebsiteStatus, SubscriptionStatus: f.SubscriptionStatus,
		TicketStatus: f.TicketStatus, City: f.City, Country: f.Country, Category: f.Category, Tag: f.Tag,
		CreatedAfter: utc(&f.CreatedAfter), CreatedBefore: utc(&f.CreatedBefore),
		UpdatedAfter: utc(&f.UpdatedAfter), UpdatedBefore: utc(&f.UpdatedBefore),
	}
	return out, checkFilter(out, "query.")
}

// filterBody is a filter in a body, with the names of the query's.
type filterBody struct {
	Q                  string     `json:"q,omitempty" maxLength:"200"`
	ContactStatus      anyOf      `json:"contact_status,omitempty"`
	WebsiteStatus      anyOf      `json:"website_status,omitempty"`
	SubscriptionStatus anyOf      `json:"subscription_status,omitempty"`
	TicketStatus       anyOf      `json:"ticket_status,omitempty"`
	City               string     `json:"city,omitempty" maxLength:"120"`
	Country            string     `json:"country,omitempty" maxLength:"2"`
	Category           string     `json:"category,omitempty" maxLength:"120"`
	Tag                anyOf      `json:"tag,omitempty"`
	CreatedAfter       *time.Time `json:"created_after,omitempty"`
	CreatedBefore      *time.Time `json:"created_before,omitempty"`
	UpdatedAfter       *time.Time `json:"updated_after,omitempty"`
	UpdatedBefore      *time.Time `json:"updated_before,omitempty"`
}

func (f filterBody) filter(at string) (pgstore.BusinessFilter, error) {
	if err := nameSome(at, map[string]anyOf{
		"contact_status": f.ContactStatus, "website_status": f.WebsiteStatus, "subscription_status": f.SubscriptionStatus,
		"ticket_status": f.TicketStatus, "tag": f.Tag,
	}); err != nil {
		return pgstore.BusinessFilter{}, err
	}
	out := pgstore.BusinessFilter{
		Q: f.Q, ContactStatus: pgstore.AnyOf(f.ContactStatus), WebsiteStatus: pgstore.AnyOf(f.WebsiteStatus),
		SubscriptionStatus: pgstore.AnyOf(f.SubscriptionStatus), TicketStatus: pgstore.AnyOf(f.TicketStatus),
		City: f.City, Country: f.Country, Category: f.Category, Tag: pgstore.AnyOf(f.Tag),
		CreatedAfter: utc(f.CreatedAfter), CreatedBefore: utc(f.CreatedBefore),
		UpdatedAfter: utc(f.UpdatedAfter), UpdatedBefore: utc(f.UpdatedBefore),
	}
	return out, checkFilter(out, at)
}

func viewFilter(f pgstore.BusinessFilter) *filterBody {
	return &filterBody{
		Q: f.Q, ContactStatus: anyOf(f.ContactStatus), WebsiteStatus: anyOf(f.WebsiteStatus),
		SubscriptionStatus: anyOf(f.SubscriptionStatus), TicketStatus: anyOf(f.TicketStatus),
		City: f.City, Country: f.Country, Category: f.Category, Tag: anyOf(f.Tag),
		CreatedAfter: f.CreatedAfter, CreatedBefore: f.CreatedBefore, UpdatedAfter: f.UpdatedAfter, UpdatedBefore: f.UpdatedBefore,
	}
}

// checkFilter refuses a status that does not exist: it would select nobody, without a word.
func checkFilter(f pgstore.BusinessFilter, at string) error {
	for _, s := range []struct {
		name   string
		axis   lifecycle.Axis
		values pgstore.AnyOf
	}{
		{"contact_status", lifecycle.AxisContact, f.ContactStatus},
		{"website_status", lifecycle.AxisWebsite, f.WebsiteStatus},
		{"subscription_status", lifecycle.AxisSubscription, f.SubscriptionStatus},
		{"ticket_status", lifecycle.AxisTicket, f.TicketStatus},
	} {
		if err := checkAnyOf(at+s.name, s.values, lifecycle.Statuses(s.axis)); err != nil {
			return err
		}
	}
	return nil
}

func checkAnyOf[S ~string](at string, values []string, known []S) error {
	for _, v := range values {
		if !slices.Contains(known, S(v)) {
			names := make([]string, len(known))
			for i, k := range known {
				names[i] = string(k)
			}
			return invalid(at, fmt.Sprintf("knows no %q: any of %s", v, strings.Join(names, ", ")))
		}
	}
	return nil
}

// anyOf is a list in JSON, or one string with commas as in a query.
type anyOf pgstore.AnyOf

// UnmarshalJSON reads either form. What is there and empty is not nil.
func (a *anyOf) UnmarshalJSON(data []byte) error {
	err := (*pgstore.AnyOf)(a).UnmarshalJSON(data)
	if *a == nil {
		*a = anyOf{}
	}
	return err
}

// nameSome refuses lists of a body that are there and empty: any of none would be nobody, and no condition would be everyone.
func nameSome(at string, lists map[string]anyOf) error {
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if list := lists[name]; list != nil && len(list) == 0 {
			return invalid(at+name, "is empty: name at least one, or leave it out")
		}
	}
	return nil
}

// Schema describes both.
func (anyOf) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Description: "Any of these, with commas"},
		{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}},
	}}
}

// unmarshalString reads a string or null.
func unmarshalString(data []byte, v **string) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("neither a string nor null: %w", err)
	}
	return nil
}

type listBusinessesInput struct {
	BusinessQuery
	Paging
	Sort string `query:"sort" enum:"name,-name,created_at,-created_at,updated_at,-updated_at" default:"-created_at" doc:"A minus: the other way round"`
}

func (a *API) listBusinesses(ctx context.Context, in *listBusinessesInput) (*pageOutput[Business], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	sort, list := pgstore.BusinessSort(in.Sort), "businesses:"+in.Sort
	behind, err := position[pgstore.BusinessPosition](in.Paging, list)
	if err != nil {
		return nil, err
	}
	rows, next, err := pgstore.ListBusinesses(ctx, a.opts.Pool, f, sort, behind, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Business]{Body: Page[Business]{Items: make([]Business, 0, len(rows))}}
	for _, b := range rows {
		out.Body.Items = append(out.Body.Items, viewBusiness(b))
	}
	if next != nil {
		out.Body.NextCursor, err = encodeCursor(list, next)
	}
	return out, err
}
