package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertest"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/jobs/provider/providersim"
	"onward/jobs/provider/twilio"
	"onward/jobs/recipienttime"
	"onward/jobs/tracktoken"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const (
	testAccount = "AC00000000000000000000000000000001"
	testToken   = "0123456789abcdef0123456789abcdef"
	testFrom    = "+15005550006"
	// patience bounds every wait for what must happen.
	patience = 30 * time.Second
)

// bundle is a sender on a database of its own, with Twilio played over HTTP.
type bundle struct {
	testing.TB
	ctx  context.Context // has River's client, as in a worker
	pool *pgxpool.Pool
	sim  *providersim.Sim
	s    *sender
	a    *applier
}

func setup(t testing.TB, tune func(*Options)) *bundle {
	t.Helper()
	return setupOn(t, pgtest.New(t, pgtest.Schema).Pool, tune)
}

// setupOn is setup with a database that the test has made.
func setupOn(t testing.TB, pool *pgxpool.Pool, tune func(*Options)) *bundle {
	t.Helper()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	// Callbacks are somebody else's test: here they are taken and forgotten.
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(sink.Close)
	sim, err := providersim.New(providersim.Options{AccountSID: testAccount, AuthToken: testToken, PublicURL: sink.URL, LatencyMax: time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, sim.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, sim.Stop(context.Background())) })
	sms := newTwilio(t, sim.TwilioURL())
	tokens, err := tracktoken.New([]string{strings.Repeat("k", 32)})
	require.NoError(t, err)
	always, err := recipienttime.ParseWindow("off")
	require.NoError(t, err)
	o := Options{
		Pool: pool, Logger: slog.New(slog.DiscardHandler), Clock: time.Now, SMS: sms, SMSLookup: sms, SMSFrom: testFrom,
		PublicURL: sink.URL, Tokens: tokens, QuietHours: always, UnknownSends: UnknownHold, RecurrenteLive: true,
		ReconcileAfter: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}, SMSPerSecond: 1e6,
	}
	require.NoError(t, o.setDefaults())
	if tune != nil {
		tune(&o)
	}
	b := &bundle{TB: t, ctx: rivertest.WorkContext(t.Context(), client), pool: pool, sim: sim, a: newApplier(o)}
	b.newWorker(o)
	return b
}

// newWorker lets a worker that starts anew do what comes next. It is patient where a real one must not be: a call that
// can't begin soon, or in its slot, has tests of its own.
func (b *bundle) newWorker(o Options) {
	b.s = newSender(o, recipienttime.NewZones(nil))
	b.s.startWithin, b.s.missedAfter = patience, patience
}

// stopClock lets the database's clock stand still, for what is not older than the call: what it says is then what a test made
// it say, however long the test takes. It returns what moves the clock on.
func (b *bundle) stopClock() (move func(time.Duration)) {
	b.Helper()
	b.exec(`CREATE SCHEMA stopped`)
	b.exec(`CREATE TABLE stopped.clock AS SELECT pg_catalog.now() AS at`)
	for _, f := range []string{"now", "clock_timestamp"} {
		b.exec(`CREATE FUNCTION stopped.` + f + `() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM stopped.clock'`)
	}
	b.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = stopped, pg_catalog, public', current_database()); END $$`)
	b.pool.Reset() // to sessions that look there first
	return func(d time.Duration) {
		b.Helper()
		b.exec(`UPDATE stopped.clock SET at = at + make_interval(secs => $1)`, d.Seconds())
	}
}

