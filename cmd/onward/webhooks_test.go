package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/lifecycle/pgstore"
)

// posted stores a receipt as the inbox does, without a job; "" for one that has no outcome.
func posted(t *testing.T, pool *pgxpool.Pool, provider, kind, contact, body, outcome string) string {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := pool.Exec(t.Context(), `
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		VALUES ($1, $2, $3, 'm=1&a=1', '{"X-Twilio-Signature": ["c2lnbmF0dXJl"]}', $4, $5, NULLIF($6, ''), now())`,
		id, provider, kind, []byte(body), id.String(), contact)
	require.NoError(t, err)
	if outcome != "" {
		_, err = pool.Exec(t.Context(), `INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, $2)`, id, outcome)
		require.NoError(t, err)
	}
	return id.String()
}

// aBusiness stores one and returns the id that the API shows.
func aBusiness(t *testing.T, pool *pgxpool.Pool, phone string) (id int64, public string) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `
		INSERT INTO businesses (public_id, name, phone, email) VALUES (gen_random_uuid(), 'Panadería Lupita', $1, 'rosa@lupita.example')
		RETURNING id, public_id::text`, phone).Scan(&id, &public))
	return id, public
}

// aWorker works jobs until the test ends.
func aWorker(t *testing.T, dsn string) {
	t.Helper()
	a, err := app.New(t.Context(), app.Options{
		Role: app.RoleWorker, Logger: slog.New(slog.DiscardHandler), Version: "test", Config: app.Config{
			DatabaseURL: dsn, PrivateAddr: "127.0.0.1:0", PublicURL: "https://hooks.example.test", SecretKey: app.Secret(strings.Repeat("k", 32)),
			UnknownSends: "hold", QuietHours: "off", LogFormat: "text", LogLevel: "info", RecurrenteLive: true,
		},
	})
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
}

func objects(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		var o map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &o), s.Text())
		list = append(list, o)
	}
	return list
}

func TestWebhooks_listAndShow(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	_, business := aBusiness(t, db.Pool, "+50255551234")
	stop := posted(t, db.Pool, "twilio", "inbound_message", "sms:+50255551234", "MessageSid=SM1&From=%2B50255551234&Body=STOP", "")
	bill := posted(t, db.Pool, "recurrente", "intent.succeeded", "", "{", "failed")
	posted(t, db.Pool, "recurrente", "checkout.expired", "", "{}", "ignored")
	odd := posted(t, db.Pool, "twilio", "message_status", "", "\xff\x1b[2J", "ignored")

	lines := func(args ...string) []string {
		t.Helper()
		code, out, errs := onward(t, db.DSN, append([]string{"webhooks", "list"}, args...)...)
		require.Zero(t, code, errs)
		return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	}
	all := lines()
	require.Len(t, all, 4)
	require.True(t, strings.HasSuffix(all[0], "\ttwilio\tmessage_status\tignored\t-\t"+odd), all[0])
	require.True(t, strings.HasSuffix(all[3], "\ttwilio\tinbound_message\tpending\t-\t"+stop), all[3])
	require.Len(t, lines("--provider", "recurrente"), 2)
	require.Len(t, lines("--provider", "recurrente,twilio", "--limit", "0"), 4)
	require.Equal(t, bill, last(lines("--outcome", "failed,unmatched")[0]))
	require.Equal(t, stop, last(lines("--outcome", "pending")[0]))
	require.Equal(t, stop, last(lines("--contact", business)[0]))
	require.Len(t, lines("--kind", "intent.succeeded", "--since", "1h"), 1)
	require.Equal(t, []string{""}, lines("--until", "1h"))
	require.Len(t, lines("--limit", "3"), 3)
	code, out, _ := onward(t, db.DSN, "webhooks", "list", "--json", "--outcome", "failed")
	require.Zero(t, code)
	require.Equal(t, bill, objects(t, out)[0]["id"])

	aWorker(t, db.DSN)
	code, out, errs := onward(t, db.DSN, "webhooks", "replay", stop, "--reason", "first run", "--wait")
	require.Zero(t, code, errs)
	require.Contains(t, out, stop+"\tapplied\t1 fact\t-\n")

	code, out, errs = onward(t, db.DSN, "webhooks", "show", stop)
	require.Zero(t, code, errs)
	for _, want := range []string{
		"receipt      " + stop, "from         twilio, inbound_message", "outcome      applied at ", "X-Twilio-Signature: c2lnbmF0dXJl",
		"?m=1&a=1", "MessageSid=SM1&From=%2B50255551234&Body=STOP", "opted_out  business " + business, "contact: pending → unsubscribed (applied)",
		"reply  completed  attempt 1 of 25", "receipt.replay  first run",
	} {
		require.Contains(t, out, want)
	}
	code, out, _ = onward(t, db.DSN, "webhooks", "show", "--json", stop)
	require.Zero(t, code)
	shown := objects(t, out)[0]
	require.Equal(t, "MessageSid=SM1&From=%2B50255551234&Body=STOP", shown["body"])
	require.Len(t, shown["facts"], 1)
	require.Len(t, shown["jobs"], 1)
	code, out, _ = onward(t, db.DSN, "webhooks", "show", odd)
	require.Zero(t, code)
	require.Contains(t, out, "base64: ")
	require.NotContains(t, out, "\x1b")

	for _, wrong := range [][]string{
		{"webhooks"},
		{"webhooks", "frobnicate"},
		{"webhooks", "show"},
		{"webhooks", "show", "x"},
		{"webhooks", "list", "--outcome", "lost"},
		{"webhooks", "list", "--contact", "x"},
		{"webhooks", "list", "--since", "yesterday"},
		{"webhooks", "list", "x"},
		{"webhooks", "list", "--limit", "-1"},
		{"webhooks", "replay"},
		{"webhooks", "replay", stop},
		{"webhooks", "replay", "x", "--reason", "r"},
		{"webhooks", "replay", stop, "--since", "1h", "--reason", "r"},
		{"webhooks", "replay", "--dry-run", "--wait", stop},
	} {
		code, _, errs := onward(t, db.DSN, wrong...)
		require.Equal(t, exitUsage, code, "%v: %s", wrong, errs)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	}
	code, _, errs = onward(t, db.DSN, "webhooks", "show", uuid.NewString())
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "retention")
	for _, verb := range []string{"list", "show", "replay"} {
		code, out, _ = onward(t, db.DSN, "webhooks", verb, "-h")
		require.Zero(t, code)
		require.Contains(t, out, "Examples:")
	}
}

