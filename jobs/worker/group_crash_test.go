package worker

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
)

// mortality is what a test does to a server of its own.
type mortality interface {
	Kill() error
	Restart(ctx context.Context) error
}

// mortal is setup on a server of its own, which the test may kill. What is committed is with the operating system by then:
// nothing here takes that away.
func mortal(t *testing.T) (*bundle, mortality) {
	t.Helper()
	server := pgtest.NewServer(t, pgtest.ServerOptions{})
	dsn := server.DSN("postgres")
	require.NoError(t, pgtest.Schema(t.Context(), dsn))
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := setupOn(t, pool, nil)
	// A commit that brought a row of these waits for whoever has the lock.
	b.exec(`CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$`)
	for _, table := range []string{"dispatches", "facts"} {
		b.exec(`CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON ` + table + ` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()`)
	}
	return b, server
}

// holdAtCommit holds up every commit of a row of dispatches or facts.
const holdAtCommit = `SELECT pg_advisory_xact_lock(42)`

// killedIn kills the server while what run does waits for what hold locks, starts it anew, and waits for run to end.
func (b *bundle) killedIn(server mortality, hold string, run func()) {
	b.Helper()
	tx, err := b.pool.Begin(b.ctx)
	require.NoError(b, err)
	_, err = tx.Exec(b.ctx, hold)
	require.NoError(b, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run()
	}()
	b.awaitLock()
	require.NoError(b, server.Kill())
	_ = tx.Rollback(context.WithoutCancel(b.ctx))
	require.NoError(b, server.Restart(b.ctx))
	<-ended
	b.pool.Reset()
	require.Eventually(b, func() bool { return b.pool.Ping(b.ctx) == nil }, patience, 10*time.Millisecond)
}

// The database server is killed at each step of groups of sends. Run again, as River would, every job ends with its message
// called once: what was not decided is decided then, and what was called is found at the provider where its outcome is lost.
func TestPromise3_databaseKilledInTheMiddleOfGroupedSends(t *testing.T) {
	t.Parallel()
	b, server := mortal(t)
	const n = 40
	for i, step := range []struct{ name, hold string }{
		{"slots", `SELECT 1 FROM senders FOR UPDATE`},
		{"decisions", `SELECT 1 FROM messages FOR UPDATE`},
		{"commit of decisions", holdAtCommit},
		{"outcomes", `SELECT 1 FROM businesses FOR UPDATE`},
	} {
		messages, addresses := b.queuedTexts(b.campaign(jobs.ChannelSMS), n)
		b.killedIn(server, step.hold, func() { b.sendTogether(messages) })
		for _, err := range b.sendTogether(messages) {
			require.NoError(t, err, step.name)
		}
		unknown := 0
		for _, m := range messages {
			if state, _ := b.state(m); state == "unknown" {
				unknown++
				b.reconcile(m)
			}
			state, reason := b.state(m)
			require.Equal(t, "accepted", state, "%s: %s", step.name, reason)
		}
		t.Logf("%s: the outcomes of %d of %d calls were lost, and found", step.name, unknown, n)
		for _, to := range addresses {
			require.Equal(t, 1, b.calls(to), step.name)
		}
		require.Equal(t, n*(i+1), b.number(`SELECT count(*) FROM facts WHERE event = 'sms_sent'`), step.name)
		b.requireSound()
	}
}

// The database server is killed in the middle of a group of callbacks, and at its commit. Run again, each is applied once.
func TestPromise1_databaseKilledInTheMiddleOfAGroup(t *testing.T) {
	t.Parallel()
	b, server := mortal(t)
	const n = 100
	for i, hold := range []string{`SELECT 1 FROM businesses FOR UPDATE`, holdAtCommit} {
		receipts, _ := b.sentMessages(n, b.campaign(jobs.ChannelSMS), "undelivered")
		b.killedIn(server, hold, func() { b.together(receipts) })
		for _, err := range b.together(receipts) {
			require.NoError(t, err, hold)
		}
		require.Equal(t, n*(i+1), b.number(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`), hold)
		require.Equal(t, n*(i+1), b.number(`SELECT count(*) FROM transitions WHERE to_status = 'bounced' AND verdict = 'applied'`), hold)
		require.Equal(t, n*(i+1), b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`), hold)
		b.requireSound()
	}
}
