package webhook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/web/inbox"
)

// stored is the endpoints on a real inbox.
type stored struct {
	http.Handler
	inbox *inbox.Inbox
	pool  *pgxpool.Pool
}

func setupStored(t testing.TB) *stored {
	t.Helper()
	pool := pgtest.New(t, pgtest.Schema).Pool
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	in, err := inbox.New(inbox.Options{Pool: pool, River: client})
	require.NoError(t, err)
	in.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, in.Stop(ctx))
	})
	return &stored{Handler: routes(t, options(in)), inbox: in, pool: pool}
}

func (s *stored) count(t testing.TB, table string) int {
	t.Helper()
	var n int
	require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func TestStored_nothingThatIsRefused(t *testing.T) {
	t.Parallel()

	s := setupStored(t)
	for provider, refusals := range allRefusals() {
		for _, refused := range refusals {
			require.Equalf(t, refused.status, do(s, refused.request(t)).Code, "%s: %s", provider, refused.name)
		}
	}
	require.Zero(t, s.count(t, "webhook_events"))
	require.Zero(t, s.count(t, "river_job"))
	require.Zero(t, s.count(t, "inbound_pending"))
}

func TestPromise1_everyKnownPayloadIsStoredOnceWithItsJobOrItsOutcome(t *testing.T) {
	t.Parallel()

	s := setupStored(t)
	var requests []func() *http.Request
	keys := map[string]bool{}
	add := func(key string, request func() *http.Request) {
		keys[key] = true
		requests = append(requests, request)
	}
	for _, sample := range load[sample](t, "twilio_status.json") {
		body := sample.text(t)
		key := "status " + body
		if params, err := url.ParseQuery(body); err == nil && params.Has("MessageSid") {
			status := params.Get("MessageStatus")
			if status == "" {
				status = params.Get("SmsStatus")
			}
			key = "status " + params.Get("MessageSid") + status
		}
		add(key, func() *http.Request { return twilio(t, statusPath+"?m=1&a=1", body) })
	}
	for _, sample := range load[sample](t, "twilio_inbound.json") {
		body := sample.text(t)
		params, err := url.ParseQuery(body)
		require.NoError(t, err)
		add("inbound "+params.Get("MessageSid"), func() *http.Request { return twilio(t, inboundPath, body) })
	}
	for n, sample := range load[sample](t, "recurrente.json") {
		id := "msg_rc" + strings.Repeat("x", n)
		add(id, func() *http.Request { return svix(recurrentePath, rcSecret, id, now, sample.text(t)) })
	}
	for n, sample := range load[sample](t, "resend.json") {
		id := "msg_rs" + strings.Repeat("x", n)
		add(id, func() *http.Request { return svix(resendPath, rsSecret, id, now, sample.text(t)) })
	}

	// Twice: providers repeat themselves.
	for range 2 {
		for _, request := range requests {
			require.Less(t, do(s, request()).Code, 300)
		}
		require.Equal(t, len(keys), s.count(t, "webhook_events"))
		require.Equal(t, len(keys), s.count(t, "river_job")+s.count(t, "receipt_outcomes"))
	}
	require.Equal(t, 4, s.count(t, "receipt_outcomes WHERE outcome = 'ignored'"), "pending charges, setup intents, a contact")
	require.Equal(t, s.count(t, "webhook_events WHERE kind IN ('inbound_message', 'email.complained')"), s.count(t, "inbound_pending"))
	require.Equal(t, 1, s.count(t, "inbound_pending WHERE channel = 'email' AND address = 'someone@example.com'"))
}

func TestPromise6_stoppedInboxIs503AndStoresNothing(t *testing.T) {
	t.Parallel()

	s := setupStored(t)
	require.NoError(t, s.inbox.Stop(t.Context()))
	for _, r := range wellSigned(t) {
		w := do(s, r)
		require.Equal(t, 503, w.Code)
		require.NotEmpty(t, w.Header().Get("Retry-After"))
	}
	require.Zero(t, s.count(t, "webhook_events"))
}