func last(line string) string { return line[strings.LastIndexByte(line, '\t')+1:] }

// A replay changes nothing where the effect stands, says so, and is in the operators' log with its reason.
func TestPromise1_replayChangesNothingWhereTheEffectStands(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	count := func(sql string) (n int) {
		t.Helper()
		require.NoError(t, db.Pool.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}
	business, public := aBusiness(t, db.Pool, "+50255551234")
	ids := []string{
		posted(t, db.Pool, "twilio", "inbound_message", "", "MessageSid=SM1&From=%2B50255551234&Body=Hola", ""),
		posted(t, db.Pool, "twilio", "inbound_message", "", "MessageSid=SM2&From=%2B50255551234&Body=STOP", ""),
	}
	waits := posted(t, db.Pool, "recurrente", "subscription.past_due", "", `{"event_type":"subscription.past_due","id":"su_1","created_at":"2026-10-01T12:00:00Z"}`, "unmatched")
	_, err := db.Pool.Exec(t.Context(), `UPDATE webhook_events SET received_at = received_at - interval '1 hour' WHERE id = $1`, waits)
	require.NoError(t, err)
	idle := posted(t, db.Pool, "recurrente", "checkout.expired", "", "{}", "ignored")

	// Without a worker nothing comes of it, and the command says what is missing.
	code, _, errs := onward(t, db.DSN, "webhooks", "replay", ids[0], "--reason", "r", "--wait", "--timeout", "300ms")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "is a worker running?")

	aWorker(t, db.DSN)
	code, out, errs := onward(t, db.DSN, "webhooks", "replay", "--since", "2h", "--reason", "first", "--wait")
	require.Zero(t, code, errs)
	require.Contains(t, out, "gave 3 receipts to the workers again\nleft 1 receipt alone that no job applies\n")
	require.Contains(t, out, waits+"\tunmatched\tchanged nothing\tnothing known by this key yet\n")
	require.Contains(t, out, "applied 3 receipts: 1 led to 1 fact, the others changed nothing") // the first was given to them before
	facts, transitions := count(`SELECT count(*) FROM facts`), count(`SELECT count(*) FROM transitions`)
	require.Equal(t, 2, facts)

	code, out, errs = onward(t, db.DSN, "webhooks", "replay", ids[0], ids[1], idle, uuid.NewString(), "--reason", "again", "--wait")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "1 receipt not found")
	require.Contains(t, out, ids[0]+"\tapplied\tchanged nothing\t-\n")
	require.Contains(t, out, ids[1]+"\tapplied\tchanged nothing\t-\n")
	require.Equal(t, []int{facts, transitions}, []int{count(`SELECT count(*) FROM facts`), count(`SELECT count(*) FROM transitions`)})
	require.Equal(t, 2, count(`SELECT count(*) FROM operator_actions WHERE action = 'receipt.replay' AND reason = 'again' AND target_type = 'receipt' AND actor LIKE '%@%'`))

	// A site appears: the receipt that waited counts now, and one line says so.
	_, err = db.Pool.Exec(t.Context(), `INSERT INTO sites (public_id, business_id, subscription_id) VALUES (gen_random_uuid(), $1, 'su_1')`, business)
	require.NoError(t, err)
	code, out, errs = onward(t, db.DSN, "webhooks", "replay", "--dry-run", "--outcome", "unmatched")
	require.Zero(t, code, errs)
	require.Contains(t, out, "\tunmatched → applied\tbusiness "+public+" subscription: none → past_due (corrected)")
	require.Contains(t, out, "1 receipt: 0 stand, 1 would differ, with 2 statuses; nothing was changed\n")
	require.Equal(t, facts, count(`SELECT count(*) FROM facts`))
	code, out, errs = onward(t, db.DSN, "webhooks", "replay", "--outcome", "unmatched", "--reason", "the site is there", "--wait", "--json")
	require.Zero(t, code, errs)
	require.Equal(t, map[string]any{"receipt_id": waits, "outcome": "applied", "facts": 1.0, "job_state": "completed"}, without(objects(t, out)[0], "job_id"))
	require.Equal(t, facts+1, count(`SELECT count(*) FROM facts`))

	code, out, errs = onward(t, db.DSN, "webhooks", "replay", "--dry-run", "--since", "7d", "--json")
	require.Zero(t, code, errs)
	require.Contains(t, errs, "4 receipts: 4 stand, 0 would differ")
	for _, o := range objects(t, out) {
		require.Equal(t, true, o["stands"], o)
	}
	code, out, _ = onward(t, db.DSN, "webhooks", "replay", "--dry-run", "--kind", "none.such")
	require.Zero(t, code)
	require.Equal(t, "0 receipts: 0 stand, 0 would differ, with 0 statuses; nothing was changed\n", out)
}

