package inbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/web/inbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// patience bounds every wait of a test for what must happen.
const patience = 30 * time.Second

func newDB(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return pgtest.New(t, pgtest.Schema).Pool
}

// bundle is an inbox on a database of the test's own.
type bundle struct {
	*inbox.Inbox
	pool *pgxpool.Pool
}

// setup returns an inbox that is not started, so that a test can fill its queue first; change may be nil.
func setup(t testing.TB, change func(*inbox.Options)) *bundle {
	t.Helper()

	pool := newDB(t)
	opts := inbox.Options{Pool: pool, River: insertOnly(t, pool)}
	if change != nil {
		change(&opts)
	}
	in, err := inbox.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, in.Stop(ctx))
	})
	return &bundle{Inbox: in, pool: pool}
}

func insertOnly(t testing.TB, pool *pgxpool.Pool) *river.Client[pgx.Tx] {
	t.Helper()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return client
}

// started is setup and Start.
func started(t testing.TB, change func(*inbox.Options)) *bundle {
	t.Helper()
	b := setup(t, change)
	b.Start()
	return b
}

func status(n int) inbox.Receipt {
	key := fmt.Sprintf("ts:SM%d:delivered", n)
	return inbox.Receipt{
		Provider:   jobs.ProviderTwilio,
		Kind:       jobs.KindMessageStatus,
		Query:      fmt.Sprintf("m=%d&a=1", n),
		Headers:    []inbox.Header{{Name: "Content-Type", Values: []string{"application/x-www-form-urlencoded"}}},
		Body:       []byte(key),
		DedupeKey:  key,
		ContactKey: fmt.Sprintf("sms:+1555%07d", n),
	}
}

func stop(n int, address string) inbox.Receipt {
	return inbox.Receipt{
		Provider:   jobs.ProviderTwilio,
		Kind:       jobs.KindInboundMessage,
		Body:       []byte("Body=STOP"),
		DedupeKey:  fmt.Sprintf("ti:SM%d", n),
		Hold:       &inbox.Hold{Channel: jobs.ChannelSMS, Address: address},
		ContactKey: "sms:" + address,
	}
}

// answer is what Accept returned.
type answer struct {
	id     uuid.UUID
	result inbox.Result
	err    error
}

// acceptAll accepts all receipts at the same time and returns when each is answered.
func (b *bundle) acceptAll(ctx context.Context, receipts []inbox.Receipt) []answer {
	answers, wait := b.acceptAsync(ctx, receipts)
	wait()
	return answers
}

// acceptAsync begins to accept all receipts; the answers may be read after wait.
func (b *bundle) acceptAsync(ctx context.Context, receipts []inbox.Receipt) (answers []answer, wait func()) {
	answers = make([]answer, len(receipts))
	var all sync.WaitGroup
	for n, r := range receipts {
		all.Go(func() {
			answers[n].id, answers[n].result, answers[n].err = b.Accept(ctx, r)
		})
	}
	return answers, all.Wait
}

func (b *bundle) waitQueued(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return b.Len() == n }, patience, time.Millisecond)
}

func (b *bundle) count(t testing.TB, sql string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+sql, args...).Scan(&n))
	return n
}

func (b *bundle) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// blocked finds the transactions that wait for a lock.
const blocked = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

// waitBlocked returns once at least n transactions wait for a lock.
func (b *bundle) waitBlocked(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return b.count(t, blocked) >= n }, patience, time.Millisecond)
}

// block runs a statement in a transaction that stays open, and with it the statement's locks, until release is called.
func (b *bundle) block(t testing.TB, sql string, args ...any) (release func()) {
	t.Helper()
	tx, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	release = func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }
	t.Cleanup(release) // a test that failed must not keep its connection
	_, err = tx.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	return release
}

// requireWhole checks promise 1 for what is stored now: n receipts, each with one job or one outcome.
func (b *bundle) requireWhole(t testing.TB, n int) {
	t.Helper()
	require.Equal(t, n, b.count(t, "webhook_events"), "receipts")
	require.Equal(t, n, b.count(t, "river_job")+b.count(t, "receipt_outcomes"), "jobs and outcomes")
	require.Zero(t, b.count(t, `webhook_events e WHERE 1 <> (
		SELECT count(*) FROM (
			SELECT 1 FROM river_job WHERE args->>'receipt_id' = e.id::text
			UNION ALL
			SELECT 1 FROM receipt_outcomes WHERE receipt_id = e.id
		) AS followed
	)`), "receipts without exactly one job or outcome")
}

func tally(answers []answer) map[inbox.Result]int {
	n := map[inbox.Result]int{}
	for _, a := range answers {
		n[a.result]++ // 0: an error
	}
	return n
}
