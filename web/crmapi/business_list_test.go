package crmapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(r reply) []string {
	list := []string{}
	for _, i := range r.items() {
		list = append(list, i.(obj)["name"].(string))
	}
	return list
}

func TestListBusinesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.business(obj{"name": "Panadería López", "phone": "+502 5555 1234", "email": "ana@pan.example", "city": "Antigua", "category": "bakery", "country": "GT"})
	b.business(obj{"name": "Acme", "phone": "+1 415 555 2671", "city": "San Francisco", "country": "US"})
	b.business(obj{"name": "Zeta"})
	b.post("/crm/businesses/"+first+"/events", obj{"event": "ticket_opened"}, http.StatusAccepted)

	for query, want := range map[string][]string{
		"":                                      {"Zeta", "Acme", "Panadería López"},
		"sort=name":                             {"Acme", "Panadería López", "Zeta"},
		"sort=-name":                            {"Zeta", "Panadería López", "Acme"},
		"sort=created_at":                       {"Panadería López", "Acme", "Zeta"},
		"sort=-updated_at":                      {"Panadería López", "Zeta", "Acme"},
		"q=nader":                               {"Panadería López"},
		"q=" + url.QueryEscape("(415) 555-267"): {"Acme"},
		"q=pan.example":                         {"Panadería López"},
		"q=francisco":                           {"Acme"},
		"q=" + url.QueryEscape("%"):             {},
		"ticket_status=open":                    {"Panadería López"},
		"ticket_status=open,none&sort=name":     {"Acme", "Panadería López", "Zeta"},
		"contact_status=purchased":              {},
		"website_status=none&country=us":        {"Acme"},
		"subscription_status=active":            {},
		"city=antigua":                          {"Panadería López"},
		"category=Bakery":                       {"Panadería López"},
		"created_after=2020-01-01T00:00:00Z&q=acme":           {"Acme"},
		"created_before=2020-01-01T00:00:00Z":                 {},
		"updated_after=2020-01-01T00:00:00-06:00&q=zeta":      {"Zeta"},
		"updated_before=2020-01-01T00:00:00Z":                 {},
		"q=acme&contact_status=pending&country=US&sort=-name": {"Acme"},
	} {
		require.Equal(t, want, names(b.get("/crm/businesses?"+query, http.StatusOK)), query)
	}
	item := b.get("/crm/businesses?q=acme", http.StatusOK).items()[0].(obj)
	var fields []string
	for f := range item {
		fields = append(fields, f)
	}
	require.ElementsMatch(t, []string{
		"id", "name", "phone", "email", "city", "country", "timezone", "category", "external_id", "tags", "contact_status", "website_status",
		"subscription_status", "ticket_status", "created_at", "updated_at",
	}, fields)

	for query, where := range map[string]string{
		"contact_status=open":      "query.contact_status",
		"ticket_status=":           "", // empty is absent
		"sort=phone":               "query.sort",
		"limit=0":                  "query.limit",
		"limit=501":                "query.limit",
		"limit=many":               "query.limit",
		"cursor=nonsense":          "query.cursor",
		"created_after=yesterday":  "query.created_after",
		"contact_statuses=pending": "query.contact_statuses",
	} {
		if where == "" {
			b.get("/crm/businesses?"+query, http.StatusOK)
			continue
		}
		require.Equal(t, []string{where}, b.get("/crm/businesses?"+query, http.StatusUnprocessableEntity).locations(), query)
	}
	b.get("/crm/businesses?q="+url.QueryEscape("a\x00b"), http.StatusUnprocessableEntity)
}

func TestListBusinessesPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		b.business(obj{"name": fmt.Sprintf("B%d", i)})
	}
	first := b.get("/crm/businesses?limit=2", http.StatusOK)
	require.Equal(t, []string{"B4", "B3"}, names(first))
	b.business(obj{"name": "Newcomer"})
	second := b.get("/crm/businesses?limit=2&cursor="+first.body["next_cursor"].(string), http.StatusOK)
	require.Equal(t, []string{"B2", "B1"}, names(second))
	third := b.get("/crm/businesses?limit=2&cursor="+second.body["next_cursor"].(string), http.StatusOK)
	require.Equal(t, []string{"B0"}, names(third))
	require.Nil(t, third.body["next_cursor"])
	require.Contains(t, third.body, "next_cursor")

	other := b.get("/crm/businesses?sort=name&limit=2&cursor="+first.body["next_cursor"].(string), http.StatusUnprocessableEntity)
	require.Equal(t, []string{"query.cursor"}, other.locations(), "a cursor belongs to one order")
	whole := b.get("/crm/businesses?limit=6", http.StatusOK)
	require.Nil(t, whole.body["next_cursor"], "the last page is full")
}
