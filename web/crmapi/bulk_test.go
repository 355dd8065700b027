package crmapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

const bulkPath = "/crm/businesses/bulk"

// work does what the jobs of bulk actions would, in chunks of two; at most max of them.
func (b *bundle) work(max int) {
	b.t.Helper()
	for range max {
		more := false
		for _, id := range one[[]int64](b, `SELECT COALESCE(array_agg(id ORDER BY id), '{}') FROM bulk_actions WHERE state = 'running'`) {
			require.NoError(b.t, pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
				again, _, err := pgstore.BulkChunk(context.WithoutCancel(b.t.Context()), tx, id, 7, time.Now(), 2)
				more = more || again
				return err
			}))
		}
		if !more {
			return
		}
	}
}

func (b *bundle) tags(id string) []any {
	return b.get("/crm/businesses/"+id, http.StatusOK).body["tags"].([]any)
}

func TestBulkTagsAndTakesBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, b.business(obj{"name": fmt.Sprintf("B%d", i), "city": "Antigua"}))
	}
	other := b.business(obj{"name": "Elsewhere", "city": "Tikal"})
	b.patch("/crm/businesses/"+ids[4], obj{"tags": []string{"VIP", " second  row ", "vip"}}, http.StatusOK)
	require.Equal(t, []any{"second row", "vip"}, b.tags(ids[4]))

	dry := b.post(bulkPath, obj{"action": "tag", "tag": "Vip", "filter": obj{"city": "antigua"}, "dry_run": true}, http.StatusOK)
	require.EqualValues(t, 5, dry.body["total"])
	require.Equal(t, "dry_run", dry.body["state"])
	require.Nil(t, dry.body["id"])
	require.Len(t, dry.body["sample"], 5)
	none := b.post(bulkPath, obj{"action": "tag", "tag": "Vip", "filter": obj{"city": "nowhere"}, "dry_run": true}, http.StatusOK)
	require.Equal(t, []any{0., []any{}}, []any{none.body["total"], none.body["sample"]})
	for _, nobody := range []any{[]string{}, "", ","} {
		refused := b.post(bulkPath, obj{"action": "tag", "tag": "Vip", "filter": obj{"contact_status": nobody}, "dry_run": true}, http.StatusUnprocessableEntity)
		require.Equal(t, []string{"body.filter.contact_status"}, refused.locations(), "not everyone")
	}
	require.Zero(t, one[int](b, `SELECT count(*) FROM bulk_actions`))

	started := b.post(bulkPath, obj{"action": "tag", "tag": "Vip", "filter": obj{"city": "antigua"}, "reason": "spring"}, http.StatusAccepted)
	path := bulkPath + "/" + started.body["id"].(string)
	require.Equal(t, "/api/v1"+path, started.header.Get("Location"))
	require.Equal(t, "running", started.body["state"])
	require.EqualValues(t, 5, started.body["total"])
	require.Contains(t, strings.Join(b.jobs(), "\n"), "bulk maintenance available")
	late := b.business(obj{"name": "Late", "city": "Antigua"})
	b.work(1)
	require.EqualValues(t, 2, b.get(path, http.StatusOK).body["done"])
	b.post(path+"/undo", obj{"reason": "no"}, http.StatusConflict)
	b.work(10)
	done := b.get(path, http.StatusOK)
	require.Equal(t, "done", done.body["state"])
	require.EqualValues(t, 4, done.body["done"])
	require.EqualValues(t, 1, done.body["skipped"].(obj)["already"])
	require.NotNil(t, done.body["finished_at"])
	require.Equal(t, []any{"vip"}, b.tags(ids[0]))
	require.Empty(t, b.tags(other))
	require.Empty(t, b.tags(late), "who matches later is not in it")
	require.Len(t, b.get("/crm/businesses?tag=VIP", http.StatusOK).items(), 5)
	require.Len(t, b.get("/crm/businesses?tag=vip,nothing&q=b0", http.StatusOK).items(), 1)
	require.Equal(t, []string{"operator bulk.tag spring"}, b.actions("bulk", started.body["id"].(string)))
	b.post(path+"/cancel", obj{"reason": "late"}, http.StatusConflict)

	undo := b.post(path+"/undo", obj{"reason": "too early"}, http.StatusAccepted)
	require.Equal(t, started.body["id"], undo.body["undo_of"])
	require.EqualValues(t, 4, undo.body["total"], "not to whom nothing was done")
	b.work(10)
	require.Empty(t, b.tags(ids[0]))
	require.Equal(t, []any{"second row", "vip"}, b.tags(ids[4]))
	again := b.post(path+"/undo", obj{"reason": "again"}, http.StatusConflict)
	require.Contains(t, again.body["detail"], "undone before")
	require.Equal(t, undo.body["id"], b.get(path, http.StatusOK).body["undone_by"])

	// The undo of an undo is a bulk action like any other.
	b.post(bulkPath+"/"+undo.body["id"].(string)+"/undo", obj{"reason": "after all"}, http.StatusAccepted)
	b.work(10)
	require.Equal(t, []any{"vip"}, b.tags(ids[0]))
	require.Len(t, b.get(bulkPath, http.StatusOK).items(), 3)
}

func TestBulkOptOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, b.business(obj{"name": "B", "phone": fmt.Sprintf("+1202555010%d", i), "email": fmt.Sprintf("b%d@example.com", i)}))
	}
	b.post("/crm/businesses/"+ids[1]+"/events", obj{"event": "opted_out"}, http.StatusAccepted)
	erase := b.send(apitoken.Admin, http.MethodDelete, "/crm/businesses/"+ids[2]+"?reason=asked", nil)

	started := b.post(bulkPath, obj{"action": "opt_out", "business_ids": []string{ids[0], ids[1], ids[3]}, "reason": "they asked us to"}, http.StatusAccepted)
	require.Equal(t, http.StatusNoContent, erase.status)
	path := bulkPath + "/" + started.body["id"].(string)
	b.work(1)
	require.Equal(t, http.StatusNoContent, b.send(apitoken.Admin, http.MethodDelete, "/crm/businesses/"+ids[3]+"?reason=asked", nil).status)
	b.work(10)
	done := b.get(path, http.StatusOK).body
	require.EqualValues(t, 1, done["done"])
	require.EqualValues(t, obj{"already": 1.0, "erased": 1.0, "absent": 0.0, "full": 0.0}, done["skipped"])
	one0 := b.get("/crm/businesses/"+ids[0], http.StatusOK).body
	require.Equal(t, "unsubscribed", one0["contact_status"])
	require.Len(t, one0["suppressions"], 2)
	require.Equal(t, "pending", b.get("/crm/businesses/"+ids[4], http.StatusOK).body["contact_status"])

	// The trail leads back to who did it, and why.
	item := b.get("/crm/businesses/"+ids[0]+"/timeline", http.StatusOK).items()[0].(obj)
	require.Equal(t, obj{"type": "operator", "id": "operator"}, item["source"])
	require.Equal(t, "they asked us to", item["note"])
	drift, err := pgstore.Verify(t.Context(), b.pool, pgstore.VerifyOptions{})
	require.NoError(t, err)
	require.Zero(t, drift.Drifted)

	no := b.post(path+"/undo", obj{"reason": "oops"}, http.StatusConflict)
	require.Contains(t, no.body["detail"], "operator_reopened")
}

func TestBulkStartsACampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 3 {
		b.business(obj{"name": "B", "phone": fmt.Sprintf("+1202555010%d", i), "city": "Antigua"})
	}
	body := obj{
		"action": "start_campaign", "filter": obj{"city": "antigua"}, "reason": "spring",
		"campaign": obj{"name": "Spring", "channel": "sms", "body": "Hello {{.Name}}"},
	}
	started := b.post(bulkPath, body, http.StatusAccepted)
	require.EqualValues(t, 3, started.body["total"])
	require.Equal(t, "running", started.body["state"])
	campaign := started.body["campaign_id"].(string)
	require.Equal(t, "sending", b.get("/campaigns/"+campaign, http.StatusOK).body["status"])
	require.Equal(t, 3, one[int](b, `SELECT count(*) FROM campaign_recipients`), "frozen with the answer")
	b.business(obj{"name": "Late", "phone": "+12025550199", "city": "Antigua"})
	require.Equal(t, 3, one[int](b, `SELECT recipients::int FROM campaigns WHERE frozen_at IS NOT NULL`))
	require.Equal(t, []string{"operator campaign.create spring", "operator campaign.send spring"}, b.actions("campaign", campaign))

	path := bulkPath + "/" + started.body["id"].(string)
	require.Contains(t, b.post(path+"/cancel", obj{"reason": "no"}, http.StatusConflict).body["detail"], "undo cancels it")
	undone := b.post(path+"/undo", obj{"reason": "wrong text"}, http.StatusAccepted)
	require.Equal(t, "cancelled", undone.body["state"])
	require.Equal(t, "cancelled", b.get("/campaigns/"+campaign, http.StatusOK).body["status"])
	b.post(path+"/undo", obj{"reason": "again"}, http.StatusConflict)
}

func TestBulkCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 5 {
		b.business(obj{"name": "B"})
	}
	started := b.post(bulkPath, obj{"action": "tag", "tag": "x", "filter": obj{}, "reason": "try"}, http.StatusAccepted)
	path := bulkPath + "/" + started.body["id"].(string)
	b.work(1)
	require.Equal(t, "cancelled", b.post(path+"/cancel", obj{"reason": "enough"}, http.StatusAccepted).body["state"])
	b.work(10)
	require.Equal(t, 2, one[int](b, `SELECT count(*) FROM business_tags`), "what is done stays")
	require.EqualValues(t, 2, b.post(path+"/undo", obj{"reason": "all of it"}, http.StatusAccepted).body["total"])
}

func TestBulkRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "A"})
	for place, body := range map[string]obj{
		"body.reason":                {"action": "opt_out", "filter": obj{}},
		"body.tag":                   {"action": "tag", "filter": obj{}, "reason": "r"},
		"body.filter":                {"action": "opt_out", "reason": "r"},
		"body.business_ids":          {"action": "opt_out", "filter": obj{}, "business_ids": []string{id}, "reason": "r"},
		"body.business_ids[1]":       {"action": "opt_out", "business_ids": []string{id, "018f0000-0000-7000-8000-000000000000"}, "reason": "r"},
		"body.filter.contact_status": {"action": "opt_out", "filter": obj{"contact_status": "nonsense"}, "reason": "r"},
		"body.filter.nonsense":       {"action": "opt_out", "filter": obj{"nonsense": "x"}, "reason": "r"},
		"body.campaign":              {"action": "start_campaign", "filter": obj{}, "reason": "r"},
		"body.campaign.body": {
			"action": "start_campaign", "filter": obj{}, "reason": "r", "campaign": obj{"name": "x", "channel": "sms", "body": "{{.Nonsense}}"},
		},
		"body.action": {"action": "delete", "filter": obj{}, "reason": "r"},
	} {
		require.Equal(t, []string{place}, b.post(bulkPath, body, http.StatusUnprocessableEntity).locations(), place)
	}
	tag := b.post(bulkPath, obj{"action": "tag", "tag": "a,b", "filter": obj{}, "reason": "r"}, http.StatusUnprocessableEntity)
	require.Equal(t, []string{"body.tag"}, tag.locations())
	b.get(bulkPath+"/018f0000-0000-7000-8000-000000000000", http.StatusNotFound)
	require.Zero(t, one[int](b, `SELECT count(*) FROM bulk_actions`))
}

func TestTagsAreGoneWithAnErasure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.business(obj{"name": "Ana López", "email": "ana@example.com", "tags": []string{"friend of ana"}})
	require.Equal(t, []any{"friend of ana"}, b.tags(id))
	require.Equal(t, http.StatusNoContent, b.send(apitoken.Admin, http.MethodDelete, "/crm/businesses/"+id+"?reason=asked", nil).status)
	require.Empty(t, b.tags(id))
	require.Zero(t, one[int](b, `SELECT count(*) FROM business_search WHERE document LIKE '%ana%'`))
	b.patch("/crm/businesses/"+id, obj{"tags": []string{"x"}}, http.StatusConflict)
}
