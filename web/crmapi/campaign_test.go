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

// draft is a campaign that anybody could create.
func draft() obj {
	return obj{"name": "Spring", "channel": "sms", "body": "Hi {{.Name}}: {{.SiteURL}}", "audience": obj{"filter": obj{}}}
}

func with(o obj, changes obj) obj {
	for k, v := range changes {
		o[k] = v
	}
	return o
}

func TestCreateCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	r := b.post("/campaigns", obj{
		"name": " Spring ", "channel": "email", "subject": "For {{.Name}}", "body": "Hi {{.Name}}\n{{.UnsubscribeURL}}",
		"audience": obj{"business_ids": []string{business}}, "send_at": "2030-01-01T06:00:00-06:00", "per_second": 2.5,
	}, http.StatusCreated)
	id := r.body["id"].(string)
	require.Equal(t, "/api/v1/campaigns/"+id, r.header.Get("Location"))
	require.Equal(t, r.body, b.get("/campaigns/"+id, http.StatusOK).body)
	for field, want := range map[string]any{
		"name": "Spring", "channel": "email", "subject": "For {{.Name}}", "body": "Hi {{.Name}}\n{{.UnsubscribeURL}}",
		"audience": obj{"business_ids": []any{business}}, "status": "draft", "status_reason": nil, "send_at": "2030-01-01T12:00:00Z",
		"per_second": 2.5, "launched_at": nil, "finished_at": nil, "recipients": nil, "total": 0.0, "eta": nil,
	} {
		require.Equal(t, want, r.body[field], field)
	}
	require.Len(t, r.body["counters"], 12, "every state, from the start")
	require.Equal(t, []string{"operator campaign.create "}, b.actions("campaign", id))

	filtered := b.post("/campaigns", with(draft(), obj{"audience": obj{"filter": obj{
		"contact_status": "pending,replied", "website_status": []string{"none"}, "city": "Antigua", "created_after": "2026-01-01T00:00:00Z",
	}}}), http.StatusCreated).body
	require.Equal(t, obj{"filter": obj{
		"contact_status": []any{"pending", "replied"}, "website_status": []any{"none"}, "city": "Antigua", "created_after": "2026-01-01T00:00:00Z",
	}}, filtered["audience"])
	everyone := b.post("/campaigns", draft(), http.StatusCreated).body
	require.Equal(t, obj{"filter": obj{}}, everyone["audience"])
}

func TestCreateCampaignRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	nobody := uuid.NewString()
	for name, c := range map[string]struct {
		changes obj
		where   string
		says    string
	}{
		"no name":             {obj{"name": " "}, "body.name", "empty"},
		"channel":             {obj{"channel": "fax"}, "body.channel", ""},
		"email, no subject":   {obj{"channel": "email"}, "body.subject", "needed"},
		"broken template":     {obj{"body": "Hi\nyou {{.Name"}, "body.body", "line 2, column 5"},
		"unknown field":       {obj{"body": "Hi {{.Fax}}"}, "body.body", "line 1, column"},
		"broken subject":      {obj{"channel": "email", "subject": "{{if}}"}, "body.subject", "line 1"},
		"empty body":          {obj{"body": "\n"}, "body.body", "empty"},
		"long SMS":            {obj{"body": strings.Repeat("é", 1601)}, "body.body", "1601"},
		"no audience":         {obj{"audience": obj{}}, "body.audience", "nobody"},
		"no businesses":       {obj{"audience": obj{"business_ids": []string{}}}, "body.audience", "nobody"},
		"both audiences":      {obj{"audience": obj{"business_ids": []string{business}, "filter": obj{}}}, "body.audience", "one"},
		"unknown campaign":    {obj{"audience": obj{"failed_of": nobody}}, "body.audience.failed_of", "no campaign"},
		"unknown business":    {obj{"audience": obj{"business_ids": []string{business, nobody}}}, "body.audience.business_ids[1]", "no business"},
		"malformed business":  {obj{"audience": obj{"business_ids": []string{"7"}}}, "body.audience.business_ids[0]", ""},
		"unknown status":      {obj{"audience": obj{"filter": obj{"contact_status": "sold"}}}, "body.audience.filter.contact_status", "sold"},
		"unknown filter":      {obj{"audience": obj{"filter": obj{"status": "sold"}}}, "body.audience.filter.status", ""},
		"pace":                {obj{"per_second": 0}, "body.per_second", ""},
		"time":                {obj{"send_at": "tomorrow"}, "body.send_at", ""},
		"status":              {obj{"status": "sending"}, "body.status", ""},
		"zero byte in a name": {obj{"name": "a\x00b"}, "body.name", "zero byte"},
	} {
		r := b.post("/campaigns", with(draft(), c.changes), http.StatusUnprocessableEntity)
		if c.where != "" {
			require.Contains(t, r.locations(), c.where, name)
		}
		require.Contains(t, r.body["detail"], c.says, name)
	}
	require.Zero(t, one[int](b, `SELECT count(*) FROM campaigns`))
}

func TestCampaignLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.business(obj{"name": "A"})
	last := b.business(obj{"name": "B"})
	id := b.post("/campaigns", draft(), http.StatusCreated).body["id"].(string)
	inner := one[int](b, `SELECT id FROM campaigns`)
	path := "/campaigns/" + id
	refuses := func(moves ...string) {
		t.Helper()
		for _, m := range moves {
			b.post(path+"/"+m, nil, http.StatusConflict)
		}
	}

	refuses("pause", "resume")
	sent := b.post(path+"/send", nil, http.StatusAccepted).body
	require.Equal(t, "sending", sent["status"])
	require.NotNil(t, sent["launched_at"])
	require.Equal(t, one[int](b, `SELECT id FROM businesses WHERE public_id = $1`, last), one[int](b, `SELECT fanout_last FROM campaigns`))
	refuses("send", "resume")

	paused := b.post(path+"/pause", obj{"reason": "wrong link"}, http.StatusAccepted).body
	require.Equal(t, []any{"paused", "wrong link"}, []any{paused["status"], paused["status_reason"]})
	refuses("send", "pause")

	resumed := b.post(path+"/resume", obj{}, http.StatusAccepted).body
	require.Equal(t, []any{"sending", nil}, []any{resumed["status"], resumed["status_reason"]})
	require.Equal(t, sent["launched_at"], resumed["launched_at"])

	b.post(path+"/pause", nil, http.StatusAccepted)
	cancelled := b.post(path+"/cancel", obj{"reason": "no more"}, http.StatusAccepted).body
	require.Equal(t, []any{"cancelled", "no more"}, []any{cancelled["status"], cancelled["status_reason"]})
	require.NotNil(t, cancelled["finished_at"])
	refuses("send", "pause", "resume", "cancel")

	require.Equal(t, []string{
		fmt.Sprintf(`campaign_fan_out maintenance available {"campaign_id": %d}`, inner),
		fmt.Sprintf(`campaign_halt maintenance available {"campaign_id": %d}`, inner),
		fmt.Sprintf(`campaign_fan_out maintenance available {"resume": true, "campaign_id": %d}`, inner),
		fmt.Sprintf(`campaign_halt maintenance available {"campaign_id": %d}`, inner),
		fmt.Sprintf(`campaign_halt maintenance available {"campaign_id": %d}`, inner),
	}, b.jobs())
	require.Equal(t, []string{
		"operator campaign.create ", "operator campaign.send ", "operator campaign.pause wrong link", "operator campaign.resume ",
		"operator campaign.pause ", "operator campaign.cancel no more",
	}, b.actions("campaign", id))
	for _, m := range []string{"send", "pause", "resume", "cancel"} {
		b.post("/campaigns/"+uuid.NewString()+"/"+m, nil, http.StatusNotFound)
	}
	b.post(path+"/cancel", obj{"reasons": "x"}, http.StatusUnprocessableEntity)
}

func TestScheduledCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	path := "/campaigns/" + b.post("/campaigns", with(draft(), obj{"send_at": at}), http.StatusCreated).body["id"].(string)
	for _, move := range []string{"send", "resume"} {
		require.Equal(t, "scheduled", b.post(path+"/"+move, nil, http.StatusAccepted).body["status"])
		b.post(path+"/pause", nil, http.StatusAccepted)
	}
	// The audience is frozen now, whenever the messages are made.
	require.Equal(t, 2, one[int](b, `SELECT count(*) FROM river_job WHERE kind = 'campaign_fan_out' AND state = 'available'`))

	past := "/campaigns/" + b.post("/campaigns", with(draft(), obj{"send_at": at.Add(-2 * time.Hour)}), http.StatusCreated).body["id"].(string)
	require.Equal(t, "sending", b.post(past+"/send", nil, http.StatusAccepted).body["status"])
}

