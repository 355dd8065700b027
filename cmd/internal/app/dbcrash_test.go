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

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/lifecycle/pgstore"
)

// The database server is killed with SIGKILL, twice, while callbacks pour in and are applied. A callback that was answered
// 204 is there after each restart and applied exactly once; every other one was answered 503 and may be posted again.
// Nobody restarts web or worker.
func TestPromise1_databaseKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.ServerOptions{Fsync: true})
	dsn := server.DSN("postgres")
	require.NoError(t, pgtest.Schema(t.Context(), dsn))
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := start(t, func(o *app.Options) {
		o.Config.DatabaseURL = dsn
		o.Logger = slog.New(slog.DiscardHandler) // a dead database is told of in many lines
	}, nil)
	count := func(sql string, args ...any) (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
		return n
	}

	const n = 4000
	_, err = pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+1202556' || lpad(i::text, 4, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || id, now() FROM b`, n)
	require.NoError(t, err)
	first := count(`SELECT min(id) FROM businesses`)

	// post delivers one callback until it is accepted, as a provider that retries does.
	var accepted, refused atomic.Int64
	post := func(sid string) {
		for {
			code := s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {sid}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}})
			if code == http.StatusNoContent {
				accepted.Add(1)
				return
			}
			if code != http.StatusServiceUnavailable {
				t.Errorf("%s was answered %d", sid, code)
				return
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
				post(fmt.Sprintf("SM%d", first+int(i)))
			}
		})
	}
	for _, share := range []int64{n / 4, n / 2} {
		s.eventually("the load goes on", func() bool { return accepted.Load() >= share })
		require.NoError(t, server.Kill())
		require.Less(t, accepted.Load(), int64(n), "the server was killed too late to prove anything")
		refusedBefore := refused.Load()
		s.eventually("who posts is told that nothing is accepted", func() bool { return refused.Load() > refusedBefore+32 })
		require.NoError(t, server.Restart(t.Context()))
	}
	clients.Wait()
	require.EqualValues(t, n, accepted.Load())

	// Jobs that were fetched when the server died are nobody's: they are found and put back.
	require.Eventually(t, func() bool {
		var done int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM receipt_outcomes`).Scan(&done)
		return err == nil && done >= n
	}, 2*time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		var open int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE kind = 'status_callback' AND state <> 'completed'`).Scan(&open)
		return err == nil && open == 0
	}, 2*time.Minute, 50*time.Millisecond)

	require.Equal(t, n, count(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, n, count(`SELECT count(*) FROM transitions WHERE axis = 'contact' AND to_status = 'bounced' AND verdict = 'applied'`))
	require.Equal(t, n, count(`SELECT count(*) FROM businesses WHERE contact_status = 'bounced'`))
	require.Equal(t, n, count(`SELECT count(*) FROM messages WHERE state = 'undelivered'`))
	violations, err := pgstore.CheckInvariants(t.Context(), pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, v := range violations {
		require.Zero(t, v.Count, "%s: %v", v.Invariant, v.Examples)
	}
}
