package crmapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

// receipt stores one, with its outcome unless that is "".
func (b *bundle) receipt(provider, kind, outcome, matchKey, body string) string {
	b.t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	b.exec(`
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, received_at)
		VALUES ($1, $2, $3, 'm=1', '{"Svix-Id": ["msg_1"]}', $4, $5, now())`, id, provider, kind, []byte(body), id)
	if outcome != "" {
		b.exec(`
			INSERT INTO receipt_outcomes (receipt_id, outcome, detail, match_key)
			VALUES ($1, $2, 'why', NULLIF($3, ''))`, id, outcome, matchKey)
	}
	return id
}

func ids(r reply) []string {
	list := []string{}
	for _, i := range r.items() {
		list = append(list, i.(obj)["id"].(string))
	}
	return list
}

func TestListReceipts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	waiting := b.receipt("recurrente", "subscription.create", "unmatched", "subscription:su_1", "{}")
	applied := b.receipt("twilio", "message_status", "applied", "", "")
	pending := b.receipt("twilio", "inbound_message", "", "", "")
	hourAgo, hourAhead := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string][]string{
		"":                                     {pending, applied, waiting},
		"provider=twilio":                      {pending, applied},
		"kind=message_status":                  {applied},
		"outcome=unmatched":                    {waiting},
		"outcome=pending,applied":              {pending, applied},
		"after=" + hourAgo:                     {pending, applied, waiting},
		"after=" + hourAhead:                   {},
		"before=" + hourAgo:                    {},
		"before=" + hourAhead + "&limit=500":   {pending, applied, waiting},
		"provider=twilio&outcome=failed":       {},
		"provider=twilio&kind=message_status&": {applied},
	} {
		require.Equal(t, want, ids(b.get("/webhook-events?"+query, http.StatusOK)), query)
	}
	first := b.get("/webhook-events?limit=2", http.StatusOK)
	require.Equal(t, []string{waiting}, ids(b.get("/webhook-events?limit=2&cursor="+first.body["next_cursor"].(string), http.StatusOK)))
	item := b.get("/webhook-events?outcome=unmatched", http.StatusOK).items()[0].(obj)
	require.Equal(t, []any{"subscription:su_1", "why", "unmatched"}, []any{item["match_key"], item["detail"], item["outcome"]})
	require.NotContains(t, item, "body")
	require.Equal(t, []string{"query.outcome"}, b.get("/webhook-events?outcome=lost", http.StatusUnprocessableEntity).locations())
}

func TestGetReceipt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A"})
	id := b.receipt("twilio", "inbound_message", "applied", "", "Body=¡Hola!")
	b.exec(`
		INSERT INTO facts (business_id, event, axis, occurred_at, source, receipt_id, dedupe_key)
		SELECT id, 'reply_received', 'contact', now(), 'webhook', $1, 'r1' FROM businesses`, id)
	got := b.get("/webhook-events/"+id, http.StatusOK).body
	require.Equal(t, "Body=¡Hola!", got["body"])
	require.Equal(t, "text", got["body_encoding"])
	require.Equal(t, obj{"Svix-Id": []any{"msg_1"}}, got["headers"])
	require.Equal(t, "m=1", got["query"])
	fact := got["facts"].([]any)[0].(obj)
	require.Equal(t, []any{business, "reply_received"}, []any{fact["business_id"], fact["event"]})

	binary := b.get("/webhook-events/"+b.receipt("twilio", "inbound_message", "", "", "\xff\x00"), http.StatusOK).body
	require.Equal(t, []any{"/wA=", "base64", "pending"}, []any{binary["body"], binary["body_encoding"], binary["outcome"]})
	b.get("/webhook-events/"+uuid.NewString(), http.StatusNotFound)
	b.get("/webhook-events/17", http.StatusUnprocessableEntity)
}

