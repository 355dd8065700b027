package crmapi_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/apitoken"
	"onward/web/crmapi"
)

// A PATCH that changes nothing leaves updated_at and the operators' log alone; one that does moves both.
func TestPatch_withoutAChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "Ana", "phone": "+13055550101", "city": "Antigua", "country": "US", "tags": []string{"vip", "a b"}})
	site := b.post("/crm/sites", obj{"business_id": business, "url": "https://ana.example", "subscription_id": "su_1"}, http.StatusCreated).body["id"].(string)
	sendAt := time.Now().Add(time.Hour).UTC()
	campaign := b.post("/campaigns", with(draft(), obj{
		"audience": obj{"filter": obj{"city": "Antigua", "contact_status": "pending,emailed"}}, "send_at": sendAt, "per_second": 2.5,
	}), http.StatusCreated).body["id"].(string)
	b.exec(`INSERT INTO senders (channel, address, per_second) VALUES ('sms', '+15005550006', 2.5)`)
	logged := func() int { return one[int](b, `SELECT count(*) FROM operator_actions`) }
	for _, c := range []struct {
		path, table  string
		same, change []obj
	}{
		{"/crm/businesses/" + business, "businesses", []obj{
			{}, {"name": "Ana"}, {"name": " Ana ", "phone": "(305) 555-0101", "email": nil, "city": "Antigua"}, {"tags": []string{"A  b", "vip"}},
		}, []obj{{"name": "Bea"}, {"city": nil}, {"tags": []string{"vip"}}}},
		{
			"/crm/sites/" + site, "sites",
			[]obj{{}, {"url": "https://ana.example"}, {"subscription_id": "su_1"}},
			[]obj{{"url": "https://bea.example"}, {"subscription_id": nil}},
		},
		{"/campaigns/" + campaign, "campaigns", []obj{
			{},
			{"name": draft()["name"]},
			{"send_at": sendAt},
			{"per_second": 2.5},
			{"audience": obj{"filter": obj{"city": "Antigua", "contact_status": []string{"pending", "emailed"}}}},
		}, []obj{{"name": "Other"}, {"send_at": nil}, {"per_second": 3}, {"audience": obj{"filter": obj{"city": "Cobán"}}}}},
		{"/senders/1", "", []obj{{"per_second": 2.5, "reason": "as it is"}}, []obj{{"per_second": 3, "reason": "more"}}},
	} {
		updated := func() time.Time {
			if c.table == "" {
				return time.Time{}
			}
			return one[time.Time](b, `SELECT max(updated_at) FROM `+c.table)
		}
		for _, body := range c.same {
			at, n := updated(), logged()
			b.patch(c.path, body, http.StatusOK)
			require.Equal(t, []any{at, n}, []any{updated(), logged()}, "%s %v", c.path, body)
		}
		for _, body := range c.change {
			at, n := updated(), logged()
			b.patch(c.path, body, http.StatusOK)
			require.Equal(t, n+1, logged(), "%s %v", c.path, body)
			require.True(t, c.table == "" || updated().After(at), "%s %v", c.path, body)
		}
	}
}

// A word that a filter cannot have would select nothing, without saying so.
func TestLists_refuseUnknownValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, field := range map[string]string{
		"/webhook-events?provider=acme":              "query.provider",
		"/webhook-events?outcome=fine":               "query.outcome",
		"/crm/businesses?contact_status=happy":       "query.contact_status",
		"/crm/businesses?website_status=happy":       "query.website_status",
		"/crm/businesses?subscription_status=happy":  "query.subscription_status",
		"/crm/businesses?ticket_status=happy":        "query.ticket_status",
		"/crm/businesses?sort=size":                  "query.sort",
		"/campaigns?status=happy":                    "query.status",
		"/campaigns?channel=fax":                     "query.channel",
		"/messages?state=happy":                      "query.state",
		"/replies?state=happy":                       "query.state",
		"/replies?state=all&action=happy":            "query.action",
		"/jobs?state=happy":                          "query.state",
		"/jobs/groups?state=happy":                   "query.state",
		"/suppressions?channel=fax":                  "query.channel",
		"/suppressions?state=happy":                  "query.state",
		"/analytics/funnel?channel=fax":              "query.channel",
		"/analytics/campaigns?channel=fax":           "query.channel",
		"/analytics/revenue?by=fax":                  "query.by",
		"/analytics/at-risk?reason=happy":            "query.reason",
		"/crm/businesses?contact_status=pending,odd": "query.contact_status",
	} {
		require.Equal(t, []string{field}, b.get(path, http.StatusUnprocessableEntity).locations(), path)
	}
	for _, provider := range jobs.Providers() {
		b.get("/webhook-events?provider="+provider, http.StatusOK)
	}
}

// HEAD answers as GET does, without the body; what only changes things has none.
func TestHead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "Ana"})
	for _, path := range []string{"/crm/businesses", "/crm/businesses/" + id, "/crm/businesses?format=csv", "/crm/businesses?sort=size", "/nonsense"} {
		get, head := b.send(apitoken.Viewer, http.MethodGet, path, nil), b.head(path)
		for _, name := range []string{"Content-Type", "Etag", "Cache-Control", "Content-Disposition"} {
			require.Equal(t, get.header.Get(name), head.header.Get(name), "%s of %s", name, path)
		}
		require.Equal(t, get.status, head.status, path)
	}
	refused := b.head("/crm/sites")
	require.Equal(t, []any{http.StatusMethodNotAllowed, "POST"}, []any{refused.status, refused.header.Get("Allow")})
	require.Equal(t, "GET, HEAD, POST", b.send(apitoken.Operator, http.MethodDelete, "/crm/businesses", nil).header.Get("Allow"))
}

func (b *bundle) head(path string) reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodHead, b.server.URL+crmapi.Prefix+path, nil)
	require.NoError(b.t, err)
	req.Header.Set("Authorization", "Bearer "+b.tokens[apitoken.Viewer])
	res, err := b.server.Client().Do(req)
	require.NoError(b.t, err)
	raw, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	require.NoError(b.t, res.Body.Close())
	require.Empty(b.t, raw)
	return reply{status: res.StatusCode, header: res.Header}
}
