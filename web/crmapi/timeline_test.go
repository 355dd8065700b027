package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A", "phone": "+15005550006"})
	path := "/crm/businesses/" + id
	b.post(path+"/events", obj{"event": "ticket_opened", "note": "printer on fire"}, http.StatusAccepted)
	b.post(path+"/events", obj{"event": "opted_out", "note": "by phone"}, http.StatusAccepted)
	b.message(id, "unknown")

	items := b.get(path+"/timeline", http.StatusOK).items()
	var kinds []string
	for _, i := range items {
		item := i.(obj)
		kinds = append(kinds, item["kind"].(string)+" "+item["event"].(string))
		for _, field := range []string{"at", "kind", "event", "axis", "from", "to", "verdict", "source", "note"} {
			require.Contains(t, item, field)
		}
	}
	require.Equal(t, []string{
		"message unknown", "transition opted_out", "action event.opted_out", "transition ticket_opened", "action event.ticket_opened",
		"action business.create",
	}, kinds)
	moved := items[1].(obj)
	require.Equal(t, []any{"contact", "pending", "unsubscribed", "applied", "by phone"},
		[]any{moved["axis"], moved["from"], moved["to"], moved["verdict"], moved["note"]})
	require.Equal(t, obj{"type": "operator", "id": "operator"}, moved["source"])
	require.Positive(t, moved["fact_id"])
	require.Positive(t, moved["action_id"])
	require.NotContains(t, moved, "job_id")
	require.Equal(t, "message", items[0].(obj)["source"].(obj)["type"])

	first := b.get(path+"/timeline?limit=4", http.StatusOK)
	b.post(path+"/events", obj{"event": "ticket_closed"}, http.StatusAccepted)
	second := b.get(path+"/timeline?limit=4&cursor="+first.body["next_cursor"].(string), http.StatusOK)
	require.Equal(t, items, append(first.items(), second.items()...))
	require.Nil(t, second.body["next_cursor"])

	other := b.business(obj{"name": "B"})
	foreign := b.get("/crm/businesses/"+other+"/timeline?cursor="+first.body["next_cursor"].(string), http.StatusUnprocessableEntity)
	require.Equal(t, []string{"query.cursor"}, foreign.locations())
}
