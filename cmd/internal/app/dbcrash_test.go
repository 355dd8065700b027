package app_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
	"onward/lifecycle/pgstore"
)

// mortalDatabase is on a durable server of its own, which the test may kill and restart.
func mortalDatabase(t *testing.T) *pgtest.DB {
	t.Helper()
	server := pgtest.NewServer(t, pgtest.ServerOptions{Fsync: true})
	dsn := server.DSN("postgres")
	require.NoError(t, pgtest.Schema(t.Context(), dsn))
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &pgtest.DB{Pool: pool, DSN: dsn, Server: server}
}

// The database server is killed with SIGKILL, twice, while callbacks pour in and are applied. A callback that was answered
// 204 is there after each restart and applied exactly once; every other one was answered 503 and may be posted again.
// Nobody restarts web or worker.
func TestPromise1_databaseKilledUnderLoad(t *testing.T) {
	t.Parallel()
	db := mortalDatabase(t)
	s := startOn(t, db, func(o *app.Options) {
		o.Logger = slog.New(slog.DiscardHandler) // a dead database is told of in many lines
	}, nil)

	const n = 4000
	_, err := db.Pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+1202556' || lpad(i::text, 4, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || id, now() FROM b`, n)
	require.NoError(t, err)
	first := s.count(`SELECT min(id) FROM businesses`)

	// post delivers one callback until it is accepted, as a provider that retries does.
	var accepted, refused atomic.Int64
	var killed atomic.Bool // twice
	post := func(sid string) bool {
		for {
			code := s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {sid}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}})
			if code == http.StatusNoContent {
				return true
			}
			if code != http.StatusServiceUnavailable {
				t.Errorf("%s was answered %d", sid, code)
				return false
			}
			refused.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	}
	var clients sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		clients.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				sid := fmt.Sprintf("SM%d", first+int(i))
				if !post(sid) {
					return
				}
				accepted.Add(1)
				// The load goes on until the server was killed twice, however late this test comes to that: by repeats.
				for i >= n*3/4 && !killed.Load() && post(sid) {
				}
			}
		})
	}
	for _, share := range []int64{n / 4, n / 2} {
		s.eventually("the load goes on", func() bool { return accepted.Load() >= share })
		require.NoError(t, db.Server.Kill())
		require.Less(t, accepted.Load(), int64(n), "the server was killed too late to prove anything")
		refusedBefore := refused.Load()
		s.eventually("who posts is told that nothing is accepted", func() bool { return refused.Load() > refusedBefore+32 })
		require.NoError(t, db.Server.Restart(t.Context()))
	}
	killed.Store(true)
	clients.Wait()
	require.EqualValues(t, n, accepted.Load())

	// Jobs that were fetched when the server died are nobody's: they are found and put back.
	s.progresses("every receipt is applied", func() (open int, err error) {
		err = db.Pool.QueryRow(t.Context(), `SELECT greatest($1 - count(*), 0) FROM receipt_outcomes`, n).Scan(&open)
		return open, err
	})
	s.progresses("every job is completed", func() (open int, err error) {
		err = db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE kind = 'status_callback' AND state <> 'completed'`).Scan(&open)
		return open, err
	})

	require.Equal(t, n, s.count(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM transitions WHERE axis = 'contact' AND to_status = 'bounced' AND verdict = 'applied'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM businesses WHERE contact_status = 'bounced'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM messages WHERE state = 'undelivered'`))
	violations, err := pgstore.CheckInvariants(t.Context(), db.Pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, v := range violations {
		require.Zero(t, v.Count, "%s: %v", v.Invariant, v.Examples)
	}
}

// The database server is killed while a campaign is sent. Whoever may have got a text gets no second one: what the
// database forgot to hear is found out from callbacks and at the provider, and what can't be found out waits for an operator.
// So are texts whose callbacks the provider gave up on, which it does where the database is away for six seconds.
func TestPromise3_databaseKilledWhileSending(t *testing.T) {
	t.Parallel()
	db := mortalDatabase(t)
	s := startOn(t, db, func(o *app.Options) {
		o.Logger = slog.New(slog.DiscardHandler)
		tune := o.Tune
		o.Tune = func(w *worker.Options) {
			tune(w)
			w.PollAfter, w.PollsPerMinute = []time.Duration{10 * time.Second, time.Hour}, 10_000
		}
	}, func(o *providersim.Options) {
		o.LatencyMin, o.LatencyMax = 5*time.Millisecond, 20*time.Millisecond
	})
	const n = 600
	s.contacts("crash", n)
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO senders (channel, address, per_second) VALUES ('sms', $1, 100000)`, from)
	require.NoError(t, err)
	// A quarter may not go out before both kills, however late this test comes to them: a receipt from each is still to be read.
	_, err = db.Pool.Exec(t.Context(), `
		INSERT INTO inbound_pending (receipt_id, channel, address)
		SELECT gen_random_uuid(), 'sms', phone FROM businesses ORDER BY id DESC LIMIT $1`, n/4)
	require.NoError(t, err)
	s.launch("crash", "Hello {{.Name}}", 0)
	for _, outage := range []struct {
		behind int // texts
		lasts  time.Duration
	}{
		{n / 5, 100 * time.Millisecond}, // calls under way end, and what they came to can't be stored
		{n / 2, 7 * time.Second},        // and the provider has posted the last callbacks as often as it does
	} {
		s.eventually("texts leave", func() bool { return len(s.sim.Calls()) >= outage.behind })
		require.NoError(t, db.Server.Kill())
		require.Less(t, len(s.sim.Calls()), n, "the server was killed too late to prove anything")
		time.Sleep(outage.lasts)
		require.NoError(t, db.Server.Restart(t.Context()))
	}
	require.Eventually(t, func() bool {
		_, err := db.Pool.Exec(t.Context(), `DELETE FROM inbound_pending`)
		return err == nil
	}, patience, 50*time.Millisecond)
	client, err := river.NewClient(riverpgxv5.New(db.Pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	var polled time.Time
	s.progresses("every message is settled", func() (open int, err error) {
		if time.Since(polled) > 2*time.Second { // the fleet's own poll comes once a minute
			if _, err := client.Insert(t.Context(), jobs.PollMessagesArgs{}, nil); err != nil {
				return 0, err
			}
			polled = time.Now()
		}
		err = db.Pool.QueryRow(t.Context(), `
			SELECT count(*) FROM messages WHERE state IN ('queued', 'dispatching', 'unknown', 'accepted', 'sending', 'sent')`).Scan(&open)
		return open, err
	})

	calls := map[string]int{}
	for _, c := range s.sim.Calls() {
		calls[c.To]++
		require.Equal(t, 1, calls[c.To], "calls for %s", c.To)
	}
	delivered, held := s.count(`SELECT count(*) FROM messages WHERE state = 'delivered'`), s.count(`SELECT count(*) FROM messages WHERE state = 'held'`)
	t.Logf("%d calls, %d delivered, %d held", len(calls), delivered, held)
	require.Equal(t, n, delivered+held)
	require.Equal(t, len(calls), delivered, "every text that left is known to have arrived")
	rows, err := db.Pool.Query(t.Context(), `SELECT address FROM messages WHERE state = 'held'`)
	require.NoError(t, err)
	addresses, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, to := range addresses {
		require.Zero(t, calls[to], "held, though there was evidence")
	}
}
