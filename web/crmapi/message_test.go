package crmapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

// message stores an SMS of a state to a business, with its dispatch where one is open.
func (b *bundle) message(business, state string) string {
	b.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	b.exec(`
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, dispatched_at)
		SELECT $1, id, 'sms', '+15005550006', 'Hello', $3, 1, '2026-02-03T04:05:06Z'
		FROM businesses
		WHERE public_id = $2`, id, business, state)
	if state == "unknown" || state == "held" {
		b.exec(`
			INSERT INTO dispatches (message_id, channel, address, attempt, state, dispatched_at)
			SELECT id, channel, address, attempt, state, dispatched_at
			FROM messages
			WHERE public_id = $1`, id)
	}
	return id
}

func TestMessages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.business(obj{"name": "A"}), b.business(obj{"name": "B"})
	campaign := b.post("/campaigns", draft(), http.StatusCreated).body["id"].(string)
	old, sent, held := b.message(first, "delivered"), b.message(second, "sent"), b.message(first, "held")
	b.exec(`UPDATE messages SET campaign_id = (SELECT id FROM campaigns), provider_sid = 'SM1', segments = 2 WHERE public_id = $1`, sent)

	for query, want := range map[string][]string{
		"":                                {held, sent, old},
		"business_id=" + first:            {held, old},
		"campaign_id=" + campaign:         {sent},
		"state=held,sent":                 {held, sent},
		"state=held&business_id=" + first: {held},
		"campaign_id=" + uuid.NewString(): {},
		"business_id=" + uuid.NewString(): {},
	} {
		require.Equal(t, want, ids(b.get("/messages?"+query, http.StatusOK)), query)
	}
	page := b.get("/messages?limit=2", http.StatusOK)
	require.Equal(t, []string{old}, ids(b.get("/messages?limit=2&cursor="+page.body["next_cursor"].(string), http.StatusOK)))
	require.Equal(t, []string{"query.state"}, b.get("/messages?state=lost", http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"query.campaign_id"}, b.get("/messages?campaign_id=7", http.StatusUnprocessableEntity).locations())

	got := b.get("/messages/"+sent, http.StatusOK).body
	require.Equal(t, obj{
		"id": sent, "campaign_id": campaign, "business_id": second, "channel": "sms", "to": "+15005550006", "body": "Hello", "subject": "",
		"state": "sent", "reason": nil, "provider_sid": "SM1", "error_code": nil, "segments": 2.0, "attempt": 1.0,
		"queued_at": got["queued_at"], "sent_at": nil, "delivered_at": nil,
	}, got)
	b.get("/messages/"+uuid.NewString(), http.StatusNotFound)
	b.get("/messages/x", http.StatusUnprocessableEntity)
}

func TestResolveMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A", "phone": "+15005550006"})
	number := func(id string) int { return one[int](b, `SELECT id FROM messages WHERE public_id = $1`, id) }

	held := b.message(business, "held")
	r := b.post("/messages/"+held+"/resolve", obj{"as": "sent", "note": "seen in the provider's log"}, http.StatusOK)
	require.Equal(t, []any{"accepted", "2026-02-03T04:05:06Z"}, []any{r.body["state"], r.body["sent_at"]})
	require.Equal(t, fmt.Sprintf("m%d:sent 2026-02-03 04:05:06 sms_sent", number(held)),
		one[string](b, `SELECT dedupe_key || ' ' || (occurred_at AT TIME ZONE 'UTC')::text || ' ' || event FROM facts`))
	require.Equal(t, "sms_sent", b.get("/crm/businesses/"+business, http.StatusOK).body["contact_status"])
	require.Zero(t, one[int](b, `SELECT count(*) FROM dispatches`))
	require.Equal(t, []string{"operator message.resolve.sent seen in the provider's log"}, b.actions("message", held))
	require.Empty(t, b.jobs())

	unknown := b.message(business, "unknown")
	campaign := b.post("/campaigns", draft(), http.StatusCreated).body["id"].(string)
	b.exec(`UPDATE messages SET campaign_id = (SELECT id FROM campaigns) WHERE public_id = $1`, unknown)
	r = b.post("/messages/"+unknown+"/resolve", obj{"as": "not_sent"}, http.StatusOK)
	require.Equal(t, "queued", r.body["state"])
	require.Equal(t, []string{fmt.Sprintf(`send send_sms available {"channel": "sms", "message_id": %d}`, number(unknown))}, b.jobs())
	require.Equal(t, []string{"send_sms"}, b.woken)
	require.Zero(t, one[int](b, `SELECT count(*) FROM dispatches`))
	counters := b.get("/campaigns/"+campaign, http.StatusOK).body["counters"].(obj)
	require.Equal(t, []any{1.0, -1.0}, []any{counters["queued"], counters["unknown"]})

	for _, state := range lifecycle.MessageStates() {
		if state == lifecycle.MessageUnknown || state == lifecycle.MessageHeld {
			continue
		}
		id := b.message(business, string(state))
		for _, as := range []string{"sent", "not_sent"} {
			b.post("/messages/"+id+"/resolve", obj{"as": as}, http.StatusConflict)
		}
	}
	require.Equal(t, []string{"body.as"}, b.post("/messages/"+unknown+"/resolve", obj{"as": "maybe"}, http.StatusUnprocessableEntity).locations())
	b.post("/messages/"+uuid.NewString()+"/resolve", obj{"as": "sent"}, http.StatusNotFound)
}

// Rare states are looked for a bounded part at a time: pages may be short, and following them finds each message once.
func TestMessages_rareStates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	b.exec(`
		INSERT INTO messages (public_id, business_id, channel, address, body, state)
		SELECT gen_random_uuid(), b.id, 'email', 'a@example.test', '', CASE WHEN n IN (3, 700, 1500, 1501) THEN 'failed' ELSE 'sent' END
		FROM businesses b, generate_series(1, 1700) AS n
		ORDER BY n`)
	held := b.message(business, "held")
	follow := func(path string) (ids []string) {
		for next := path; ; {
			page := b.get(next, http.StatusOK)
			for _, item := range page.items() {
				ids = append(ids, item.(obj)["id"].(string))
			}
			cursor, more := page.body["next_cursor"].(string)
			if !more {
				return ids
			}
			next = path + "&cursor=" + cursor
		}
	}
	failed := strings.Fields(one[string](b, `SELECT string_agg(public_id::text, ' ' ORDER BY id DESC) FROM messages WHERE state = 'failed'`))
	for _, limit := range []string{"1", "2", "3", "4", "50"} {
		require.Equal(t, failed, follow("/messages?state=failed&limit="+limit), limit)
		require.Equal(t, failed, follow("/messages?state=failed,canceled&business_id="+business+"&limit="+limit), limit)
		require.Empty(t, follow("/messages?state=read&limit="+limit))
	}
	require.Equal(t, []string{held}, follow("/messages?state=held,unknown&limit=1"))
}
