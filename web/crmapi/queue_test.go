package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/apitoken"
)

func TestQueues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`INSERT INTO river_queue (name, updated_at) VALUES ('billing', now())`)
	b.exec(`
		INSERT INTO river_job (kind, queue, state, args, max_attempts, scheduled_at)
		SELECT 'purchase', 'billing', 'available', '{}', 25, now() - interval '1 hour' FROM generate_series(1, 3)`)
	names := func() (list []string) {
		for _, q := range b.get("/queues", http.StatusOK).body["items"].([]any) {
			list = append(list, q.(obj)["name"].(string))
		}
		return list
	}
	require.Equal(t, jobs.Queues(), names())
	billing := func() obj { return b.get("/queues", http.StatusOK).body["items"].([]any)[2].(obj) }
	require.InDelta(t, 3, billing()["counts"].(obj)["available"], 0)
	require.NotNil(t, billing()["oldest_waiting_at"])
	require.Nil(t, billing()["paused_at"])

	require.Equal(t, 403, b.send(apitoken.Viewer, http.MethodPost, "/queues/billing/pause", obj{"reason": "x"}).status)
	require.Equal(t, []string{"body.reason"}, b.post("/queues/billing/pause", obj{"reason": " "}, 422).locations())
	b.post("/queues/nowhere/pause", obj{"reason": "x"}, http.StatusNotFound)
	b.post("/queues/billing/pause", obj{"reason": "Recurrente is down"}, http.StatusOK)
	require.True(t, one[bool](b, `SELECT paused_at IS NOT NULL FROM river_queue WHERE name = 'billing'`))
	require.Equal(t, []any{"operator", "Recurrente is down"}, []any{billing()["paused_by"], billing()["paused_for"]})

	b.post("/queues/billing/resume", obj{"reason": "it is back"}, http.StatusOK)
	require.Equal(t, []any{nil, nil}, []any{billing()["paused_at"], billing()["paused_by"]})
	require.Equal(t, []string{"operator queue.pause Recurrente is down", "operator queue.resume it is back"}, b.actions("queue", "billing"))
}
