package inbox_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/web/inbox"
)

// next returns another inbox on the same database, not started yet: what is accepted before Start is one group.
func (b *bundle) next(t *testing.T) *bundle {
	t.Helper()
	in, err := inbox.New(inbox.Options{Pool: b.pool, River: insertOnly(t, b.pool), Committers: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, in.Stop(context.Background())) })
	return &bundle{Inbox: in, pool: b.pool}
}

// together accepts all receipts in one group, or in as few as they fit in.
func (b *bundle) together(t *testing.T, receipts []inbox.Receipt) []answer {
	t.Helper()
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, len(receipts))
	b.Start()
	wait()
	return answers
}

// Groups of every size: in one, a receipt is poisoned, and fails alone; another's transaction is cut off in its middle, and
// what was not answered can be sent again.
func TestPromise1_groupsOfEverySize(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 7, 64, 100, 400} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			b := (&bundle{pool: newDB(t)}).next(t)
			b.exec(t, fmt.Sprintf(`
				CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
				CREATE TRIGGER poison BEFORE INSERT ON webhook_events FOR EACH ROW WHEN (NEW.dedupe_key = '%s') EXECUTE FUNCTION poison()`,
				status(n/2).DedupeKey))
			var receipts []inbox.Receipt
			for i := range n {
				receipts = append(receipts, status(i))
			}
			answers := b.together(t, receipts)
			require.Equal(t, n-1, tally(answers)[inbox.Accepted])
			require.ErrorContains(t, answers[n/2].err, "poisoned")
			b.requireWhole(t, n-1)

			// A sequence counts on where a transaction is rolled back: this happens once.
			b.exec(t, fmt.Sprintf(`
				CREATE SEQUENCE jobs_made;
				CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN
					IF nextval('jobs_made') = %d THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
					RETURN NEW;
				END $$;
				CREATE TRIGGER cut BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION cut()`, n/2+1))
			receipts = receipts[:0]
			for i := range n {
				receipts = append(receipts, status(1000+i))
			}
			failed := tally(b.next(t).together(t, receipts))[0]
			b.requireWhole(t, n-1+n-failed)
			again := tally(b.acceptAll(t.Context(), receipts))
			require.Equal(t, failed, again[inbox.Accepted])
			require.Equal(t, n-failed, again[inbox.Duplicate])
			b.requireWhole(t, n-1+n)
		})
	}
}

// The database server is killed at each step of a group of 100: nobody is told that a receipt is stored, nothing of it is, and
// all can be sent again.
func TestPromise1_databaseKilledInTheMiddleOfAGroup(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.ServerOptions{})
	dsn := server.DSN("postgres")
	require.NoError(t, pgtest.Schema(t.Context(), dsn))
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	// What is committed is with the operating system by then, which nothing here takes away.
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db := &bundle{pool: pool}
	// A commit waits for whoever has this lock.
	db.exec(t, `
		CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$;
		CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON river_job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()`)
	const n = 100
	stored := 0
	for step, lock := range map[string]string{
		"before the receipts": "LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE",
		"before their jobs":   "LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE",
		"at the commit":       "SELECT pg_advisory_xact_lock(42)",
	} {
		b := db.next(t)
		var receipts []inbox.Receipt
		for i := range n {
			receipts = append(receipts, status(stored+i))
		}
		release := b.block(t, lock)
		answers, wait := b.acceptAsync(t.Context(), receipts)
		b.waitQueued(t, n)
		b.Start()
		b.waitBlocked(t, 1)
		require.NoError(t, server.Kill())
		wait()
		release()
		require.Equal(t, map[inbox.Result]int{0: n}, tally(answers), step)
		require.NoError(t, server.Restart(t.Context()))
		pool.Reset()
		require.Eventually(t, func() bool { return pool.Ping(t.Context()) == nil }, patience, 10*time.Millisecond, step)
		b.requireWhole(t, stored)
		require.Equal(t, map[inbox.Result]int{inbox.Accepted: n}, tally(b.acceptAll(t.Context(), receipts)), step)
		stored += n
		b.requireWhole(t, stored)
	}
}

// A COMMIT that takes long (here: as long as another session keeps a lock that a deferred trigger wants) holds up nobody but
// its own batch, however large that is.
func TestAccept_slowCommitHoldsUpOnlyItsBatch(t *testing.T) {
	t.Parallel()
	const key = 4711
	b := setup(t, func(o *inbox.Options) { o.CommitTimeout = patience }) // it also bounds the wait for a lock
	b.exec(t, fmt.Sprintf(`
		CREATE FUNCTION commit_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON webhook_events DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.dedupe_key LIKE 'late:%%') EXECUTE FUNCTION commit_late()`, key))
	lock, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = lock.Rollback(context.Background()) }()
	_, err = lock.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", key)
	require.NoError(t, err)

	receipts := make([]inbox.Receipt, 100)
	for n := range receipts {
		receipts[n] = status(n)
	}
	receipts[50].DedupeKey = "late:"
	late, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, len(receipts))
	b.Start()
	require.Eventually(t, func() bool {
		return b.count(t, "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") > 0
	}, patience, time.Millisecond)

	for n := range 3 {
		_, result, err := b.Accept(t.Context(), status(1000+n))
		require.NoError(t, err)
		require.Equal(t, inbox.Accepted, result)
	}
	require.Zero(t, b.count(t, "webhook_events WHERE dedupe_key = 'late:'"), "its batch is still not committed")

	require.NoError(t, lock.Rollback(t.Context()))
	wait()
	for _, a := range late {
		require.NoError(t, a.err)
	}
	require.Equal(t, 103, b.count(t, "river_job"))
}