func TestCampaignCountersAndETA(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC().Truncate(time.Second)
	b := setup(t, func(o *crmapi.Options) { o.Clock = func() time.Time { return at } })
	path := "/campaigns/" + b.post("/campaigns", with(draft(), obj{"per_second": 10}), http.StatusCreated).body["id"].(string)
	b.post(path+"/send", nil, http.StatusAccepted)
	b.exec(`
		INSERT INTO campaign_counters (campaign_id, shard, state, n)
		SELECT c.id, s.shard, s.state, s.n
		FROM campaigns c, (VALUES (0, 'queued', 150), (1, 'queued', 250), (1, 'delivered', 100), (0, 'skipped_suppressed', 7)) AS s (shard, state, n)`)
	got := b.get(path, http.StatusOK).body
	counters := got["counters"].(obj)
	require.Equal(t, []any{400.0, 100.0, 0.0}, []any{counters["queued"], counters["delivered"], counters["held"]})
	require.Equal(t, obj{"erased": 0.0, "no_address": 0.0, "suppressed": 7.0, "unsubscribed": 0.0, "unrenderable": 0.0}, got["skipped"])
	require.Equal(t, 500.0, got["total"])
	require.Nil(t, got["eta"], "the audience is not frozen yet")

	b.exec(`UPDATE campaigns SET frozen_at = now(), recipients = 607, launched_at = $1`, at.Add(-50*time.Second))
	got = b.get(path, http.StatusOK).body
	require.Equal(t, 607.0, got["recipients"])
	require.Equal(t, at.Add(50*time.Second).Format(time.RFC3339), got["eta"], "400 queued and 100 to be made, at 10 a second")
	b.exec(`UPDATE campaigns SET fanned_out_at = now()`)
	eta := func(wait time.Duration) {
		t.Helper()
		want := at.Add(wait).Format(time.RFC3339)
		require.Equal(t, want, b.get(path, http.StatusOK).body["eta"])
		require.Equal(t, want, b.get("/campaigns", http.StatusOK).items()[0].(obj)["eta"])
	}
	eta(40 * time.Second) // 400 at the campaign's 10 a second
	b.exec(`INSERT INTO senders (channel, address, per_second) VALUES ('sms', '+15005550001', 4)`)
	eta(100 * time.Second) // at the sender's 4
	b.exec(`UPDATE senders SET slowdown = 2`)
	eta(200 * time.Second) // after a 429
	b.exec(`UPDATE senders SET slowdown = 1`)
	other := one[int](b, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status) VALUES (gen_random_uuid(), 'Other', 'sms', 'x', '{}', 'sending') RETURNING id`)
	b.exec(`INSERT INTO campaign_counters (campaign_id, shard, state, n) VALUES ($1, 0, 'queued', 200)`, other)
	require.Equal(t, at.Add(150*time.Second).Format(time.RFC3339), b.get(path, http.StatusOK).body["eta"], "behind another campaign's 200")
	b.exec(`DELETE FROM campaign_counters WHERE campaign_id = $1`, other)
	b.exec(`DELETE FROM campaigns WHERE id = $1`, other)
	b.exec(`DELETE FROM senders`)
	b.exec(`UPDATE campaigns SET per_second = NULL`)
	eta(200 * time.Second) // at the 2 a second that it had so far
	b.post(path+"/pause", nil, http.StatusAccepted)
	require.Nil(t, b.get(path, http.StatusOK).body["eta"])
}

func TestListCampaigns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var made []string
	for range 3 {
		made = append(made, b.post("/campaigns", draft(), http.StatusCreated).body["id"].(string))
	}
	email := b.post("/campaigns", with(draft(), obj{"channel": "email", "subject": "Hi"}), http.StatusCreated).body["id"].(string)
	b.post("/campaigns/"+made[0]+"/send", nil, http.StatusAccepted)
	for query, want := range map[string][]string{
		"":                      {email, made[2], made[1], made[0]},
		"channel=email":         {email},
		"status=sending":        {made[0]},
		"status=sending,paused": {made[0]},
		"status=draft&limit=2":  {email, made[2]},
		"status=cancelled":      {},
	} {
		require.Equal(t, want, ids(b.get("/campaigns?"+query, http.StatusOK)), query)
	}
	page := b.get("/campaigns?limit=3", http.StatusOK)
	require.Equal(t, []string{made[0]}, ids(b.get("/campaigns?limit=3&cursor="+page.body["next_cursor"].(string), http.StatusOK)))
	require.Equal(t, []string{"query.status"}, b.get("/campaigns?status=done", http.StatusUnprocessableEntity).locations())
	b.get("/campaigns/"+uuid.NewString(), http.StatusNotFound)
}
