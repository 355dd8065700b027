package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made := b.send(apitoken.Admin, http.MethodPost, "/tokens", obj{"name": "ci", "role": "viewer"})
	require.Equal(t, http.StatusCreated, made.status, made.raw)
	secret, id := made.body["token"].(string), made.body["id"].(string)
	b.tokens["ci"] = secret
	require.Equal(t, http.StatusOK, b.send("ci", http.MethodGet, "/crm/businesses", nil).status)
	require.Equal(t, http.StatusForbidden, b.send("ci", http.MethodGet, "/tokens", nil).status)

	list := b.send(apitoken.Admin, http.MethodGet, "/tokens?limit=2", nil)
	require.Len(t, list.items(), 2)
	require.Equal(t, "ci", list.items()[0].(obj)["name"])
	require.NotContains(t, list.raw, secret)
	rest := b.send(apitoken.Admin, http.MethodGet, "/tokens?limit=2&cursor="+list.body["next_cursor"].(string), nil)
	require.Len(t, rest.items(), 2)
	require.Nil(t, rest.body["next_cursor"])

	gone := b.send(apitoken.Admin, http.MethodDelete, "/tokens/"+id+"?reason=left", nil)
	require.Equal(t, http.StatusOK, gone.status, gone.raw)
	require.NotNil(t, gone.body["revoked_at"])
	require.Equal(t, http.StatusNotFound, b.send(apitoken.Admin, http.MethodDelete, "/tokens/"+id, nil).status)
	require.Equal(t, []string{"admin token.create ", "admin token.revoke left"}, b.actions("token", id))

	keyed := b.send(apitoken.Admin, http.MethodPost, "/tokens", obj{"name": "ci", "role": "viewer"}, keyHeader, "k")
	require.Equal(t, []string{"header.Idempotency-Key"}, keyed.locations())
	require.Zero(t, one[int](b, `SELECT count(*) FROM idempotency_keys`), "no secret is kept")
	for place, body := range map[string]obj{"body.name": {"name": " ", "role": "viewer"}, "body.role": {"name": "x", "role": "root"}} {
		require.Equal(t, []string{place}, b.send(apitoken.Admin, http.MethodPost, "/tokens", body).locations())
	}
}

func TestSenders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`INSERT INTO senders (channel, address, per_second) VALUES ('sms', '+15005550001', 100)`)
	s := b.get("/senders", http.StatusOK).items()[0].(obj)
	require.Equal(t, "+15005550001", s["address"])
	require.EqualValues(t, 100, s["per_second"])
	r := b.patch("/senders/1", obj{"per_second": 2.5, "reason": "the carrier asked"}, http.StatusOK)
	require.EqualValues(t, 2.5, r.body["per_second"])
	require.Equal(t, []string{"operator sender.update the carrier asked"}, b.actions("sender", "1"))
	for place, body := range map[string]obj{"body.per_second": {"per_second": 0, "reason": "x"}, "body.reason": {"per_second": 1, "reason": " "}} {
		require.Equal(t, []string{place}, b.patch("/senders/1", body, http.StatusUnprocessableEntity).locations())
	}
	b.patch("/senders/99", obj{"per_second": 1, "reason": "x"}, http.StatusNotFound)
}

func TestOperatorActions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	b.patch("/crm/businesses/"+id, obj{"city": "C"}, http.StatusOK)
	b.post("/suppressions", obj{"channel": "email", "address": "a@example.com", "reason": "asked"}, http.StatusCreated)
	for query, want := range map[string]int{
		"": 3, "action=business.update": 1, "action=business.": 2, "action=business": 0, "actor=operator": 3, "actor=nobody": 0,
		"target_type=business&target_id=" + id: 2, "target_type=suppression": 1, "after=2020-01-01T00:00:00Z": 3, "before=2020-01-01T00:00:00Z": 0,
	} {
		require.Len(t, b.get("/operator-actions?"+query, http.StatusOK).items(), want, query)
	}
	newest := b.get("/operator-actions?limit=1", http.StatusOK).items()[0].(obj)
	require.Equal(t, "suppression.add", newest["action"])
	require.Equal(t, "asked", newest["reason"])
	require.Equal(t, "operator", newest["actor"])
	require.Equal(t, []string{"query.target_type"}, b.get("/operator-actions?target_id=x", http.StatusUnprocessableEntity).locations())
}
