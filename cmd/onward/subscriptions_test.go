package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func TestParseSubscriptions(t *testing.T) {
	t.Parallel()
	asOf := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	want := []subscriptionRow{
		{id: "su_1", status: "active", at: time.Date(2026, 5, 1, 18, 0, 0, 0, time.UTC), to: lifecycle.Active, event: lifecycle.SubscriptionActivated},
		{id: "su_2", status: "canceled", at: asOf, to: lifecycle.Cancelled, event: lifecycle.SubscriptionCancelled},
	}
	for name, file := range map[string]string{
		"array":          `[{"id":"su_1","status":"active","updated_at":"2026-05-01T12:00:00-06:00","extra":{}},{"id":"su_2","status":"Canceled","created_at":"2026-01-01T00:00:00Z"}]`,
		"in data":        `{"data":[{"id":"su_1","status":"active","updated_at":"2026-05-01T18:00:00Z"},{"id":"su_2","status":"canceled"}],"has_more":false}`,
		"lines":          `{"id":"su_1","status":"active","updated_at":"2026-05-01T18:00:00.000Z"}` + "\n" + `{"id":"su_2","status":"canceled"}` + "\n",
		"CSV":            "\xef\xbb\xbfStatus,ID,Updated at\nactive,su_1,2026-05-01 18:00:00 UTC\ncanceled,su_2,\n",
		"CSV semicolons": "id;status;updated_at;name\nsu_1;active;2026-05-01 12:00:00 -0600;\"A, B\"\nsu_2;canceled\n",
	} {
		rows, err := parseSubscriptions([]byte(file), asOf)
		require.NoError(t, err, name)
		require.Equal(t, want, rows, name)
	}
	rows, err := parseSubscriptions([]byte(`[{"id":"su_1","status":"sleeping"},{"status":"active"},{"id":"su_2","status":"active","updated_at":"soon"},{"id":"su_3","status":"active","updated_at":"2999-01-01T00:00:00Z"}]`), asOf)
	require.NoError(t, err)
	var wrong []string
	for _, r := range rows {
		wrong = append(wrong, r.wrong)
	}
	require.Equal(t, []string{"no status that we know", "no id", "a time that can't be read", "a time in the future"}, wrong)
	for _, file := range []string{"", " ", "[", `{"id":`, "name,age\nx,1\n", "\"", `["su_1"]`} {
		_, err := parseSubscriptions([]byte(file), asOf)
		require.Error(t, err, file)
	}
}

func FuzzParseSubscriptions(f *testing.F) {
	for _, seed := range []string{`[{"id":"su_1","status":"active"}]`, "id,status\nsu_1,active\n", `{"data":[{}]}`, "\"\n,"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rows, err := parseSubscriptions(raw, time.Unix(1, 0))
		if err != nil {
			require.Empty(t, rows)
		}
		for _, r := range rows {
			if r.wrong == "" {
				require.NotEmpty(t, r.id)
				require.True(t, r.event.Known())
			}
		}
	})
}

