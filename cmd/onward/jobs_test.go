package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/jobs/provider/providersim"
)

const (
	twilioToken = "0123456789abcdef0123456789abcdef"
	hooksURL    = "https://hooks.example.test"
)

// aWeb takes webhooks until the test ends, and works nothing.
func aWeb(t *testing.T, dsn string) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), app.Options{
		Role: app.RoleWeb, Logger: slog.New(slog.DiscardHandler), Version: "test", Config: app.Config{
			DatabaseURL: dsn, PublicAddr: "127.0.0.1:0", PrivateAddr: "127.0.0.1:0", PublicURL: hooksURL, SecretKey: app.Secret(strings.Repeat("k", 32)),
			TwilioAuthToken: twilioToken, UnknownSends: "hold", QuietHours: "off", LogFormat: "text", LogLevel: "info",
		},
	})
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return a
}

// undelivered posts, for each message in the table, that it was not delivered.
func undelivered(t *testing.T, a *app.App, pool *pgxpool.Pool) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT provider_sid FROM messages`)
	require.NoError(t, err)
	var sids []string
	for rows.Next() {
		var sid string
		require.NoError(t, rows.Scan(&sid))
		sids = append(sids, sid)
	}
	require.NoError(t, rows.Err())
	var wg sync.WaitGroup
	const parts = 8
	for part := range parts {
		wg.Go(func() {
			for i := part; i < len(sids); i += parts {
				const path = "/webhooks/twilio/status"
				form := url.Values{"MessageSid": {sids[i]}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.PublicAddr()+path, strings.NewReader(form.Encode()))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				req.Header.Set("X-Twilio-Signature", providersim.SignTwilio(twilioToken, hooksURL+path, form))
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusNoContent {
					t.Errorf("callback answered %d", res.StatusCode)
				}
			}
		})
	}
	wg.Wait()
}

func countOf(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// An outage discards 200 jobs. They are one group; a dry run says 200; they are put back at 50 a second, all are applied
// once, and the operators' log tells who did it and why.
func TestJobs_requeueAfterAnOutage(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	const n = 200
	_, err := db.Pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+1202556' || lpad(i::text, 4, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || id, now() FROM b`, n)
	require.NoError(t, err)
	undelivered(t, aWeb(t, db.DSN), db.Pool)
	_, err = db.Pool.Exec(t.Context(), `UPDATE river_job SET max_attempts = 1`)
	require.NoError(t, err)
	_, err = db.Pool.Exec(t.Context(), `ALTER TABLE facts RENAME TO facts_away`)
	require.NoError(t, err)
	aWorker(t, db.DSN)
	discarded := func() int {
		return countOf(t, db.Pool, `SELECT count(*) FROM river_job WHERE kind = 'status_callback' AND state = 'discarded'`)
	}
	require.Eventually(t, func() bool { return discarded() == n }, time.Minute, 10*time.Millisecond)
	_, err = db.Pool.Exec(t.Context(), `ALTER TABLE facts_away RENAME TO facts`)
	require.NoError(t, err)

	code, out, errs := onward(t, db.DSN, "jobs", "list", "--group", "--kind", "status_callback", "--json")
	require.Zero(t, code, errs)
	groups := objects(t, out)
	require.Len(t, groups, 1, out)
	require.InDelta(t, n, groups[0]["count"], 0)
	require.Contains(t, groups[0]["text"], `relation "…" does not exist (SQLSTATE 42P01)`)
	print, ok := groups[0]["fingerprint"].(string)
	require.True(t, ok)

	code, out, errs = onward(t, db.DSN, "jobs", "retry", "--fingerprint", print, "--dry-run")
	require.Zero(t, code, errs)
	require.Equal(t, "200 jobs matched: 200 would be retried, 0 left\n", out)
	require.Equal(t, n, discarded(), "a dry run changes nothing")
	require.Zero(t, countOf(t, db.Pool, `SELECT count(*) FROM operator_actions`))

	begun := time.Now()
	code, out, errs = onward(t, db.DSN, "jobs", "retry", "--fingerprint", print, "--rate", "50", "--reason", "facts was away")
	require.Zero(t, code, errs)
	require.Equal(t, "200 jobs matched: 200 retried, 0 left\n", out)
	require.GreaterOrEqual(t, time.Since(begun), 3900*time.Millisecond, "200 at 50 a second")

	require.Eventually(t, func() bool {
		return countOf(t, db.Pool, `SELECT count(*) FROM river_job WHERE kind = 'status_callback' AND state = 'completed'`) == n
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, n, countOf(t, db.Pool, `SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
	require.Equal(t, n, countOf(t, db.Pool, `SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, n, countOf(t, db.Pool, `SELECT count(*) FROM transitions WHERE to_status = 'bounced' AND verdict = 'applied'`))
	require.Equal(t, n, countOf(t, db.Pool, `SELECT count(*) FROM businesses WHERE contact_status = 'bounced'`))

	var actor, action, reason string
	var details []byte
	var id int64
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT id, actor, action, reason, details FROM operator_actions`).Scan(&id, &actor, &action, &reason, &details))
	require.Equal(t, []string{localActor(), "jobs.retry", "facts was away"}, []string{actor, action, reason})
	var told struct {
		Matched, Done, Refused int
		Filter                 struct{ Fingerprint string }
	}
	require.NoError(t, json.Unmarshal(details, &told))
	require.Equal(t, []int{n, n, 0}, []int{told.Matched, told.Done, told.Refused})
	require.Equal(t, print, told.Filter.Fingerprint)
	require.Equal(t, n, countOf(t, db.Pool, `SELECT count(*) FROM river_job WHERE (metadata ->> 'onward_action')::bigint = $1`, id))
}

func TestJobs_usage(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say list, show, retry or cancel"},
		{[]string{"destroy"}, `no verb "destroy"`},
		{[]string{"retry", "--kind", "send"}, "--reason is missing"},
		{[]string{"retry", "--reason", "x"}, "the filter is empty"},
		{[]string{"retry", "--reason", "x", "--state", "running"}, "a job that is running cannot be retried"},
		{[]string{"list", "--state", "dead"}, `has no "dead"`},
		{[]string{"list", "--since", "soon"}, "is no time"},
		{[]string{"list", "--id", "x"}, `"x" is no job's id`},
		{[]string{"cancel", "--reason", "x", "17"}, "name jobs by --id"},
		{[]string{"show"}, "say the id"},
	} {
		code, _, errs := onward(t, db.DSN, append([]string{"jobs"}, c.args...)...)
		require.Equal(t, exitUsage, code, c.args)
		require.Contains(t, errs, c.want)
	}
	code, _, errs := onward(t, db.DSN, "jobs", "show", "4711")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no such job")
	for _, verb := range [][]string{{"-h"}, {"list", "-h"}, {"show", "-h"}, {"retry", "-h"}, {"cancel", "-h"}} {
		code, out, _ := onward(t, db.DSN, append([]string{"jobs"}, verb...)...)
		require.Zero(t, code)
		require.Contains(t, out, "Examples:")
	}
}