func TestReplayReceipt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	applied := b.receipt("twilio", "inbound_message", "applied", "", "")
	failed := b.receipt("recurrente", "subscription.cancel", "failed", "", "")
	stored := b.receipt("recurrente", "setup_intent.succeeded", "ignored", "", "")

	r := b.post("/webhook-events/"+applied+"/replay", nil, http.StatusAccepted)
	require.Equal(t, obj{"id": applied, "job": "reply"}, r.body)
	b.post("/webhook-events/"+failed+"/replay", obj{"note": "fixed"}, http.StatusAccepted)
	b.post("/webhook-events/"+stored+"/replay", obj{}, http.StatusConflict)
	b.post("/webhook-events/"+uuid.NewString()+"/replay", nil, http.StatusNotFound)
	b.post("/webhook-events/"+failed+"/replay", obj{"reasons": "x"}, http.StatusUnprocessableEntity)
	require.Equal(t, []string{
		`reply inbound available {"receipt_id": "` + applied + `"}`,
		`cancellation billing available {"receipt_id": "` + failed + `"}`,
	}, b.jobs())
	require.Equal(t, []string{"operator receipt.replay fixed"}, b.actions("receipt", failed))
	require.Equal(t, "applied", b.get("/webhook-events/"+applied, http.StatusOK).body["outcome"])
	require.Equal(t, "pending", b.get("/webhook-events/"+failed, http.StatusOK).body["outcome"])
}

// A dry run answers what was found out, with everything as it was: outcome, jobs, operators' log.
func TestReplayReceipt_dryRun(t *testing.T) {
	t.Parallel()
	business, broken := uuid.New(), uuid.New()
	var tried []uuid.UUID
	b := setup(t, func(o *crmapi.Options) {
		o.TryReceipt = func(_ context.Context, id uuid.UUID) (crmapi.ReplayTrial, error) {
			tried = append(tried, id)
			if id == broken {
				return crmapi.ReplayTrial{}, errors.New("the rules are gone")
			}
			return crmapi.ReplayTrial{
				Then: "failed", Now: "applied", Detail: "as it reads now", Facts: 1, Enqueued: []string{"send"},
				Changes: []crmapi.ReplayChange{{BusinessID: business, Axis: "subscription", From: "active", To: "cancelled", Event: "subscription_cancelled", Verdict: "applied"}},
			}, nil
		}
	})
	failed := b.receipt("recurrente", "subscription.cancel", "failed", "", "")
	stored := b.receipt("recurrente", "setup_intent.succeeded", "ignored", "", "")

	r := b.post("/webhook-events/"+failed+"/replay", obj{"dry_run": true}, http.StatusOK)
	require.Equal(t, obj{"id": failed, "job": "cancellation", "dry_run": true, "trial": obj{
		"then": "failed", "now": "applied", "detail": "as it reads now", "stands": false, "facts": 1.0, "enqueued": []any{"send"},
		"changes": []any{obj{
			"business_id": business.String(), "axis": "subscription", "from": "active", "to": "cancelled", "event": "subscription_cancelled", "verdict": "applied",
		}},
	}}, r.body)
	require.Equal(t, []uuid.UUID{uuid.MustParse(failed)}, tried)
	require.Equal(t, "failed", b.get("/webhook-events/"+failed, http.StatusOK).body["outcome"])
	require.Empty(t, b.jobs())
	require.Zero(t, one[int](b, `SELECT count(*) FROM operator_actions`))

	b.post("/webhook-events/"+stored+"/replay", obj{"dry_run": true}, http.StatusConflict)
	b.post("/webhook-events/"+uuid.NewString()+"/replay", obj{"dry_run": true}, http.StatusNotFound)
	require.Equal(t, http.StatusForbidden, b.send(apitoken.Viewer, http.MethodPost, "/webhook-events/"+failed+"/replay", obj{"dry_run": true}).status)
	require.Len(t, tried, 1, "what no job applies, what is not there and who may not are not tried")
	b.exec(`UPDATE webhook_events SET id = $2 WHERE id = $1`, failed, broken)
	answer := b.post("/webhook-events/"+broken.String()+"/replay", obj{"dry_run": true}, http.StatusInternalServerError)
	require.NotContains(t, answer.raw, "rules are gone", "causes are for the log")
}

func TestReplayReceipt_noDryRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.receipt("twilio", "inbound_message", "failed", "", "")
	answer := b.post("/webhook-events/"+id+"/replay", obj{"dry_run": true}, http.StatusConflict)
	require.Contains(t, answer.body["detail"], "onward webhooks replay --dry-run")
	require.Empty(t, b.jobs())
}
