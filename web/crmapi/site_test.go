package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestSites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	r := b.post("/crm/sites", obj{"business_id": business, "url": "https://a.example.com", "subscription_id": "su_1"}, http.StatusCreated)
	id := r.body["id"].(string)
	require.Equal(t, "/api/v1/crm/sites/"+id, r.header.Get("Location"))
	require.Equal(t, r.body, b.get("/crm/sites/"+id, http.StatusOK).body)
	require.Equal(t, []any{"draft", "none", "su_1", business},
		[]any{r.body["status"], r.body["subscription_status"], r.body["subscription_id"], r.body["business_id"]})
	require.Equal(t, []any{r.body}, b.get("/crm/businesses/"+business, http.StatusOK).body["sites"])

	second := b.post("/crm/sites", obj{"business_id": business}, http.StatusCreated).body["id"].(string)
	for _, taken := range []reply{
		b.post("/crm/sites", obj{"business_id": business, "subscription_id": "su_1"}, http.StatusConflict),
		b.patch("/crm/sites/"+second, obj{"subscription_id": "su_1"}, http.StatusConflict),
	} {
		require.Equal(t, []string{"body.subscription_id"}, taken.locations())
	}
	patched := b.patch("/crm/sites/"+id, obj{"url": nil, "subscription_id": "su_2"}, http.StatusOK).body
	require.Nil(t, patched["url"])
	require.Equal(t, "su_2", patched["subscription_id"])
	require.Equal(t, []string{"operator site.create ", "operator site.update "}, b.actions("site", id))

	for where, body := range map[string]obj{
		"body.business_id":         {"business_id": uuid.NewString()},
		"body.url":                 {"business_id": business, "url": "javascript:alert(1)"},
		"body.status":              {"business_id": business, "status": "owned"},
		"body.subscription_status": {"business_id": business, "subscription_status": "active"},
	} {
		require.Equal(t, []string{where}, b.post("/crm/sites", body, http.StatusUnprocessableEntity).locations())
	}
	require.Equal(t, []string{"body.status"}, b.patch("/crm/sites/"+id, obj{"status": "owned"}, http.StatusUnprocessableEntity).locations())
	b.get("/crm/sites/"+uuid.NewString(), http.StatusNotFound)
	b.patch("/crm/sites/"+uuid.NewString(), obj{}, http.StatusNotFound)
}

// Promise 2: what the payment provider said before the site was linked is applied when it is.
func TestPromise2UnmatchedSubscriptionsWaitForTheirSite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	first := b.receipt("recurrente", "subscription.create", "unmatched", "subscription:su_1", "{}")
	second := b.receipt("recurrente", "subscription.cancel", "unmatched", "subscription:su_2", "{}")

	site := b.post("/crm/sites", obj{"business_id": business, "subscription_id": "su_1"}, http.StatusCreated).body["id"].(string)
	require.Equal(t, []string{`subscription billing available {"receipt_id": "` + first + `"}`}, b.jobs())
	b.patch("/crm/sites/"+site, obj{"subscription_id": "su_2"}, http.StatusOK)
	require.Equal(t, `cancellation billing available {"receipt_id": "`+second+`"}`, b.jobs()[1])
	require.Equal(t, []string{"billing", "billing"}, b.woken)
	require.Zero(t, one[int](b, `SELECT count(*) FROM receipt_outcomes`))
}