func TestJobs_listAndShow(t *testing.T) { //nolint:paralleltest // sets the environment
	db := pgtest.New(t, pgtest.Schema)
	var id int64
	require.NoError(t, db.Pool.QueryRow(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'Test') RETURNING id
		), m AS (
			INSERT INTO messages (public_id, business_id, channel, address, body, state)
			SELECT '01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11', id, 'email', 'a@example.test', '', 'held' FROM b RETURNING id
		)
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, finalized_at, errors)
		SELECT 'send', 'send_email', 'discarded', jsonb_build_object('message_id', id, 'channel', 'email'), 25, 25, now(),
			ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'error', E'broken\x1b[2J', 'trace', '')]
		FROM m RETURNING id`).Scan(&id))
	code, out, errs := onward(t, db.DSN, "jobs", "list", "--queue", "send_email")
	require.Zero(t, code, errs)
	require.Contains(t, out, "\tdiscarded\tsend\tsend_email\t25/25\t")
	require.Contains(t, out, `broken\x1b[2J`, "what a terminal would obey is written out")
	code, out, errs = onward(t, db.DSN, "jobs", "show", "1", "--json")
	require.Zero(t, code, errs)
	require.Equal(t, "held", objects(t, out)[0]["message_state"])
	code, out, errs = onward(t, db.DSN, "jobs", "show", "1")
	require.Zero(t, code, errs)
	require.Contains(t, out, "01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11, held")

	// What may have been sent is not sent again: that is said, with what to do.
	code, out, errs = onward(t, db.DSN, "jobs", "retry", "--id", "1", "--reason", "try")
	require.Zero(t, code, errs)
	require.Contains(t, out, "1 job matched: 0 retried, 1 left\n  job 1 left: message 01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11 is held: it may have been sent.")
	code, out, errs = onward(t, db.DSN, "jobs", "cancel", "--queue", "send_email", "--reason", "x", "--json")
	require.Zero(t, code, errs)
	require.InDelta(t, 0, objects(t, out)[0]["matched"], 0)
}
