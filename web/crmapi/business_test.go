package crmapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestCreateAndGetBusiness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.post("/crm/businesses", obj{
		"name": " Panadería López ", "phone": "5555 1234", "email": "Ana@Example.com", "city": "Antigua", "country": "gt",
		"timezone": "America/Guatemala", "category": "bakery", "external_id": "crm-7",
	}, http.StatusCreated)
	id := r.body["id"].(string)
	require.Equal(t, "/api/v1/crm/businesses/"+id, r.header.Get("Location"))
	require.NotContains(t, r.body, "$schema")

	got := b.get("/crm/businesses/"+id, http.StatusOK).body
	require.Equal(t, r.body, got)
	for field, want := range map[string]any{
		"name": "Panadería López", "phone": "+50255551234", "email": "ana@example.com", "city": "Antigua", "country": "GT",
		"timezone": "America/Guatemala", "category": "bakery", "external_id": "crm-7",
		"contact_status": "pending", "website_status": "none", "subscription_status": "none", "ticket_status": "none",
		"sites": []any{}, "suppressions": []any{},
	} {
		require.Equal(t, want, got[field], field)
	}
	require.Regexp(t, `^\d{4}-\d\d-\d\dT.*Z$`, got["created_at"])

	again := b.post("/crm/businesses", obj{"name": "Another", "external_id": "crm-7"}, http.StatusOK)
	require.Equal(t, got, again.body)
	require.Equal(t, []string{"operator business.create "}, b.actions("business", id), "the repetition did nothing")

	only := b.post("/crm/businesses", obj{"name": "Only a name", "phone": nil, "email": nil}, http.StatusCreated).body
	for _, field := range []string{"phone", "email", "city", "country", "timezone", "category", "external_id"} {
		require.Contains(t, only, field)
		require.Nil(t, only[field], field)
	}
}

func TestCreateBusinessRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct {
		body  any
		where string
	}{
		"no name":           {obj{}, "body.name"},
		"empty name":        {obj{"name": ""}, "body.name"},
		"blank name":        {obj{"name": "  "}, "body.name"},
		"long name":         {obj{"name": strings.Repeat("x", 201)}, "body.name"},
		"zero byte":         {obj{"name": "a\x00b"}, "body.name"},
		"phone, no country": {obj{"name": "x", "phone": "5555 1234"}, "body.phone"},
		"no phone":          {obj{"name": "x", "phone": "call me", "country": "GT"}, "body.phone"},
		"email":             {obj{"name": "x", "email": "ana"}, "body.email"},
		"country":           {obj{"name": "x", "country": "Guatemala"}, "body.country"},
		"time zone":         {obj{"name": "x", "timezone": "Mars/Olympus"}, "body.timezone"},
		"unknown field":     {obj{"name": "x", "fax": "1"}, "body.fax"},
		"status":            {obj{"name": "x", "contact_status": "purchased"}, "body.contact_status"},
		"wrong type":        {obj{"name": 7}, "body.name"},
		"not an object":     {`[]`, "body"},
	} {
		r := b.post("/crm/businesses", c.body, http.StatusUnprocessableEntity)
		require.Contains(t, r.locations(), c.where, name)
		require.Contains(t, r.body["detail"], c.where, name)
		require.NotContains(t, r.raw, `"value"`, "what was sent is not quoted")
	}
	several := b.post("/crm/businesses", obj{"name": " ", "email": "ana", "phone": "1"}, http.StatusUnprocessableEntity)
	require.ElementsMatch(t, []string{"body.name", "body.email", "body.phone"}, several.locations())

	for _, broken := range []string{`{"name": "x"`, `{"name": "x"} {}`, `nonsense`} {
		require.Equal(t, []string{"body"}, b.post("/crm/businesses", broken, http.StatusBadRequest).locations())
	}
	b.post("/crm/businesses", "", http.StatusBadRequest)
	b.post("/crm/businesses", obj{"name": "x"}, http.StatusUnsupportedMediaType, "Content-Type", "text/plain")
	b.post("/crm/businesses", `{"name": "`+strings.Repeat("x", 1<<20)+`"}`, http.StatusRequestEntityTooLarge)
	require.Zero(t, one[int](b, `SELECT count(*) FROM businesses`))
}

func TestBusinessNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nobody := "/crm/businesses/" + uuid.NewString()
	b.get(nobody, http.StatusNotFound)
	b.get(nobody+"/timeline", http.StatusNotFound)
	b.patch(nobody, obj{"name": "x"}, http.StatusNotFound)
	b.post(nobody+"/events", obj{"event": "ticket_opened"}, http.StatusNotFound)
	require.Equal(t, []string{"path.id"}, b.get("/crm/businesses/17", http.StatusUnprocessableEntity).locations())
	b.get("/nonsense", http.StatusNotFound)
	b.get("/nonsense%00", http.StatusNotFound)
	b.post("/crm/businesses/"+uuid.NewString(), obj{}, http.StatusMethodNotAllowed)
}

func TestUpdateBusiness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A", "phone": "5555 1234", "country": "GT", "city": "Antigua", "external_id": "1"})
	b.business(obj{"name": "B", "external_id": "2"})
	path := "/crm/businesses/" + id

	r := b.patch(path, obj{"name": "A2", "phone": "5555 9999", "city": nil, "email": "a@example.com"}, http.StatusOK)
	require.Equal(t, "A2", r.body["name"])
	require.Equal(t, "+50255559999", r.body["phone"])
	require.Equal(t, "a@example.com", r.body["email"])
	require.Equal(t, "GT", r.body["country"])
	require.Nil(t, r.body["city"])
	require.Equal(t, "1", r.body["external_id"])
	require.Equal(t, r.body, b.get(path, http.StatusOK).body)

	require.Equal(t, r.body["phone"], b.patch(path, obj{}, http.StatusOK).body["phone"])
	require.Equal(t, []string{"body.name"}, b.patch(path, obj{"name": nil}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"body.phone"}, b.patch(path, obj{"phone": "12"}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"body.contact_status"}, b.patch(path, obj{"contact_status": "purchased"}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"body.external_id"}, b.patch(path, obj{"external_id": "2"}, http.StatusConflict).locations())
	require.Equal(t, `{"fields": ["name", "phone", "email", "city"]}`,
		one[string](b, `SELECT details::text FROM operator_actions WHERE action = 'business.update' ORDER BY id LIMIT 1`))
}

// Promise 2: a reply that came before its sender was known, hours ago, is applied when the business appears.
func TestPromise2UnmatchedRepliesWaitForTheirBusiness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	receipt := b.receipt("twilio", "inbound_message", "unmatched", "sms:+50255551234", "")
	later := b.receipt("twilio", "inbound_message", "unmatched", "sms:+50255559999", "")

	id := b.business(obj{"name": "A", "phone": "+502 5555 1234"})
	require.Equal(t, []string{`reply inbound available {"receipt_id": "` + receipt + `"}`}, b.jobs())
	require.Equal(t, []string{"inbound"}, b.woken)
	require.Equal(t, "pending", b.get("/webhook-events/"+receipt, http.StatusOK).body["outcome"])

	b.patch("/crm/businesses/"+id, obj{"name": "A2"}, http.StatusOK)
	require.Len(t, b.jobs(), 1)
	b.patch("/crm/businesses/"+id, obj{"phone": "+502 5555 9999"}, http.StatusOK)
	require.Equal(t, `reply inbound available {"receipt_id": "`+later+`"}`, b.jobs()[1])
}
