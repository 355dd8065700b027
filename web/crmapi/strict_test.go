package crmapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// What a reader of JSON would pass over is refused, with its place.
func TestBodiesAreReadStrictly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		path, body, place string
		status            int
	}{
		{"/crm/businesses", `{"name": "a", "name": "b"}`, "body.name", http.StatusUnprocessableEntity},
		{"/crm/businesses", `{"name": "a", "na\u006de": "b"}`, "body.name", http.StatusUnprocessableEntity},
		{"/crm/businesses", `{"NAME": "a"}`, "body.NAME", http.StatusUnprocessableEntity},
		{"/crm/businesses", `{"name": "a", "tagſ": []}`, "body.tagſ", http.StatusUnprocessableEntity},
		{"/crm/businesses", `{"name": "a", "tags": ["b", "c\u0000"]}`, "body.tags[1]", http.StatusUnprocessableEntity},
		{"/crm/businesses", `{"city": "x"}`, "body.name", http.StatusUnprocessableEntity},
		{"/crm/businesses", "{\"name\": \"a\xff\"}", "body", http.StatusBadRequest},
		{"/crm/businesses", `{"name": "a"`, "body", http.StatusBadRequest},
		{"/crm/businesses", strings.Repeat("[", 200_000), "body", http.StatusBadRequest},
		{"/crm/businesses/bulk", `{"action": "tag", "tag": "t", "dry_run": true, "filter": {"q": "a", "Q": "b"}}`, "body.filter.Q", http.StatusUnprocessableEntity},
		{"/crm/businesses/bulk", `{"action": "tag", "tag": "t", "dry_run": true, "filter": {"city": "\u0000"}}`, "body.filter.city", http.StatusUnprocessableEntity},
		{"/campaigns", `{"name": "C", "channel": "sms", "body": "x", "audience": {"filter": {}, "filter": {"city": "x"}}}`, "body.audience.filter", http.StatusUnprocessableEntity},
	} {
		r := b.post(c.path, c.body, c.status)
		require.Equal(t, []string{c.place}, r.locations(), c.body)
	}
	require.Zero(t, one[int](b, `SELECT count(*) FROM businesses`))
	b.post("/crm/businesses", `{"name": "a", "tags": ["name", "name"]}`, http.StatusCreated)
}

func TestQueriesAreReadStrictly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for query, place := range map[string]string{
		"contact_status=pending&contact_status=replied": "query.contact_status",
		"city=a&city=a": "query.city",
		"q=%00":         "query.q",
		"city=%ff":      "query.city",
		"q=%zz":         "query",
		"city=a;b":      "query",
		"City=a":        "query.City",
		"created_after=2026-01-01T00:00:00+02:00": "query.created_after",
	} {
		r := b.get("/crm/businesses?"+query, http.StatusUnprocessableEntity)
		require.Equal(t, []string{place}, r.locations(), query)
		require.NotContains(t, r.body["detail"], "999", "no layout of Go's")
		require.Equal(t, http.StatusUnprocessableEntity, b.get("/crm/businesses?format=csv&"+query, http.StatusUnprocessableEntity).status)
	}
	require.Equal(t, []string{"query.error"}, b.get("/jobs?error=%00", http.StatusUnprocessableEntity).locations())
	b.get("/crm/businesses?contact_status=pending,replied", http.StatusOK)
	b.post("/queues/%00/resume", obj{"reason": "x"}, http.StatusNotFound)
}

// Every member and parameter is written as the strict reader takes it.
func TestNamesAreLowerCase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := regexp.MustCompile(`^[a-z0-9_]+$`)
	for schema, s := range b.spec().at("components", "schemas").(map[string]any) {
		members, _ := s.(map[string]any)["properties"].(map[string]any)
		for member := range members {
			require.Regexp(t, name, member, schema)
		}
	}
}

func TestWrongMethodSaysWhichThereAre(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, "GET, HEAD, POST", b.send(apitoken.Viewer, http.MethodDelete, "/crm/businesses", nil).header.Get("Allow"))
	require.Equal(t, "DELETE, GET, HEAD, PATCH", b.send(apitoken.Viewer, http.MethodPost, "/crm/businesses/x", nil).header.Get("Allow"))
}
