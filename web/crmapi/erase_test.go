package crmapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.post("/crm/businesses", obj{"name": "Panadería Lupita", "phone": "+15005550006", "email": "rosa@example.com", "city": "Antigua", "country": "GT"},
		http.StatusCreated, keyHeader, "k1").body["id"].(string)
	path := "/crm/businesses/" + id
	site := b.post("/crm/sites", obj{"business_id": id}, http.StatusCreated).body["id"].(string)
	b.post(path+"/events", obj{"event": "opted_out", "note": "Rosa, by phone"}, http.StatusAccepted)
	b.post("/suppressions", obj{"channel": "sms", "address": "+15005550006", "reason": "Rosa asked"}, http.StatusOK)

	erase := func(role apitoken.Role, query string, body any) reply {
		return b.send(role, http.MethodDelete, path+query, body)
	}
	require.Equal(t, http.StatusForbidden, erase(apitoken.Operator, "?reason=asked", nil).status)
	require.Equal(t, []string{"query.reason"}, erase(apitoken.Admin, "", nil).locations())
	require.Equal(t, []string{"query.reason"}, erase(apitoken.Admin, "", obj{"reason": " "}).locations())
	require.Equal(t, http.StatusNotFound, b.send(apitoken.Admin, http.MethodDelete, "/crm/businesses/"+uuid.NewString()+"?reason=asked", nil).status)
	require.Equal(t, "Panadería Lupita", b.get(path, http.StatusOK).body["name"])

	gone := erase(apitoken.Admin, "", obj{"reason": "asked by letter of 3 May"})
	require.Equal(t, http.StatusNoContent, gone.status, gone.raw)
	require.Empty(t, gone.raw)
	require.Equal(t, http.StatusNoContent, erase(apitoken.Admin, "?reason=again", nil).status)
	require.Equal(t, []string{"operator business.create ", "operator event.opted_out ", "admin business.erase asked by letter of 3 May"}, b.actions("business", id))

	left := b.get(path, http.StatusOK)
	require.Equal(t, []any{"erased", nil, nil, nil, "GT", "unsubscribed"},
		[]any{left.body["name"], left.body["phone"], left.body["email"], left.body["city"], left.body["country"], left.body["contact_status"]})
	timeline := b.get(path+"/timeline", http.StatusOK).raw
	for _, needle := range []string{"Lupita", "Rosa", "5005550006"} {
		require.NotContains(t, left.raw, needle)
		require.NotContains(t, timeline, needle)
	}
	logged := one[int](b, `SELECT count(*) FROM operator_actions`)
	for _, write := range []reply{
		b.send(apitoken.Operator, http.MethodPatch, path, obj{"phone": "+15005550006"}),
		b.send(apitoken.Operator, http.MethodPatch, path, obj{}),
		b.send(apitoken.Operator, http.MethodPatch, path, obj{"tags": []string{"vip"}}),
		b.send(apitoken.Operator, http.MethodPost, path+"/events", obj{"event": "ticket_opened", "note": "Rosa called"}),
		b.send(apitoken.Operator, http.MethodPost, path+"/events", obj{"event": "operator_reopened", "note": "Rosa called"}),
		b.send(apitoken.Operator, http.MethodPost, "/crm/sites", obj{"business_id": id, "url": "https://lupita.example"}),
		b.send(apitoken.Operator, http.MethodPatch, "/crm/sites/"+site, obj{"url": "https://lupita.example"}),
	} {
		require.Equal(t, http.StatusConflict, write.status, write.raw)
		require.Equal(t, "the business was erased: who comes back is a new one", write.body["detail"])
	}
	require.Equal(t, []int{logged, 1, 0, 1}, []int{
		one[int](b, `SELECT count(*) FROM operator_actions`), one[int](b, `SELECT count(*) FROM sites`),
		one[int](b, `SELECT count(*) FROM business_tags`), one[int](b, `SELECT count(*) FROM facts`),
	}, "nothing was written")
	require.Zero(t, one[int](b, `SELECT count(*) FROM idempotency_keys k WHERE encode(response, 'escape') LIKE '%5005550006%'`))
	again := b.post("/crm/businesses", obj{"name": "Panadería Lupita", "phone": "+15005550006", "email": "rosa@example.com", "city": "Antigua", "country": "GT"},
		http.StatusConflict, keyHeader, "k1")
	require.Equal(t, []string{"header." + keyHeader}, again.locations(), "neither done again nor answered with nobody")
	require.NotContains(t, again.raw, "Lupita")

	// The suppression is found by its address, which is written nowhere; it stands against whoever comes with it.
	found := b.get("/suppressions?channel=sms&address=%2B15005550006", http.StatusOK).items()
	require.Len(t, found, 1)
	require.True(t, strings.HasPrefix(found[0].(obj)["address"].(string), "hmac:"))
	back := b.business(obj{"name": "B", "phone": "+15005550006"})
	require.Len(t, b.get("/crm/businesses/"+back, http.StatusOK).body["suppressions"], 1)
	require.Equal(t, found[0], any(b.post("/suppressions", obj{"channel": "sms", "address": "+15005550006"}, http.StatusOK).body))
}

func TestErase_whileSomethingIsUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A", "phone": "+15005550006"})
	receipt := uuid.Must(uuid.NewV7())
	b.exec(`
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, contact_key, received_at)
		VALUES ($1, 'twilio', 'inbound_message', '{}', 'Body=STOP', 'ti:SM1', 'sms:+15005550006', now())`, receipt)
	b.exec(`INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'sms', '+15005550006')`, receipt)
	erased := make(chan reply, 1)
	go func() {
		erased <- b.send(apitoken.Admin, http.MethodDelete, "/crm/businesses/"+id+"?reason=asked", nil)
	}()
	select {
	case r := <-erased:
		t.Fatalf("erased before the receipt was applied: %d %s", r.status, r.raw)
	case <-time.After(500 * time.Millisecond): // two looks
	}
	b.exec(`INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, 'applied')`, receipt)
	b.exec(`DELETE FROM inbound_pending`)
	require.Equal(t, http.StatusNoContent, (<-erased).status)
	require.Zero(t, one[int](b, `SELECT count(*) FROM webhook_events WHERE contact_key IS NOT NULL`))
	require.Equal(t, "erased", one[string](b, `SELECT name FROM businesses`))
}
