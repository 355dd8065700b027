package crmapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// failedJobs inserts n discarded jobs of one cause.
func failedJobs(b *bundle, kind, queue string, n int) {
	b.t.Helper()
	b.exec(`
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, attempted_at, finalized_at, errors)
		SELECT $1, $2, 'discarded', '{"receipt_id": "01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11"}', 25, 25, now(), now(),
			ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'error', 'receipt ' || i || ': relation "facts" does not exist (SQLSTATE 42P01)', 'trace', '')]
		FROM generate_series(1, $3) i`, kind, queue, n)
}

func TestJobs_list(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failedJobs(b, "reply", "inbound", 3)
	failedJobs(b, "send", "send_sms", 1)
	first := b.get("/jobs?state=discarded&limit=3", 200)
	require.Len(t, first.items(), 3)
	job := first.items()[0].(obj)
	require.Equal(t, "send", job["kind"])
	require.Equal(t, obj{"receipt_id": "01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11"}, job["args"])
	require.NotNil(t, job["attempted_at"])
	next := b.get("/jobs?state=discarded&limit=3&cursor="+first.body["next_cursor"].(string), 200)
	require.Len(t, next.items(), 1)
	require.Nil(t, next.body["next_cursor"])
	require.Len(t, b.get("/jobs?kind=reply&error=RELATION&fingerprint="+job["fingerprint"].(string), 200).items(), 3)
	require.Empty(t, b.get("/jobs?queue=billing", 200).items())
	require.Empty(t, b.get("/jobs?since=2100-01-01T00:00:00Z", 200).items())
	require.Equal(t, []string{"query.state"}, b.get("/jobs?state=dead", 422).locations())

	detail := b.get(fmt.Sprintf("/jobs/%.0f", job["id"]), 200)
	require.Len(t, detail.body["errors"], 1)
	b.get("/jobs/4711", 404)

	groups := b.get("/jobs/groups", 200)
	require.Len(t, groups.items(), 1)
	g := groups.items()[0].(obj)
	require.InDelta(t, 4, g["count"], 0)
	require.Equal(t, obj{"reply": 3.0, "send": 1.0}, g["kinds"])
	require.Equal(t, job["fingerprint"], g["fingerprint"])
	require.Equal(t, false, groups.body["more"])
}

func TestJobs_retry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failedJobs(b, "reply", "inbound", 5)
	body := obj{"filter": obj{"kind": []string{"reply"}}}
	require.Equal(t, []string{"body.reason"}, b.post("/jobs/retry", body, 422).locations())
	require.Equal(t, 403, b.send(apitoken.Viewer, http.MethodPost, "/jobs/retry", body).status)
	require.Equal(t, []string{"body.filter"}, b.post("/jobs/retry", obj{"filter": obj{}, "reason": "x"}, 422).locations())
	require.Equal(t, []string{"body.filter.kind"}, b.post("/jobs/retry", obj{"filter": obj{"kind": []string{}, "state": "discarded"}, "reason": "x"}, 422).locations())
	require.Equal(t, b.post("/jobs/retry", obj{"filter": obj{"state": []string{"retryable", "discarded"}}, "dry_run": true}, 200).raw,
		b.post("/jobs/retry", obj{"filter": obj{"state": "retryable,discarded"}, "dry_run": true}, 200).raw, "one string, as in a query")
	require.Equal(t, []string{"body.filter.state"}, b.post("/jobs/retry", obj{"filter": obj{"state": []string{"running"}}, "reason": "x"}, 422).locations())

	dry := b.post("/jobs/retry", obj{"filter": body["filter"], "dry_run": true}, 200)
	require.Equal(t, obj{"dry_run": true, "matched": 5.0, "done": 5.0, "refused": 0.0, "refusals": []any{}, "limit": 10_000.0, "remaining": 0.0}, dry.body)
	require.Equal(t, 5, one[int](b, `SELECT count(*) FROM river_job WHERE state = 'discarded'`))
	require.Empty(t, b.woken)

	body["reason"] = "the disk was full"
	done := b.post("/jobs/retry", body, 200, "Idempotency-Key", "k1")
	action := one[float64](b, `SELECT id FROM operator_actions`)
	require.Equal(t, obj{"dry_run": false, "action_id": action, "matched": 5.0, "done": 5.0, "refused": 0.0, "refusals": []any{}, "limit": 10_000.0, "remaining": 0.0}, done.body)
	require.Equal(t, 5, one[int](b, `SELECT count(*) FROM river_job WHERE state = 'available' AND max_attempts = 26`))
	require.Equal(t, []string{"inbound"}, b.woken)
	require.Equal(t, "true", b.post("/jobs/retry", body, 200, "Idempotency-Key", "k1").header.Get("Idempotency-Replayed"))
	require.Equal(t, []string{"operator jobs.retry the disk was full"}, b.actions("jobs", "kind=reply state=retryable,discarded"))
	require.Equal(t, 5, one[int](b, `SELECT (details ->> 'done')::int FROM operator_actions`))
	require.True(t, one[bool](b, `SELECT token_id IS NOT NULL FROM operator_actions`))

	// Spread over time, they come a second apart.
	b.exec(`UPDATE river_job SET state = 'discarded', finalized_at = now()`)
	body["per_second"] = 0.1
	b.post("/jobs/retry", body, 200)
	require.Equal(t, 4, one[int](b, `SELECT count(*) FROM river_job WHERE state = 'scheduled' AND scheduled_at > now()`))
}