func TestSubscriptionsImport(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	ctx := t.Context()
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	public := map[string]string{}
	site := func(subscription string, events ...lifecycle.Event) {
		id, shown := aBusiness(t, db.Pool, "+502555500"+subscription[len(subscription)-2:])
		public[subscription] = shown
		var site int64
		require.NoError(t, db.Pool.QueryRow(ctx, `INSERT INTO sites (public_id, business_id, subscription_id) VALUES (gen_random_uuid(), $1, $2) RETURNING id`, id, subscription).Scan(&site))
		require.NoError(t, pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			for _, e := range events {
				_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{BusinessID: id, SiteID: site, Event: e, OccurredAt: noon, Key: subscription + string(e), Source: pgstore.SourceSystem}})
				require.NoError(t, err)
			}
			return nil
		}))
	}
	status := func(subscription string) (s string) {
		require.NoError(t, db.Pool.QueryRow(ctx, `SELECT subscription_status FROM sites WHERE subscription_id = $1`, subscription).Scan(&s))
		return s
	}
	count := func(sql string) (n int) {
		require.NoError(t, db.Pool.QueryRow(ctx, sql).Scan(&n))
		return n
	}
	site("su_01", lifecycle.SubscriptionActivated)
	site("su_02", lifecycle.SubscriptionActivated) // its cancellation never came
	site("su_03", lifecycle.SubscriptionCancelled) // the export is older than what we know
	site("su_04")                                  // none of its events came
	file := filepath.Join(t.TempDir(), "export.csv")
	require.NoError(t, os.WriteFile(file, []byte("id,status,updated_at\nsu_01,active,2026-05-02T00:00:00Z\nsu_02,canceled,2026-05-02T00:00:00Z\n"+
		"su_03,active,2026-04-01T00:00:00Z\nsu_04,past_due,\nsu_99,active,2026-05-02T00:00:00Z\nsu_05,sleeping,\n"), 0o600))
	require.NoError(t, os.Chtimes(file, noon, noon))

	code, _, errs := onward(t, db.DSN, "subscriptions", "import", file)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--reason is missing")

	want := []string{
		"su_02\tdrift\tactive\tcanceled\t2026-05-02T00:00:00Z\t" + public["su_02"],
		"su_03\tstale\tcancelled\tactive\t2026-04-01T00:00:00Z\t" + public["su_03"],
		"su_04\tdrift\tnone\tpast_due\t2026-05-01T12:00:00Z\t" + public["su_04"],
		"su_99\tunknown\t-\tactive\t2026-05-02T00:00:00Z\t-",
		"su_05\trefused: no status that we know\t-\tsleeping\t2026-05-01T12:00:00Z\t-",
	}
	code, out, errs := onward(t, db.DSN, "subscriptions", "import", file, "--dry-run")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "1 row of export.csv could not be read")
	require.Equal(t, strings.Join(append(want, "1 subscription the same, 2 would be corrected, 1 known better from later events, 1 of no site, 1 refused"), "\n")+"\n", out)
	require.Equal(t, 2, count(`SELECT count(*) FROM facts WHERE event = 'subscription_activated'`))
	require.Zero(t, count(`SELECT count(*) FROM facts WHERE source = 'import'`))
	require.Zero(t, count(`SELECT count(*) FROM operator_actions`))

	code, out, _ = onward(t, db.DSN, "subscriptions", "import", file, "--reason", "webhooks were off")
	require.Equal(t, exitFailed, code)
	require.Equal(t, strings.Join(append(want, "1 subscription the same, 2 corrected, 1 known better from later events, 1 of no site, 1 refused"), "\n")+"\n", out)
	require.Equal(t, []string{"active", "cancelled", "cancelled", "past_due"}, []string{status("su_01"), status("su_02"), status("su_03"), status("su_04")})
	require.Equal(t, 1, count(`SELECT count(*) FROM operator_actions WHERE action = 'subscriptions.import' AND reason = 'webhooks were off' AND target_id = 'export.csv'`))
	require.Equal(t, 3, count(`SELECT count(*) FROM facts f JOIN operator_actions a ON a.id = f.action_id WHERE f.source = 'import' AND f.note = 'webhooks were off'`))
	require.Equal(t, 1, count(`SELECT count(*) FROM facts WHERE dedupe_key = 'sub:su_02:import:cancelled:2026-05-02T00:00:00Z'`))

	// The same file again finds nothing that differs, but what is known better.
	code, out, _ = onward(t, db.DSN, "subscriptions", "import", file, "--reason", "again", "--json")
	require.Equal(t, exitFailed, code)
	var left []string
	for _, o := range objects(t, out) {
		left = append(left, o["what"].(string))
	}
	require.Equal(t, []string{"unknown", "refused"}, left)
	require.Equal(t, 3, count(`SELECT count(*) FROM facts WHERE source = 'import'`))
	drifts, err := pgstore.Verify(ctx, db.Pool, pgstore.VerifyOptions{})
	require.NoError(t, err)
	require.Zero(t, drifts.Drifted)

	code, _, errs = onward(t, db.DSN, "subscriptions", "import", file+".missing", "--dry-run")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no such file")
}
