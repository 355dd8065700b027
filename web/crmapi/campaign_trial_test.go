package crmapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTestCampaign(t *testing.T) {
	t.Parallel()
	at, tune := previews(t)
	b := setup(t, tune)
	skipped := b.business(obj{"name": "Nobody"})
	ana := b.business(obj{"name": "Ana", "phone": "+13055550001", "email": "ana@example.com"})
	id := b.post("/campaigns", with(draft(), obj{"body": "Hi {{.Name}} {{.UnsubscribeURL}}"}), http.StatusCreated).body["id"].(string)
	path := "/campaigns/" + id + "/test"

	r := b.post(path, obj{"to": "+1 305 555 0100", "reason": "see it on a phone"}, http.StatusAccepted)
	require.Equal(t, []any{nil, "+13055550100", "queued", "test", ana, at.Add(5 * time.Hour).Format(time.RFC3339)},
		[]any{r.body["campaign_id"], r.body["to"], r.body["state"], r.body["reason"], r.body["rendered_for"], r.body["sends_at"]})
	require.Contains(t, r.body["body"], "Hi Ana https://hooks.example.com/u/")
	require.Equal(t, "/api/v1/messages/"+r.body["id"].(string), r.header.Get("Location"))
	require.Equal(t, []string{"operator campaign.create ", "operator campaign.test see it on a phone"}, b.actions("campaign", id))
	require.Equal(t, []string{fmt.Sprintf(`send send_sms available {"channel": "sms", "message_id": %d}`, one[int](b, `SELECT id FROM messages`))}, b.jobs())
	require.Equal(t, 1, one[int](b, `SELECT priority FROM river_job`), "before a campaign's messages")
	require.Zero(t, one[int](b, `SELECT count(*) FROM campaign_counters`))
	require.Equal(t, "draft", b.get("/campaigns/"+id, http.StatusOK).body["status"])

	// One contact for an address, which is in nobody's audience; another's number makes no difference to that one.
	b.post(path, obj{"to": "+13055550100", "business_id": skipped}, http.StatusAccepted)
	b.post(path, obj{"to": "+13055550001"}, http.StatusAccepted)
	require.Equal(t, 2, one[int](b, `SELECT count(*) FROM businesses WHERE test`))
	require.Zero(t, one[int](b, `SELECT count(*) FROM messages m JOIN businesses b ON b.id = m.business_id WHERE NOT b.test`))
	require.Equal(t, 2.0, b.get("/campaigns/"+id+"/estimate", http.StatusOK).body["recipients"])

	b.post("/suppressions", obj{"channel": "sms", "address": "+13055550100"}, http.StatusCreated)
	require.Contains(t, b.post(path, obj{"to": "+13055550100"}, http.StatusConflict).body["detail"], "suppressed")
	b.exec(`UPDATE businesses SET opted_out = true WHERE test AND phone = '+13055550001'`)
	require.Contains(t, b.post(path, obj{"to": "+13055550001"}, http.StatusConflict).body["detail"], "opted out")

	require.Equal(t, []string{"body.to"}, b.post(path, obj{"to": "ana@example.com"}, http.StatusUnprocessableEntity).locations())
	nobody := b.post("/campaigns", with(draft(), obj{"audience": obj{"filter": obj{"city": "Nowhere"}}}), http.StatusCreated).body["id"].(string)
	require.Equal(t, []string{"body.business_id"}, b.post("/campaigns/"+nobody+"/test", obj{"to": "+13055550101"}, http.StatusUnprocessableEntity).locations())
	b.post("/campaigns/"+nobody+"/test", obj{"to": "+13055550101", "business_id": ana}, http.StatusAccepted)
	empty := b.post("/campaigns", with(draft(), obj{"body": "{{if .City}}x{{end}}"}), http.StatusCreated).body["id"].(string)
	require.Equal(t, []string{"body.business_id"}, b.post("/campaigns/"+empty+"/test", obj{"to": "+13055550101", "business_id": ana}, http.StatusUnprocessableEntity).locations())

	mail := b.post("/campaigns", with(draft(), obj{"channel": "email", "subject": "S {{.Name}}"}), http.StatusCreated).body["id"].(string)
	r = b.post("/campaigns/"+mail+"/test", obj{"to": "Me@Example.com"}, http.StatusAccepted)
	require.Equal(t, []any{"me@example.com", "S Ana", at.Format(time.RFC3339)}, []any{r.body["to"], r.body["subject"], r.body["sends_at"]})
}
