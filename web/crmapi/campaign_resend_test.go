package crmapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

func TestResendCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.post("/campaigns", with(draft(), obj{"name": strings.Repeat("n", 199), "per_second": 3}), http.StatusCreated).body["id"].(string)
	path := "/campaigns/" + id
	// One business for each state, by that name.
	for _, s := range lifecycle.MessageStates() {
		business := b.business(obj{"name": string(s), "phone": "+15005550006"})
		b.message(business, string(s))
	}
	b.exec(`UPDATE messages SET campaign_id = (SELECT id FROM campaigns)`)
	for _, status := range []string{"draft", "scheduled", "sending", "paused"} {
		b.exec(`UPDATE campaigns SET status = $1`, status)
		b.post(path+"/resend", nil, http.StatusConflict)
	}
	b.exec(`UPDATE campaigns SET status = 'sent'`)

	r := b.post(path+"/resend", nil, http.StatusCreated)
	follow := r.body["id"].(string)
	require.Equal(t, "/api/v1/campaigns/"+follow, r.header.Get("Location"))
	require.Equal(t, []any{"draft", strings.Repeat("n", 191) + " (resend)", "sms", draft()["body"], 3.0, obj{"failed_of": id}},
		[]any{r.body["status"], r.body["name"], r.body["channel"], r.body["body"], r.body["per_second"], r.body["audience"]})
	require.Equal(t, 2.0, b.get("/campaigns/"+follow+"/estimate", http.StatusOK).body["recipients"], "failed and undelivered")
	require.Contains(t, b.actions("campaign", id), "operator campaign.resend ")
	require.Equal(t, "Again", b.post(path+"/resend", obj{"name": "Again"}, http.StatusCreated).body["name"])

	// Whom a follow-up reached is no follow-up's business any more; whom it failed to reach is.
	b.exec(`
		INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body, state)
		SELECT gen_random_uuid(), (SELECT id FROM campaigns WHERE public_id = $1), id, 'sms', phone, 'x', CASE name WHEN 'failed' THEN 'sent' ELSE 'failed' END
		FROM businesses WHERE name IN ('failed', 'undelivered')`, follow)
	require.Equal(t, 1.0, b.get("/campaigns/"+follow+"/estimate", http.StatusOK).body["recipients"])
	b.exec(`UPDATE messages SET state = 'queued' WHERE campaign_id = (SELECT id FROM campaigns WHERE public_id = $1)`, follow)
	require.Contains(t, b.post(path+"/resend", nil, http.StatusConflict).body["detail"], "nobody")
	b.post("/campaigns/"+uuid.NewString()+"/resend", nil, http.StatusNotFound)
}
