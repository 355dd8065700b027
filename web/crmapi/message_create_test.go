package crmapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/crmapi"
)

func TestCreateMessage(t *testing.T) {
	t.Parallel()
	at, tune := previews(t)
	b := setup(t, tune)
	ana := b.business(obj{"name": "Ana", "phone": "+13055550001"})
	b.wrote(ana, "+13055550001", "how much?", "reply")
	asked := b.wrote(ana, "+13055550001", "hello?", "reply")
	body := obj{"business_id": ana, "channel": "sms", "body": " From $99. {{.Name}} ", "in_reply_to": asked}

	// A form that is sent twice makes one message.
	r := b.post("/messages", body, http.StatusCreated, "Idempotency-Key", "form-1")
	again := b.post("/messages", body, http.StatusCreated, "Idempotency-Key", "form-1")
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, r.body["id"], again.body["id"])
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM messages`))
	require.Equal(t, []string{fmt.Sprintf(`send send_sms available {"channel": "sms", "message_id": %d}`, one[int](b, `SELECT id FROM messages`))}, b.jobs())
	require.Equal(t, 1, one[int](b, `SELECT priority FROM river_job`), "before a campaign's messages")
	require.Equal(t, []any{nil, ana, "+13055550001", "queued", "From $99. {{.Name}}"},
		[]any{r.body["campaign_id"], r.body["business_id"], r.body["to"], r.body["state"], r.body["body"]}, "as it stands: no template")
	require.Equal(t, at.Add(5*time.Hour).Format(time.RFC3339), r.body["sends_at"], "quiet hours hold")
	require.Equal(t, "/api/v1/messages/"+r.body["id"].(string), r.header.Get("Location"))
	require.Equal(t, []string{"operator message.create "}, b.actions("message", r.body["id"].(string)))
	require.Equal(t, 1.0, r.body["segment_count"].(obj)["segments"])

	// What waited is answered; when the answer comes to nothing, it waits again.
	require.Empty(t, b.inbox(""))
	require.Equal(t, r.body["id"], b.get("/replies/"+asked, http.StatusOK).body["answer_id"])
	b.exec(`UPDATE messages SET state = 'failed'`)
	require.Equal(t, []string{"hello?"}, b.inbox(""))
	b.post("/messages", obj{"business_id": ana, "channel": "sms", "body": "From $99."}, http.StatusCreated)
	require.Empty(t, b.inbox(""), "a text without in_reply_to answers the newest")

	// To where the reply came from, not to where the business is today.
	b.patch("/crm/businesses/"+ana, obj{"phone": "+13055550077"}, http.StatusOK)
	require.Equal(t, "+13055550001", b.post("/messages", body, http.StatusCreated).body["to"])
	require.Equal(t, "+13055550077", b.post("/messages", obj{"business_id": ana, "channel": "sms", "body": "x"}, http.StatusCreated).body["to"])
}

func TestCreateMessageRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ana := b.business(obj{"name": "Ana", "phone": "+13055550001"})
	ben := b.business(obj{"name": "Ben"})
	asked := b.wrote(ana, "+13055550001", "hello?", "reply")
	to := func(more obj) obj { return with(obj{"business_id": ana, "channel": "sms", "body": "x"}, more) }
	for name, c := range map[string]struct {
		body  obj
		where string
	}{
		"nothing to say":          {to(obj{"body": "  "}), "body.body"},
		"too much to say":         {to(obj{"body": strings.Repeat("a", 1601)}), "body.body"},
		"nobody":                  {to(obj{"business_id": uuid.NewString()}), "body.business_id"},
		"an answer to nothing":    {to(obj{"in_reply_to": uuid.NewString()}), "body.in_reply_to"},
		"an answer to another":    {to(obj{"business_id": ben, "in_reply_to": asked}), "body.in_reply_to"},
		"a channel that it lacks": {to(obj{"channel": "email"}), "body.channel"},
	} {
		r := b.post("/messages", c.body, http.StatusUnprocessableEntity)
		require.Equal(t, []string{c.where}, r.locations(), name)
	}
	require.Contains(t, b.post("/messages", to(obj{"business_id": ben}), http.StatusConflict).body["detail"], "no phone")
	b.post("/suppressions", obj{"channel": "sms", "address": "+13055550001"}, http.StatusCreated)
	require.Contains(t, b.post("/messages", to(nil), http.StatusConflict).body["detail"], "suppressed")
	b.exec(`UPDATE businesses SET opted_out = true WHERE name = 'Ana'`)
	require.Contains(t, b.post("/messages", to(nil), http.StatusConflict).body["detail"], "opted out")
	b.exec(`UPDATE businesses SET erased_at = now() WHERE name = 'Ana'`)
	require.Contains(t, b.post("/messages", to(nil), http.StatusConflict).body["detail"], "erased")
	require.Zero(t, one[int](b, `SELECT count(*) FROM messages`))

	without := setup(t, func(o *crmapi.Options) { o.SMSFrom = "" })
	cem := without.business(obj{"name": "Cem", "phone": "+13055550003"})
	require.Contains(t, without.post("/messages", obj{"business_id": cem, "channel": "sms", "body": "x"}, http.StatusConflict).body["detail"], "TWILIO_FROM")
}
