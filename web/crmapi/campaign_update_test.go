package crmapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestUpdateCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	id := b.post("/campaigns", with(draft(), obj{"send_at": "2030-01-01T12:00:00Z", "per_second": 5}), http.StatusCreated).body["id"].(string)
	path := "/campaigns/" + id

	same := b.patch(path, obj{}, http.StatusOK).body
	require.Equal(t, b.get(path, http.StatusOK).body, same)
	require.Equal(t, []any{"Spring", 5.0, "2030-01-01T12:00:00Z"}, []any{same["name"], same["per_second"], same["send_at"]})

	got := b.patch(path, obj{
		"name": " Summer ", "channel": "email", "subject": "For {{.Name}}", "body": "Hi", "audience": obj{"business_ids": []string{business}},
		"send_at": nil, "per_second": 7.5,
	}, http.StatusOK).body
	for field, want := range map[string]any{
		"name": "Summer", "channel": "email", "subject": "For {{.Name}}", "body": "Hi", "audience": obj{"business_ids": []any{business}},
		"send_at": nil, "per_second": 7.5, "status": "draft",
	} {
		require.Equal(t, want, got[field], field)
	}
	require.Nil(t, b.patch(path, obj{"per_second": nil}, http.StatusOK).body["per_second"])

	for name, c := range map[string]struct {
		body  obj
		where string
	}{
		"a template":         {obj{"body": "{{.Fax}}"}, "body.body"},
		"an empty name":      {obj{"name": " "}, "body.name"},
		"no subject":         {obj{"subject": nil}, "body.subject"},
		"too long for a SMS": {obj{"channel": "sms", "body": strings.Repeat("a", 1601)}, "body.body"},
		"nobody":             {obj{"audience": obj{}}, "body.audience"},
		"an unknown one":     {obj{"audience": obj{"business_ids": []string{uuid.NewString()}}}, "body.audience.business_ids[0]"},
		"no pace":            {obj{"per_second": 0}, "body.per_second"},
		"no time":            {obj{"send_at": "soon"}, "body.send_at"},
		"a status":           {obj{"status": "sent"}, "body.status"},
		"no name":            {obj{"name": nil}, "body.name"},
		"no body":            {obj{"body": nil}, "body.body"},
		"no such channel":    {obj{"channel": "fax"}, "body.channel"},
	} {
		r := b.send(apitoken.Operator, http.MethodPatch, path, c.body)
		require.Equal(t, http.StatusUnprocessableEntity, r.status, "%s: %s", name, r.raw)
		require.Contains(t, r.locations(), c.where, name)
	}
	require.Equal(t, "Summer", b.get(path, http.StatusOK).body["name"])

	b.post(path+"/send", nil, http.StatusAccepted)
	require.Contains(t, b.patch(path, obj{"name": "Autumn"}, http.StatusConflict).body["detail"], "sending")
	b.patch("/campaigns/"+uuid.NewString(), obj{"name": "Autumn"}, http.StatusNotFound)
	require.Equal(t, `{"fields": ["name", "channel", "subject", "body", "send_at", "per_second", "audience"]}`,
		one[string](b, `SELECT details::text FROM operator_actions WHERE action = 'campaign.update' ORDER BY id LIMIT 1`))
}
