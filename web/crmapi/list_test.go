package crmapi_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

func TestListAsCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.business(obj{"name": "=HYPERLINK(\"http://evil.example\")", "phone": "+502 5555 1234", "city": "Antigua, \"old\""})
	b.exec(`INSERT INTO businesses (public_id, name, city) SELECT gen_random_uuid(), 'B' || i, 'Tikal' FROM generate_series(1, 1203) i`)
	b.business(obj{"name": "-5", "email": "minus@example.com", "tags": []string{"a", "b"}})
	b.business(obj{"name": "@SUM(A1)"})

	for _, r := range []reply{
		b.get("/crm/businesses?format=csv&sort=created_at", http.StatusOK),
		b.send(apitoken.Viewer, http.MethodGet, "/crm/businesses?sort=created_at", nil, "Accept", "text/csv;q=0.9, */*"),
	} {
		require.Equal(t, http.StatusOK, r.status)
		require.Contains(t, r.header.Get("Content-Type"), "text/csv")
		rows, err := csv.NewReader(strings.NewReader(r.raw)).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 1207, "all pages, and the header")
		require.Equal(t, []string{
			"id", "name", "phone", "email", "city", "country", "timezone", "category", "external_id", "tags", "contact_status", "website_status",
			"subscription_status", "ticket_status", "created_at", "updated_at",
		}, rows[0])
		require.Equal(t, `'=HYPERLINK("http://evil.example")`, rows[1][1], "no formula")
		require.Equal(t, "+50255551234", rows[1][2], "a phone is none")
		require.Equal(t, `Antigua, "old"`, rows[1][4])
		require.Equal(t, "-5", rows[1205][1], "nor is a number")
		require.Equal(t, `a;b`, rows[1205][9])
		require.Equal(t, "'@SUM(A1)", rows[1206][1])
	}
	filtered := b.get("/crm/businesses?format=csv&city=tikal&q=b12", http.StatusOK)
	require.Len(t, strings.Split(strings.TrimSpace(filtered.raw), "\n"), 16, "B12, B120 to B129, B1200 to B1203, and the header")
	require.Equal(t, []string{"query.limit"}, b.get("/crm/businesses?format=csv&limit=5", http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"query.cursor"}, b.get("/crm/businesses?format=csv&cursor=x", http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"query.format"}, b.get("/crm/businesses?format=xml", http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"query.sort"}, b.get("/crm/businesses?format=csv&sort=nonsense", http.StatusUnprocessableEntity).locations())
	require.Equal(t, http.StatusUnauthorized, b.send(open, http.MethodGet, "/crm/businesses?format=csv", nil).status)
}

// Every list can be had as CSV, with a header even when it is empty.
func TestEveryListAsCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	for path, first := range map[string]string{
		"/crm/businesses":                     "id,name,",
		"/crm/businesses/" + id + "/timeline": "at,kind,",
		"/crm/businesses/bulk":                "id,action,",
		"/campaigns":                          "id,name,",
		"/messages":                           "id,campaign_id,",
		"/webhook-events":                     "id,provider,",
		"/suppressions":                       "channel,address,",
		"/jobs":                               "id,kind,",
		"/senders":                            "id,channel,",
		"/operator-actions":                   "id,at,actor,",
		"/queues":                             "name,counts,",
		"/jobs/groups":                        "fingerprint,text,",
		"/replies":                            "id,business_id,",
		"/analytics/at-risk":                  "business_id,name,",
	} {
		r := b.get(path+"?format=csv", http.StatusOK)
		require.True(t, strings.HasPrefix(r.raw, first), "%s: %s", path, r.raw)
		require.Contains(t, b.get(path, http.StatusOK).body, "next_cursor", path)
	}
	require.Equal(t, http.StatusOK, b.send(apitoken.Admin, http.MethodGet, "/tokens?format=csv", nil).status)
	one := b.send(apitoken.Viewer, http.MethodGet, "/crm/businesses/"+id, nil, "Accept", "text/csv")
	require.Equal(t, http.StatusOK, one.status)
	require.Equal(t, "A", one.body["name"], "one business is no list")
}

