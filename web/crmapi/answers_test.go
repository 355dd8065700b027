package crmapi_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

// description holds answers against what /openapi.json says of them, and requests that were done.
type description struct {
	document any
	compiler *jsonschema.Compiler

	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema
}

const descriptionAt = "http://onward.test/openapi.json"

func newDescription(t *testing.T, spec string) *description {
	t.Helper()
	d := &description{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	var err error
	d.document, err = jsonschema.UnmarshalJSON(strings.NewReader(spec))
	require.NoError(t, err)
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	require.NoError(t, d.compiler.AddResource(descriptionAt, d.document))
	return d
}

// at is what the description has at a path of members; nil where it has nothing.
func (d *description) at(members ...string) any {
	at := d.document
	for _, m := range members {
		object, _ := at.(map[string]any)
		at = object[m]
	}
	return at
}

// fits requires that JSON fits the schema at a path of members.
func (d *description) fits(t *testing.T, raw string, members ...string) {
	t.Helper()
	pointer := strings.NewReplacer("~", "~0", "/", "~1")
	place := "#"
	for _, m := range members {
		place += "/" + pointer.Replace(m)
	}
	d.mu.Lock()
	schema, ok := d.compiled[place]
	if !ok {
		var err error
		schema, err = d.compiler.Compile(descriptionAt + place)
		require.NoError(t, err, place)
		d.compiled[place] = schema
	}
	d.mu.Unlock()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
	require.NoError(t, err, raw)
	require.NoError(t, schema.Validate(value), "%s\n%s", place, raw)
}

// described requires that an answer, and the body of a request that was done, are as the description says.
func (b *bundle) described(method, path, body string, r reply) {
	b.t.Helper()
	path, _, _ = strings.Cut(path, "?")
	match := chi.NewRouteContext()
	if !b.router.Match(match, method, path) {
		return // there is no such operation
	}
	route := strings.TrimPrefix(match.RoutePattern(), crmapi.Prefix)
	operation := []string{"paths", route, strings.ToLower(method)}
	if b.spec().at(operation...) == nil {
		return // the description itself, and its page
	}
	answer := append(operation, "responses", strconv.Itoa(r.status))
	require.NotNil(b.t, b.spec().at(answer...), "%s %s answers %d, which is not described", method, route, r.status)
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	if media != "" {
		require.NotNil(b.t, b.spec().at(append(answer, "content", media)...), "%s %s answers %d with %s, which is not described", method, route, r.status, media)
	}
	if strings.HasSuffix(media, "json") {
		b.spec().fits(b.t, r.raw, append(answer, "content", media, "schema")...)
	}
	if body != "" && r.status < http.StatusBadRequest {
		b.spec().fits(b.t, body, append(operation, "requestBody", "content", "application/json", "schema")...)
	}
}

// Members that are null, where there is nothing, are described as such, objects and those with a list of values among them.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	campaign := b.post("/campaigns", obj{"name": "C", "channel": "email", "subject": "S", "body": "Hi", "audience": obj{"filter": obj{}}}, http.StatusCreated).body["id"].(string)
	estimate := b.get("/campaigns/"+campaign+"/estimate", http.StatusOK)
	require.Nil(t, estimate.body["cost"])
	require.Nil(t, estimate.body["segments"])
	b.patch("/crm/businesses/"+id, obj{"email": "a@example.com"}, http.StatusOK)
	preview := b.get("/campaigns/"+campaign+"/preview?business_id="+id, http.StatusOK)
	require.Nil(t, preview.body["skipped"])
	require.Nil(t, preview.body["segments"])
	for _, path := range []string{"/analytics/at-risk", "/analytics/campaigns", "/analytics/funnel", "/analytics/revenue", "/jobs/groups", "/queues"} {
		b.get(path, http.StatusOK)
	}
}

// The description is valid without its own extensions, which strict readers refuse.
func TestDescriptionHasNoForeignKeywords(t *testing.T) {
	t.Parallel()
	require.NotContains(t, setup(t).send(apitoken.Viewer, http.MethodGet, "/openapi.json", nil).raw, "patternDescription")
}
