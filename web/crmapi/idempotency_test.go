package crmapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

const keyHeader = "Idempotency-Key"

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := obj{"name": "A"}
	first := b.post("/crm/businesses", body, http.StatusCreated, keyHeader, "k1")
	second := b.post("/crm/businesses", body, http.StatusCreated, keyHeader, "k1")
	require.Equal(t, first.raw, second.raw)
	require.Equal(t, first.header.Get("Location"), second.header.Get("Location"))
	require.Empty(t, first.header.Get("Idempotency-Replayed"))
	require.Equal(t, "true", second.header.Get("Idempotency-Replayed"))
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM businesses`))

	other := b.post("/crm/businesses", obj{"name": "B"}, http.StatusUnprocessableEntity, keyHeader, "k1")
	require.Equal(t, []string{"header.Idempotency-Key"}, other.locations())
	b.post("/campaigns", draft(), http.StatusUnprocessableEntity, keyHeader, "k1")
	require.Equal(t, http.StatusCreated, b.send(apitoken.Admin, http.MethodPost, "/crm/businesses", body, keyHeader, "k1").status, "a key belongs to its token")
	b.post("/crm/businesses", body, http.StatusCreated, keyHeader, "k2")
	require.Equal(t, 3, one[int](b, `SELECT count(*) FROM businesses`))

	b.exec(`UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'k1'`)
	b.post("/crm/businesses", obj{"name": "B"}, http.StatusCreated, keyHeader, "k1")
	for _, bad := range []string{strings.Repeat("x", 256), "ä", " "} {
		status := b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", body, keyHeader, bad).status
		require.Equal(t, http.StatusUnprocessableEntity, status, bad)
	}
}

func TestIdempotencyKeyIsFreeAfterAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.post("/crm/businesses", obj{"name": "A", "email": "a"}, http.StatusUnprocessableEntity, keyHeader, "k1")
	b.post("/crm/businesses", obj{"name": "A", "email": "a@example.com"}, http.StatusCreated, keyHeader, "k1")
}

func TestIdempotencyKeyOfEveryPost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A", "phone": "+15005550006"})
	campaign := b.post("/campaigns", draft(), http.StatusCreated).body["id"].(string)
	held := b.message(id, "held")
	receipt := b.receipt("twilio", "inbound_message", "failed", "", "")
	for path, c := range map[string]struct {
		body   any
		status int
	}{
		"/crm/businesses/" + id + "/events":      {obj{"event": "ticket_opened"}, http.StatusAccepted},
		"/crm/sites":                             {obj{"business_id": id}, http.StatusCreated},
		"/campaigns":                             {draft(), http.StatusCreated},
		"/campaigns/" + campaign + "/send":       {nil, http.StatusAccepted}, // a second launch would be a 409
		"/messages/" + held + "/resolve":         {obj{"as": "not_sent"}, http.StatusOK},
		"/webhook-events/" + receipt + "/replay": {nil, http.StatusAccepted},
		"/suppressions":                          {obj{"channel": "sms", "address": "+15005550006"}, http.StatusCreated},
	} {
		first := b.post(path, c.body, c.status, keyHeader, path)
		jobs := len(b.jobs())
		second := b.post(path, c.body, c.status, keyHeader, path)
		require.Equal(t, first.raw, second.raw, path)
		require.Equal(t, "true", second.header.Get("Idempotency-Replayed"), path)
		require.Len(t, b.jobs(), jobs, path)
	}
}

func TestIdempotencyKeyInUse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// A request holds the key's lock for as long as its transaction runs: this one runs until the test says so.
	holder, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	token := one[int64](b, `SELECT id FROM api_tokens WHERE role = 'operator'`)
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock(hashtextextended($1::bigint || ':' || 'k1', 7206814))`, token)
	require.NoError(t, err)
	r := b.post("/crm/businesses", obj{"name": "A"}, http.StatusConflict, keyHeader, "k1")
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.NoError(t, holder.Rollback(t.Context()))
	b.post("/crm/businesses", obj{"name": "A"}, http.StatusCreated, keyHeader, "k1")
}

func TestIdempotencyKeyUnderARace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const racers = 8
	replies := make([]reply, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			replies[i] = b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", obj{"name": "A"}, keyHeader, "k1")
		})
	}
	wg.Wait()
	for _, r := range replies {
		require.Contains(t, []int{http.StatusCreated, http.StatusConflict}, r.status, r.raw)
	}
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM businesses`))
}
