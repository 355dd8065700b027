package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// wrote stores what a business wrote to us, as the reply's worker does, and returns its id.
func (b *bundle) wrote(business, from, body, action string) string {
	b.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	b.exec(`
		INSERT INTO inbound_messages (public_id, receipt_id, business_id, channel, from_address, to_address, body, action, received_at)
		VALUES ($1, gen_random_uuid(), (SELECT id FROM businesses WHERE public_id::text = $2), 'sms', $3, '+15005550001', $4, $5, now())`,
		id, business, from, body, action)
	return id
}

// inbox lists the texts of a list of replies.
func (b *bundle) inbox(query string) []string {
	b.t.Helper()
	list := []string{}
	for _, i := range b.get("/replies"+query, http.StatusOK).items() {
		list = append(list, i.(obj)["body"].(string))
	}
	return list
}

func TestReplies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ana := b.business(obj{"name": "Ana", "phone": "+13055550001"})
	ben := b.business(obj{"name": "Ben", "phone": "+13055550002"})
	cem := b.business(obj{"name": "Cem", "phone": "+13055550003"})
	b.wrote(ana, "+13055550001", "how much?", "reply")
	bens := b.wrote(ben, "+13055550002", "call me", "reply")
	anas := b.wrote(ana, "+13055550001", "hello?", "reply")
	b.wrote(cem, "+13055550003", "who is this?", "reply")
	b.wrote(cem, "+13055550003", "STOP", "opt_out")
	b.wrote("", "+13055550009", "wrong number", "reply")

	// One line a business, its newest; who said STOP since waits for nothing.
	require.Equal(t, []string{"wrong number", "hello?", "call me"}, b.inbox(""))
	require.Equal(t, []string{"wrong number", "STOP", "hello?", "call me"}, b.inbox("?state=all"))
	require.Equal(t, []string{"STOP"}, b.inbox("?state=all&action=opt_out"))
	require.Equal(t, []string{"hello?", "how much?"}, b.inbox("?state=all&business_id="+ana))
	require.Empty(t, b.inbox("?state=done"))
	first := b.get("/replies?limit=2", http.StatusOK)
	require.Equal(t, []string{"call me"}, b.inbox("?limit=2&cursor="+first.body["next_cursor"].(string)))

	one := b.get("/replies/"+anas, http.StatusOK).body
	require.Equal(t, []any{ana, "Ana", "+13055550001", true, nil}, []any{one["business_id"], one["business_name"], one["from"], one["open"], one["handled_by"]})
	b.get("/replies/"+uuid.NewString(), http.StatusNotFound)

	// Done takes away what came before it, too.
	marked := b.post("/replies/"+anas+"/done", obj{"reason": "called back"}, http.StatusOK).body
	require.Equal(t, []any{false, "operator"}, []any{marked["open"], marked["handled_by"]})
	require.Equal(t, []string{"wrong number", "call me"}, b.inbox(""))
	require.Equal(t, []string{"hello?"}, b.inbox("?state=done"))
	require.Equal(t, []string{"operator reply.done called back"}, b.actions("reply", anas))
	b.post("/replies/"+anas+"/reopen", nil, http.StatusOK)
	require.Equal(t, []string{"wrong number", "hello?", "call me"}, b.inbox(""))
	b.post("/replies/"+anas+"/done", nil, http.StatusOK)
	b.wrote(ana, "+13055550001", "still there?", "reply")
	require.Equal(t, []string{"still there?", "wrong number", "call me"}, b.inbox(""))

	// Who opted out, by whatever way, waits for nothing.
	b.post("/crm/businesses/"+ben+"/events", obj{"event": "opted_out", "note": "call me"}, http.StatusAccepted)
	require.Equal(t, []string{"still there?", "wrong number"}, b.inbox(""))
	require.Equal(t, false, b.get("/replies/"+bens, http.StatusOK).body["open"])
}