func newTwilio(t testing.TB, base string) *twilio.Client {
	t.Helper()
	c, err := twilio.New(twilio.Options{AccountSID: testAccount, AuthToken: testToken, From: testFrom, BaseURL: base, Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// campaign inserts one that is sending.
func (b *bundle) campaign(channel string) (id int64) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status)
		VALUES ($1, 'Test', $2, 'Hello', '{}', 'sending') RETURNING id`, uuid.Must(uuid.NewV7()), channel).Scan(&id))
	return id
}

// message inserts a business and a queued message to it; campaign 0 is none.
func (b *bundle) message(campaign int64, channel, address string) (message, business int64) {
	b.Helper()
	column := map[string]string{jobs.ChannelSMS: "phone", jobs.ChannelEmail: "email"}[channel]
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		INSERT INTO businesses (public_id, name, `+column+`) VALUES ($1, 'Test', $2) RETURNING id`, uuid.Must(uuid.NewV7()), address).Scan(&business))
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body)
		VALUES ($1, NULLIF($2, 0), $3, $4, $5, 'Hello ' || gen_random_uuid()) RETURNING id`, uuid.Must(uuid.NewV7()), campaign, business, channel, address).Scan(&message))
	return message, business
}

// send runs the message's job once, as a worker would.
func (b *bundle) send(message int64, channel string) error {
	b.Helper()
	return b.s.workSend(b.ctx, &river.Job[jobs.SendArgs]{
		JobRow: &rivertype.JobRow{ID: 1, Attempt: 1, MaxAttempts: 25}, Args: jobs.SendArgs{MessageID: message, Channel: channel},
	})
}

// reconcile runs the search for evidence until it ends.
func (b *bundle) reconcile(message int64) {
	b.Helper()
	for range 20 {
		var attempt int
		require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT attempt FROM messages WHERE id = $1`, message).Scan(&attempt))
		err := b.s.workReconcile(b.ctx, &river.Job[jobs.ReconcileArgs]{
			JobRow: &rivertype.JobRow{ID: 2}, Args: jobs.ReconcileArgs{MessageID: message, Attempt: attempt},
		})
		var snooze *river.JobSnoozeError
		if !errors.As(err, &snooze) {
			require.NoError(b, err)
			return
		}
	}
	b.Fatal("the search for evidence does not end")
}

// state reads a message's state and reason.
func (b *bundle) state(message int64) (state, reason string) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT state, COALESCE(reason, '') FROM messages WHERE id = $1`, message).Scan(&state, &reason))
	return state, reason
}

func (b *bundle) contactStatus(business int64) (status string) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT contact_status FROM businesses WHERE id = $1`, business).Scan(&status))
	return status
}

// calls counts the provider calls to an address.
func (b *bundle) calls(address string) int {
	n := 0
	for _, c := range b.sim.Calls() {
		if c.To == address {
			n++
		}
	}
	return n
}

// requireSound checks what must hold whatever happened: no dispatch is open for a settled message, and counters are
// the counts.
func (b *bundle) requireSound() {
	b.Helper()
	var bad int
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		SELECT count(*) FROM messages m LEFT JOIN dispatches d ON d.message_id = m.id
		WHERE (m.state IN ('dispatching', 'unknown', 'held')) <> (d.message_id IS NOT NULL)`).Scan(&bad))
	require.Zero(b, bad, "messages whose dispatch does not fit their state")
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		SELECT count(*) FROM (
			SELECT campaign_id, state, sum(n) AS n FROM campaign_counters WHERE state NOT LIKE 'skipped%' GROUP BY 1, 2
		) c FULL JOIN (
			SELECT campaign_id, state, count(*) AS n FROM messages WHERE campaign_id IS NOT NULL GROUP BY 1, 2
		) m USING (campaign_id, state)
		WHERE COALESCE(c.n, 0) <> COALESCE(m.n, 0)`).Scan(&bad))
	require.Zero(b, bad, "counters that are not the counts")
}

// awaitLock waits until somebody waits for a lock.
func (b *bundle) awaitLock() {
	b.Helper()
	require.Eventually(b, func() bool {
		return b.number(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) > 0
	}, patience, time.Millisecond)
}

// inTx runs fn in a transaction that is committed.
func (b *bundle) inTx(fn func(pgx.Tx) error) {
	b.Helper()
	require.NoError(b, pgx.BeginFunc(b.ctx, b.pool, fn))
}

// receipt stores a raw request of Twilio's.
func (b *bundle) receipt(kind string, at time.Time, body string) uuid.UUID {
	b.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := b.pool.Exec(b.ctx, `
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
		VALUES ($1, 'twilio', $2, '{}', $3, $5, $4)`, id, kind, []byte(body), at, id.String())
	require.NoError(b, err)
	return id
}

// apply runs a receipt's job once.
func (b *bundle) apply(id uuid.UUID, fn func(context.Context, pgx.Tx, receipt) (result, error)) {
	b.Helper()
	require.NoError(b, b.a.apply(b.ctx, &rivertype.JobRow{ID: 3, Attempt: 1, MaxAttempts: 25}, jobs.ReceiptArgs{ReceiptID: id.String()}, fn))
}
