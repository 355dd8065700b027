package crmapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/jobs/recipienttime"
	"onward/jobs/tracktoken"
	"onward/web/apitoken"
	"onward/web/crmapi"
)

// previews tunes an API as the application does, on a Wednesday at 03:00 in New York.
func previews(t *testing.T) (at time.Time, tune func(*crmapi.Options)) {
	t.Helper()
	at = time.Date(2026, 6, 3, 7, 0, 0, 0, time.UTC)
	window, err := recipienttime.ParseWindow("08:00-21:00")
	require.NoError(t, err)
	links, err := tracktoken.New([]string{strings.Repeat("k", 32)})
	require.NoError(t, err)
	return at, func(o *crmapi.Options) {
		o.Clock = func() time.Time { return at }
		o.QuietHours, o.Links, o.PublicURL, o.EmailPostalAddress = window, links, "https://hooks.example.com", "1 Main Street"
	}
}

func TestPreviewCampaign(t *testing.T) {
	t.Parallel()
	at, tune := previews(t)
	b := setup(t, tune)
	ana := b.business(obj{"name": "Ana", "city": "Miami", "phone": "+13055550001", "email": "Ana@example.com", "timezone": "America/New_York"})
	bare := b.business(obj{"name": "Bo"})
	b.post("/crm/sites", obj{"business_id": ana, "url": "https://ana.example.com"}, http.StatusCreated)
	create := func(changes obj) string {
		return b.post("/campaigns", with(draft(), changes), http.StatusCreated).body["id"].(string)
	}
	preview := func(campaign, business string) obj {
		t.Helper()
		return b.get("/campaigns/"+campaign+"/preview?business_id="+business, http.StatusOK).body
	}

	sms := create(obj{"body": "¡Hola {{.Name}}! {{.SiteURL}}{{if .City}} {{.City}}{{end}}"})
	got := preview(sms, ana)
	require.Equal(t, obj{
		"business_id": ana, "to": "+13055550001", "subject": nil, "body": "¡Hola Ana! https://ana.example.com Miami", "html": nil,
		"segments": obj{"segments": 1.0, "encoding": "GSM-7", "characters": 40.0}, "skipped": nil, "problem": nil,
		"sends_at": at.Add(5 * time.Hour).Format(time.RFC3339), // 08:00 in New York
	}, got)
	got = preview(sms, bare)
	require.Equal(t, []any{"no_address", nil, "¡Hola Bo! "}, []any{got["skipped"], got["sends_at"], got["body"]})

	later := create(obj{"body": "ó" + strings.Repeat("a", 70), "send_at": "2026-06-04T02:30:00Z"})
	got = preview(later, ana)
	require.Equal(t, obj{"segments": 2.0, "encoding": "UCS-2", "characters": 71.0}, got["segments"])
	require.Equal(t, "2026-06-04T12:00:00Z", got["sends_at"], "sent at 22:30 in New York: the next morning")

	mail := create(obj{"channel": "email", "subject": "For\n{{.Name}}", "body": "See {{.SiteURL}}\n{{.UnsubscribeURL}}"})
	got = preview(mail, ana)
	require.Equal(t, []any{"ana@example.com", "For Ana", nil, nil, at.Format(time.RFC3339)},
		[]any{got["to"], got["subject"], got["segments"], got["skipped"], got["sends_at"]}, "mail has no quiet hours")
	require.Contains(t, got["body"], "1 Main Street")
	require.Contains(t, got["html"], `<a href="https://ana.example.com"`)
	require.Contains(t, got["html"], "https://hooks.example.com/u/examplexxxxx", "a link of the real length that unsubscribes nobody")

	require.Equal(t, "no_address", preview(create(obj{"body": "{{if .City}}x{{end}}"}), bare)["skipped"], "the first of two reasons")
	b.exec(`UPDATE businesses SET phone = '+13055550002' WHERE public_id = $1`, bare)
	got = preview(create(obj{"body": "{{if .City}}x{{end}}"}), bare)
	require.Equal(t, "unrenderable", got["skipped"])
	require.Contains(t, got["problem"], "empty")

	require.Equal(t, "not_in_audience", preview(create(obj{"audience": obj{"filter": obj{"city": "Miami"}}}), bare)["skipped"])
	require.Nil(t, preview(create(obj{"audience": obj{"business_ids": []string{bare}}}), bare)["skipped"])
	b.post("/suppressions", obj{"channel": "sms", "address": "+13055550001"}, http.StatusCreated)
	require.Equal(t, "suppressed", preview(sms, ana)["skipped"])
	require.Nil(t, preview(mail, ana)["skipped"])
	b.post("/crm/businesses/"+ana+"/events", obj{"event": "opted_out"}, http.StatusAccepted)
	require.Equal(t, "suppressed", preview(mail, ana)["skipped"])

	b.get("/campaigns/"+sms+"/preview", http.StatusUnprocessableEntity)
	b.get("/campaigns/"+sms+"/preview?business_id="+uuid.NewString(), http.StatusNotFound)
	b.get("/campaigns/"+uuid.NewString()+"/preview?business_id="+ana, http.StatusNotFound)
	unknown := b.send(apitoken.Viewer, http.MethodPost, "/campaigns/preview",
		obj{"channel": "sms", "body": "Hi", "audience": obj{"filter": obj{}}, "business_id": uuid.NewString()})
	require.Equal(t, []string{"body.business_id"}, unknown.locations(), unknown.raw)
}