func TestJobs_retryLeavesWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`
		WITH b AS (
			INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'Test') RETURNING id
		), m AS (
			INSERT INTO messages (public_id, business_id, channel, address, body, state)
			SELECT '01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11', id, 'email', 'a@example.test', '', 'unknown' FROM b RETURNING id
		)
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, finalized_at)
		SELECT 'send', 'send_email', 'discarded', jsonb_build_object('message_id', id, 'channel', 'email'), 25, 25, now() FROM m`)
	r := b.post("/jobs/retry", obj{"filter": obj{"kind": []string{"send"}}, "reason": "x"}, 200)
	require.InDelta(t, 1, r.body["refused"], 0)
	refusal := r.body["refusals"].([]any)[0].(obj)
	require.Equal(t, "unresolved_send", refusal["code"])
	require.Contains(t, refusal["detail"], "/messages/01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11/resolve")
	require.Equal(t, "discarded", one[string](b, `SELECT state::text FROM river_job`))
}

func TestJobs_cancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`INSERT INTO river_job (kind, queue, state, args, max_attempts) VALUES ('reply', 'inbound', 'available', '{}', 25), ('reply', 'inbound', 'running', '{}', 25)`)
	r := b.post("/jobs/cancel", obj{"filter": obj{"queue": []string{"inbound"}}, "reason": "a loop"}, 200)
	require.InDelta(t, 2, r.body["done"], 0)
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM river_job WHERE state = 'cancelled'`))
	require.Equal(t, 2, one[int](b, `SELECT count(*) FROM river_job WHERE metadata ? 'cancel_attempted_at'`))
	require.Empty(t, b.woken)
}

// One request acts on so many jobs at most, the oldest first, and says what is left for the next.
func TestJobs_moreThanOneRequestActsOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	failedJobs(b, "reply", "inbound", 10_003)
	body := obj{"filter": obj{"queue": []string{"inbound"}}, "reason": "the disk was full"}
	dry := b.post("/jobs/retry", obj{"filter": body["filter"], "dry_run": true}, 200).body
	require.Equal(t, []any{10_003.0, 10_000.0, 10_000.0, 3.0}, []any{dry["matched"], dry["done"], dry["limit"], dry["remaining"]})
	first := b.post("/jobs/retry", body, 200).body
	require.Equal(t, []any{10_003.0, 10_000.0, 3.0}, []any{first["matched"], first["done"], first["remaining"]})
	require.Equal(t, []int{3, 10_000}, []int{
		one[int](b, `SELECT count(*) FROM river_job WHERE state = 'discarded'`),
		one[int](b, `SELECT (details ->> 'done')::int FROM operator_actions`),
	})
	require.True(t, one[bool](b, `SELECT min(id) FILTER (WHERE state = 'discarded') > max(id) FILTER (WHERE state = 'available') FROM river_job`))
	rest := b.post("/jobs/retry", body, 200).body
	require.Equal(t, []any{3.0, 3.0, 0.0}, []any{rest["matched"], rest["done"], rest["remaining"]})
	require.Zero(t, one[int](b, `SELECT count(*) FROM river_job WHERE state = 'discarded'`))
}
