package crmapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
	"onward/web/crmapi"
)

func TestEventsMoveStatuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	path := "/crm/businesses/" + id
	site := b.post("/crm/sites", obj{"business_id": id}, http.StatusCreated).body["id"].(string)
	for _, step := range []struct {
		event, axis, from, to, verdict string
	}{
		{"generation_started", "website", "none", "generating", "applied"},
		{"generation_failed", "website", "generating", "none", "applied"},
		{"generation_completed", "website", "none", "generated", "applied"},
		{"site_deployed", "website", "generated", "deployed", "applied"},
		{"ticket_opened", "ticket", "none", "open", "applied"},
		{"ticket_closed", "ticket", "open", "closed", "applied"},
		{"ticket_closed", "ticket", "closed", "closed", "no_change"},
	} {
		r := b.post(path+"/events", obj{"event": step.event}, http.StatusAccepted)
		require.Equal(t, step.event, r.body["event"])
		require.Equal(t, false, r.body["duplicate"])
		require.Positive(t, r.body["fact_id"])
		require.Equal(t, []any{obj{"axis": step.axis, "from": step.from, "to": step.to, "verdict": step.verdict}}, r.body["changes"])
	}
	bought := b.post(path+"/events", obj{"event": "purchase_completed", "site_id": site, "note": "paid cash"}, http.StatusAccepted)
	require.Len(t, bought.body["changes"], 3)
	got := b.get(path, http.StatusOK).body
	require.Equal(t, "purchased", got["contact_status"])
	require.Equal(t, "sold", got["website_status"])
	require.Equal(t, "owned", got["sites"].([]any)[0].(obj)["status"])
	require.Contains(t, b.actions("business", id), "operator event.purchase_completed paid cash")
	require.NotEmpty(t, b.moved)
	require.Equal(t, []string{"api"}, []string{one[string](b, `SELECT DISTINCT source FROM facts`)})
}

func TestEventsCanBeRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, other := b.business(obj{"name": "A"}), b.business(obj{"name": "B"})
	body := obj{"event": "ticket_opened", "dedupe_key": "t-1"}
	first := b.post("/crm/businesses/"+id+"/events", body, http.StatusAccepted).body
	second := b.post("/crm/businesses/"+id+"/events", body, http.StatusAccepted).body
	require.Equal(t, false, first["duplicate"])
	require.Equal(t, true, second["duplicate"])
	require.Equal(t, first["fact_id"], second["fact_id"])
	require.Equal(t, first["occurred_at"], second["occurred_at"])
	require.Empty(t, second["changes"])
	require.Len(t, b.actions("business", id), 2, "created, and one event")

	third := b.post("/crm/businesses/"+other+"/events", body, http.StatusAccepted).body
	require.Equal(t, false, third["duplicate"], "a key belongs to its business")
	require.Equal(t, 2, one[int](b, `SELECT count(*) FROM facts`))
}

func TestLateEventsAreFoldedIntoTheirPlace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/crm/businesses/" + b.business(obj{"name": "A"}) + "/events"
	b.post(path, obj{"event": "ticket_closed", "occurred_at": "2026-01-02T00:00:00Z"}, http.StatusAccepted)
	late := b.post(path, obj{"event": "ticket_opened", "occurred_at": "2026-01-01T00:00:00-06:00"}, http.StatusAccepted)
	require.Equal(t, "2026-01-01T06:00:00Z", late.body["occurred_at"])
	require.Equal(t, []any{obj{"axis": "ticket", "from": "none", "to": "closed", "verdict": "corrected"}}, late.body["changes"])
}

func TestEventsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, other := b.business(obj{"name": "A"}), b.business(obj{"name": "B"})
	foreign := b.post("/crm/sites", obj{"business_id": other}, http.StatusCreated).body["id"].(string)
	for name, c := range map[string]struct {
		body  obj
		where string
	}{
		"provider's event":    {obj{"event": "sms_sent"}, "body.event"},
		"subscription":        {obj{"event": "subscription_activated"}, "body.event"},
		"no such event":       {obj{"event": "exploded"}, "body.event"},
		"no event":            {obj{}, "body.event"},
		"the future":          {obj{"event": "ticket_opened", "occurred_at": time.Now().Add(6 * time.Minute)}, "body.occurred_at"},
		"reopened, no note":   {obj{"event": "operator_reopened"}, "body.note"},
		"reopened, no reason": {obj{"event": "operator_reopened", "note": "  "}, "body.note"},
		"another's site":      {obj{"event": "site_deployed", "site_id": foreign}, "body.site_id"},
		"no such site":        {obj{"event": "site_deployed", "site_id": uuid.NewString()}, "body.site_id"},
		"empty key":           {obj{"event": "ticket_opened", "dedupe_key": ""}, "body.dedupe_key"},
		"unknown field":       {obj{"event": "ticket_opened", "actor": "me"}, "body.actor"},
	} {
		r := b.post("/crm/businesses/"+id+"/events", c.body, http.StatusUnprocessableEntity)
		require.Contains(t, r.locations(), c.where, name)
	}
	b.post("/crm/businesses/"+id+"/events", obj{"event": "ticket_opened", "occurred_at": time.Now().Add(4 * time.Minute)}, http.StatusAccepted)
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM facts`))
	require.Equal(t, []string{"operator business.create ", "operator event.ticket_opened "}, b.actions("business", id))
}

// Promise 4: an operator's opt-out suppresses every address and is answered once no send can start any more.
func TestPromise4OptOutByOperator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A", "phone": "+15005550006", "email": "a@example.com"})
	path := "/crm/businesses/" + id
	body := obj{"event": "opted_out", "note": "by phone", "dedupe_key": "call-1"}
	r := b.post(path+"/events", body, http.StatusAccepted)
	require.Equal(t, []any{obj{"axis": "contact", "from": "pending", "to": "unsubscribed", "verdict": "applied"}}, r.body["changes"])
	both := []pgstore.Address{{Channel: "sms", Address: "+15005550006"}, {Channel: "email", Address: "a@example.com"}}
	require.Equal(t, both, b.settled)

	got := b.get(path, http.StatusOK).body
	require.Equal(t, "unsubscribed", got["contact_status"])
	require.Len(t, got["suppressions"], 2)
	require.Equal(t, "operator", got["suppressions"].([]any)[0].(obj)["source"])
	require.Equal(t, "operator", one[string](b, `SELECT source FROM facts`))

	b.post(path+"/events", body, http.StatusAccepted)
	require.Equal(t, append(both, both...), b.settled, "a repetition waits, too")

	reopened := b.post(path+"/events", obj{"event": "operator_reopened", "note": "asked to"}, http.StatusAccepted)
	require.Equal(t, []any{obj{"axis": "contact", "from": "unsubscribed", "to": "pending", "verdict": "applied"}}, reopened.body["changes"])
	require.Len(t, b.get(path, http.StatusOK).body["suppressions"], 2, "addresses stay suppressed until that is lifted")
}

func TestOptOutThatCannotBeWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *crmapi.Options) {
		o.Settle = func(context.Context, []pgstore.Address) error { return errors.New("a call hangs") }
	})
	id := b.business(obj{"name": "A", "phone": "+15005550006"})
	r := b.post("/crm/businesses/"+id+"/events", obj{"event": "opted_out"}, http.StatusServiceUnavailable)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.NotContains(t, r.raw, "hangs")
	require.Equal(t, "unsubscribed", b.get("/crm/businesses/"+id, http.StatusOK).body["contact_status"], "recorded all the same")
}

// A key that comes again with something else is no repetition: answered as one, the new event would be lost.
func TestDedupeKeyOfAnotherEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	path := "/crm/businesses/" + id + "/events"
	site := b.post("/crm/sites", obj{"business_id": id}, http.StatusCreated).body["id"].(string)
	first := obj{"event": "ticket_opened", "dedupe_key": "t-1", "occurred_at": "2026-01-01T00:00:00Z", "note": "by phone"}
	b.post(path, first, http.StatusAccepted)
	for name, change := range map[string]obj{
		"event":       {"event": "ticket_closed"},
		"occurred_at": {"occurred_at": "2026-01-01T00:00:01Z"},
		"site_id":     {"site_id": site},
		"note":        {"note": "by mail"},
	} {
		body := obj{}
		for _, part := range []obj{first, change} {
			for k, v := range part {
				body[k] = v
			}
		}
		r := b.post(path, body, http.StatusConflict)
		require.Equal(t, []string{"body.dedupe_key"}, r.locations())
		require.Contains(t, r.body["detail"], "another "+name)
	}
	delete(first, "occurred_at")
	require.Equal(t, true, b.post(path, first, http.StatusAccepted).body["duplicate"], "what is left out differs from nothing")
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM facts`))
}