func without(o map[string]any, key string) map[string]any {
	delete(o, key)
	return o
}

func TestErase_command(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	id, public := aBusiness(t, db.Pool, "+50255551234")
	code, _, errs := onward(t, db.DSN, "erase", public)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--reason is missing")
	code, _, errs = onward(t, db.DSN, "erase", uuid.NewString(), "--reason", "asked")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "there is no business")

	// A receipt that is accepted and not applied keeps it waiting, and there is no worker.
	open := posted(t, db.Pool, "twilio", "inbound_message", "sms:+50255551234", "MessageSid=SM1&From=%2B50255551234&Body=STOP", "")
	code, _, errs = onward(t, db.DSN, "erase", public, "--reason", "asked", "--timeout", "1s")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "try again when workers run")
	code, _, errs = onward(t, db.DSN, "erase", public, "--reason", "asked", "--timeout", "1us")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "try again, with a longer --timeout (time-out of 1µs)")

	_, err := db.Pool.Exec(t.Context(), `INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, 'applied')`, open)
	require.NoError(t, err)
	code, out, errs := onward(t, db.DSN, "erase", "--reason", "asked by letter", public)
	require.Zero(t, code, errs)
	require.Equal(t, "erased "+public+": 0 messages, 0 replies and 1 receipt blanked, 0 suppressions kept as hashes\n", out)
	code, out, _ = onward(t, db.DSN, "erase", "--reason", "asked by letter", public)
	require.Zero(t, code)
	require.Contains(t, out, "was erased before")
	b, err := pgstore.BusinessByID(t.Context(), db.Pool, id)
	require.NoError(t, err)
	require.Equal(t, []string{pgstore.Erased, "", ""}, []string{b.Name, b.Phone, b.Email})
	var reason string
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT reason FROM operator_actions WHERE action = 'business.erase' AND target_id = $1`, public).Scan(&reason))
	require.Equal(t, "asked by letter", reason)
	code, out, _ = onward(t, db.DSN, "webhooks", "show", open)
	require.Zero(t, code)
	require.Contains(t, out, "was blanked with the contact")
}

func TestTimeFlag(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"90m": "2026-05-03T10:30:00Z", "7d": "2026-04-26T12:00:00Z", "0s": "2026-05-03T12:00:00Z", "2026-05-01": "2026-05-01T00:00:00Z",
		"2026-05-01T10:00": "2026-05-01T10:00:00Z", "2026-05-01T10:00:00-06:00": "2026-05-01T16:00:00Z",
	} {
		f := timeFlag{now: func() time.Time { return now }}
		require.NoError(t, f.Set(in))
		require.Equal(t, want, f.String(), in)
	}
	for _, in := range []string{"", "yesterday", "-1h", "-2d", "1.5d", "d", "2026-13-01"} {
		require.Error(t, (&timeFlag{}).Set(in), in)
	}
}
