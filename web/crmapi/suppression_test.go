package crmapi_test

import (
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func TestSuppressions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	business := b.business(obj{"name": "A", "phone": "+15005550006", "email": "a@example.com"})

	r := b.post("/suppressions", obj{"channel": "sms", "address": "+1 500 555 0006", "reason": "asked by phone"}, http.StatusCreated)
	require.Equal(t, []any{"sms", "+15005550006", "operator", "operator", nil},
		[]any{r.body["channel"], r.body["address"], r.body["reason"], r.body["source"], r.body["lifted_at"]})
	again := b.post("/suppressions", obj{"channel": "sms", "address": "+15005550006"}, http.StatusOK)
	require.Equal(t, r.body, again.body)
	b.post("/suppressions", obj{"channel": "email", "address": "A@Example.com"}, http.StatusCreated)
	require.Equal(t, []pgstore.Address{
		{Channel: "sms", Address: "+15005550006"}, {Channel: "sms", Address: "+15005550006"}, {Channel: "email", Address: "a@example.com"},
	}, b.settled)
	require.Len(t, b.get("/crm/businesses/"+business, http.StatusOK).body["suppressions"], 2)

	lift := func(body obj) reply { return b.send(apitoken.Operator, http.MethodDelete, "/suppressions", body) }
	require.Equal(t, http.StatusUnprocessableEntity, lift(obj{"channel": "sms", "address": "+15005550006"}).status, "no reason")
	lifted := lift(obj{"channel": "sms", "address": "+15005550006", "reason": "asked to"})
	require.Equal(t, http.StatusOK, lifted.status)
	require.Equal(t, obj{"lifted": true}, lifted.body)
	require.Equal(t, http.StatusNotFound, lift(obj{"channel": "sms", "address": "+15005550006", "reason": "asked to"}).status)
	require.Equal(t, []string{"operator suppression.add asked by phone", "operator suppression.add ", "operator suppression.lift asked to"},
		b.actions("suppression", "sms:+15005550006"))

	count := func(query string) int { return len(b.get("/suppressions?"+query, http.StatusOK).items()) }
	require.Equal(t, 1, count(""))
	require.Equal(t, 1, count("state=lifted"))
	require.Equal(t, 2, count("state=all"))
	require.Equal(t, 0, count("channel=sms"))
	require.Equal(t, 1, count("state=all&channel=sms&address="+url.QueryEscape("+15005550006")))
	require.Equal(t, 1, count("channel=email&address=A@example.com"))
	item := b.get("/suppressions?state=lifted", http.StatusOK).items()[0].(obj)
	require.Equal(t, "operator", item["lifted_by"])
	page := b.get("/suppressions?state=all&limit=1", http.StatusOK)
	next := b.get("/suppressions?state=all&limit=1&cursor="+page.body["next_cursor"].(string), http.StatusOK)
	require.Equal(t, "sms", next.items()[0].(obj)["channel"])

	require.Equal(t, []string{"body.address"}, b.post("/suppressions", obj{"channel": "sms", "address": "5555"}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"body.address"}, b.post("/suppressions", obj{"channel": "email", "address": "5555"}, http.StatusUnprocessableEntity).locations())
	require.Equal(t, []string{"query.channel"}, b.get("/suppressions?address=x", http.StatusUnprocessableEntity).locations())
}

func TestExportSuppressions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	empty := b.send(apitoken.Viewer, http.MethodGet, "/suppressions.csv", nil)
	require.Equal(t, []any{http.StatusOK, "channel,address,reason,source,since\n"}, []any{empty.status, empty.raw})
	b.exec(`
		INSERT INTO suppressions (channel, address, reason, source, since, lifted_at)
		SELECT CASE i % 2 WHEN 0 THEN 'sms' ELSE 'email' END, 'address' || i, 'said "no", twice', 'import', '2026-02-03T04:05:06Z', CASE WHEN i % 10 = 0 THEN now() END
		FROM generate_series(1, 2000) i`)
	b.exec(`INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', onward_address_hash('sms', '+15005550006'), 'stop', 'webhook')`)
	r := b.send(apitoken.Viewer, http.MethodGet, "/suppressions.csv?channel=sms", nil)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "text/csv; charset=utf-8", r.header.Get("Content-Type"))
	require.Contains(t, r.header.Get("Content-Disposition"), "suppressions.csv")
	rows, err := csv.NewReader(strings.NewReader(r.raw)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+800)
	require.Equal(t, []string{"sms", "address1998", `said "no", twice`, "import", "2026-02-03T04:05:06Z"}, rows[1])
	require.Equal(t, http.StatusUnprocessableEntity, b.send(apitoken.Viewer, http.MethodGet, "/suppressions.csv?channel=fax", nil).status)
}

func TestImportSuppressions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rows := []obj{
		{"address": "+1 500 555 0006", "reason": "asked by mail"},
		{"address": "A@Example.com"},
		{"address": "a@example.com"},
		{"address": "5555"},
		{"channel": "email", "address": "nobody"},
		{"address": "500 555 0007"},
		{"address": "b@example.com", "reason": strings.Repeat("x", 801)},
	}
	body := obj{"rows": rows, "country": "US", "source": "list.csv", "dry_run": true}
	dry := b.post("/suppressions/import", body, http.StatusOK)
	require.Equal(t, []any{true, 3.0, 1.0}, []any{dry.body["dry_run"], dry.body["added"], dry.body["already"]})
	require.Empty(t, b.get("/suppressions", http.StatusOK).items(), "a dry run changes nothing")
	require.Empty(t, b.settled)
	body["dry_run"] = false
	require.Equal(t, []string{"body.reason"}, b.post("/suppressions/import", body, http.StatusUnprocessableEntity).locations())

	body["reason"] = "list of the provider before"
	done := b.post("/suppressions/import", body, http.StatusOK)
	require.Equal(t, []any{false, 3.0, 1.0, dry.body["refused"]}, []any{done.body["dry_run"], done.body["added"], done.body["already"], done.body["refused"]})
	var refused []string
	for _, r := range done.body["refused"].([]any) {
		refused = append(refused, strconv.Itoa(int(r.(obj)["row"].(float64)))+" "+strings.SplitN(r.(obj)["reason"].(string), ":", 2)[0])
	}
	require.Equal(t, []string{"3 address", "4 address", "6 reason"}, refused)
	reasons := map[string]string{}
	for _, item := range b.get("/suppressions", http.StatusOK).items() {
		reasons[item.(obj)["address"].(string)] = item.(obj)["reason"].(string) + " by " + item.(obj)["source"].(string)
	}
	require.Equal(t, map[string]string{"+15005550006": "asked by mail by import", "a@example.com": "import by import", "+15005550007": "import by import"}, reasons)
	require.ElementsMatch(t, []pgstore.Address{
		{Channel: "sms", Address: "+15005550006"},
		{Channel: "email", Address: "a@example.com"},
		{Channel: "email", Address: "a@example.com"},
		{Channel: "sms", Address: "+15005550007"},
	}, b.settled)
	require.Equal(t, []string{"operator suppressions.import list of the provider before"}, b.actions("file", "list.csv"))

	again := b.post("/suppressions/import", body, http.StatusOK)
	require.Equal(t, []any{0.0, 4.0}, []any{again.body["added"], again.body["already"]})
	require.Len(t, b.settled, 8, "who repeats what was not answered can rely on it as well")
	require.Len(t, b.actions("file", "list.csv"), 1)
	require.Equal(t, http.StatusForbidden, b.send(apitoken.Viewer, http.MethodPost, "/suppressions/import", body).status)
}