func TestETag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	for _, path := range []string{"/crm/businesses/" + id, "/crm/businesses", "/crm/businesses?q=a"} {
		first := b.get(path, http.StatusOK)
		tag := first.header.Get("ETag")
		require.NotEmpty(t, tag)
		for _, known := range []string{tag, `"other", W/` + tag, "*"} {
			again := b.send(apitoken.Viewer, http.MethodGet, path, nil, "If-None-Match", known)
			require.Equal(t, http.StatusNotModified, again.status, known)
			require.Empty(t, again.raw)
			require.Equal(t, tag, again.header.Get("ETag"))
		}
		require.Equal(t, http.StatusOK, b.send(apitoken.Viewer, http.MethodGet, path, nil, "If-None-Match", `"other"`).status)
		b.patch("/crm/businesses/"+id, obj{"city": "C" + fmt.Sprint(len(path))}, http.StatusOK)
		require.Equal(t, http.StatusOK, b.send(apitoken.Viewer, http.MethodGet, path, nil, "If-None-Match", tag).status, "it changed")
	}
	require.Empty(t, b.post("/crm/businesses", obj{"name": "B"}, http.StatusCreated).header.Get("ETag"))
	csv := b.send(apitoken.Viewer, http.MethodGet, "/crm/businesses?format=csv", nil, "If-None-Match", "*")
	require.Equal(t, http.StatusOK, csv.status)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	at := time.Now()
	b := setup(t, func(o *crmapi.Options) {
		o.PerSecond = 1
		o.Clock = func() time.Time { return at }
	})
	for left := 3; left >= 0; left-- {
		r := b.get("/crm/businesses", http.StatusOK)
		require.Equal(t, `"token";q=4;w=4`, r.header.Get("RateLimit-Policy"))
		require.Equal(t, fmt.Sprintf(`"token";r=%d;t=%d`, left, 4-left), r.header.Get("RateLimit"))
	}
	r := b.get("/crm/businesses", http.StatusTooManyRequests)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	b.post("/crm/businesses", obj{"name": "A"}, http.StatusCreated) // another token
	at = at.Add(time.Second)
	b.get("/crm/businesses?format=csv", http.StatusOK)
	b.get("/crm/businesses", http.StatusTooManyRequests)
}

// What curl -d sends is taken for what it is; a session must say that it sends JSON.
func TestBodiesAreJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const form, text = "application/x-www-form-urlencoded", "text/plain"
	for media, want := range map[string]int{
		"application/json": http.StatusCreated, "application/json; charset=utf-8": http.StatusCreated, form: http.StatusCreated,
		text: http.StatusUnsupportedMediaType, "multipart/form-data": http.StatusUnsupportedMediaType,
	} {
		r := b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", `{"name": "A"}`, "Content-Type", media)
		require.Equal(t, want, r.status, media)
	}
	r := b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", `name=A`, "Content-Type", form)
	require.Equal(t, http.StatusUnsupportedMediaType, r.status)

	token, err := apitoken.Authenticate(t.Context(), b.pool, b.tokens[apitoken.Operator])
	require.NoError(t, err)
	session := func(media, site string) int {
		req := httptest.NewRequestWithContext(apitoken.WithToken(t.Context(), token), http.MethodPost, crmapi.Prefix+"/crm/businesses", strings.NewReader(`{"name": "A"}`))
		if media != "" {
			req.Header.Set("Content-Type", media)
		}
		req.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		b.router.ServeHTTP(w, req)
		return w.Code
	}
	require.Equal(t, http.StatusCreated, session("application/json", "same-origin"))
	require.Equal(t, http.StatusForbidden, session("application/json", "cross-site"))
	for _, media := range []string{form, text, ""} {
		require.Equal(t, http.StatusUnsupportedMediaType, session(media, "same-origin"), media)
	}
}

// What is not known is refused with its name: a filter that is misspelt would select everyone.
func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/crm/businesses", "/campaigns", "/messages", "/webhook-events", "/jobs", "/suppressions", "/operator-actions", "/senders"} {
		require.Equal(t, []string{"query.nonsense"}, b.get(path+"?nonsense=1", http.StatusUnprocessableEntity).locations(), path)
	}
	id := b.business(obj{"name": "A"})
	site := b.post("/crm/sites", obj{"business_id": id}, http.StatusCreated).body["id"].(string)
	for _, c := range []struct{ method, path string }{
		{http.MethodPost, "/crm/businesses"},
		{http.MethodPatch, "/crm/businesses/" + id},
		{http.MethodPost, "/crm/businesses/" + id + "/events"},
		{http.MethodPost, "/crm/sites"},
		{http.MethodPatch, "/crm/sites/" + site},
		{http.MethodPost, "/campaigns"},
		{http.MethodPost, "/jobs/retry"},
		{http.MethodPost, "/suppressions"},
	} {
		r := b.send(apitoken.Operator, c.method, c.path, obj{"nonsense": 1})
		require.Equal(t, http.StatusUnprocessableEntity, r.status, c.path)
		require.Contains(t, r.locations(), "body.nonsense", c.path)
	}
}