func TestEstimateCampaign(t *testing.T) {
	t.Parallel()
	_, tune := previews(t)
	b := setup(t, tune)
	b.exec(`
		INSERT INTO businesses (public_id, name, phone, city, opted_out)
		SELECT gen_random_uuid(), repeat('n', CASE WHEN i % 2 = 0 THEN 10 ELSE 170 END), CASE WHEN i > 10 THEN '+1305555' || (1000 + i) END, 'Miami', i > 90
		FROM generate_series(1, 100) i`)
	b.exec(`INSERT INTO suppressions (channel, address, reason, source) SELECT 'sms', phone, 'stop', 'webhook' FROM businesses WHERE id BETWEEN 11 AND 15`)
	b.exec(`INSERT INTO businesses (public_id, name, phone, test) VALUES (gen_random_uuid(), 'Test recipient', '+13055559999', true)`)
	id := b.post("/campaigns", with(draft(), obj{"body": "{{.Name}}"}), http.StatusCreated).body["id"].(string)
	b.exec(`UPDATE businesses SET contact_status = CASE WHEN id <= 5 THEN 'replied' WHEN opted_out THEN 'unsubscribed' ELSE 'emailed' END WHERE id <= 5 OR id > 70`)
	estimate := func() obj { t.Helper(); return b.get("/campaigns/"+id+"/estimate", http.StatusOK).body }
	require.Equal(t, obj{
		"recipients": 100.0,
		"by_contact_status": obj{
			"pending": 65.0, "emailed": 20.0, "sms_sent": 0.0, "opened": 0.0, "clicked": 0.0, "replied": 5.0, "purchased": 0.0,
			"unsubscribed": 10.0, "bounced": 0.0,
		},
		"skipped":  obj{"erased": 0.0, "no_address": 10.0, "suppressed": 5.0, "unsubscribed": 10.0, "unrenderable": 0.0},
		"messages": 75.0, "sampled": 100.0, "segments": obj{"min": 1.0, "max": 2.0, "total": 112.0}, "cost": nil,
	}, estimate())

	b.exec(`
		INSERT INTO messages (public_id, business_id, channel, address, body, state, segments, price, price_unit)
		SELECT gen_random_uuid(), 1, 'sms', '+1', 'x', 'delivered', 2, -0.0158, 'USD' FROM generate_series(1, 3)`)
	require.Equal(t, obj{"amount": 0.88, "currency": "USD"}, estimate()["cost"])
	b.get("/campaigns/"+uuid.NewString()+"/estimate", http.StatusNotFound)

	dry := b.post("/campaigns/preview", obj{"channel": "sms", "body": "{{.Name}}", "audience": obj{"filter": obj{"city": "Miami"}}}, http.StatusOK).body
	require.Equal(t, estimate(), dry["estimate"])
	shown := dry["preview"].(obj)
	require.Nil(t, shown["skipped"], "the first who would get it")
	require.Equal(t, one[uuid.UUID](b, `SELECT public_id FROM businesses WHERE id = 16`).String(), shown["business_id"])

	none := b.post("/campaigns/preview", obj{"channel": "sms", "body": "x", "audience": obj{"filter": obj{"city": "Nowhere"}}}, http.StatusOK).body
	require.Nil(t, none["preview"])
	require.Equal(t, []any{0.0, nil}, []any{none["estimate"].(obj)["recipients"], none["estimate"].(obj)["segments"]})
	for status, n := range none["estimate"].(obj)["by_contact_status"].(obj) {
		require.Zero(t, n, status)
	}
	some := b.post("/campaigns/preview", obj{"channel": "sms", "body": "x", "audience": obj{"filter": obj{"contact_status": "replied,emailed"}}}, http.StatusOK)
	sum := 0.0
	for _, n := range some.body["estimate"].(obj)["by_contact_status"].(obj) {
		sum += n.(float64)
	}
	require.Equal(t, []any{25.0, 25.0}, []any{some.body["estimate"].(obj)["recipients"], sum}, "they are all")
	require.Equal(t, []string{"body.body"}, b.post("/campaigns/preview", obj{"channel": "sms", "body": "{{", "audience": obj{"filter": obj{}}}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM campaigns`), "nothing is stored")
}
