package inbox_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/web/inbox"
)

func TestPromise1_everyReceiptIsStoredExactlyOnce(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	const callers, each = 64, 40
	var receipts []inbox.Receipt
	for n := range callers * each {
		if n%10 == 0 {
			receipts = append(receipts, inbox.Receipt{Provider: jobs.ProviderRecurrente, Kind: "new.event"})
			continue
		}
		receipts = append(receipts, status(n))
	}
	// Each caller sends one receipt after the other.
	results := make(chan inbox.Result, len(receipts))
	errs := make(chan error, len(receipts))
	for c := range callers {
		go func() {
			for _, r := range receipts[c*each : (c+1)*each] {
				_, result, err := b.Accept(t.Context(), r)
				results <- result
				errs <- err
			}
		}()
	}
	for range receipts {
		require.Equal(t, inbox.Accepted, <-results)
		require.NoError(t, <-errs)
	}
	b.requireWhole(t, len(receipts))
}

func TestPromise1_nothingIsStoredWithoutItsJob(t *testing.T) {
	t.Parallel()

	for name, sql := range map[string]string{
		"refused": `
			CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no jobs today'; END $$;
			CREATE TRIGGER fail BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION fail()`,
		"refused at the commit": `
			CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no jobs today'; END $$;
			CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON river_job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`,
		"connection broken": `
			CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
			CREATE TRIGGER fail BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION fail()`,
		"connection broken at the commit": `
			CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
			CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON river_job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t, func(o *inbox.Options) { o.Committers = 1 })
			b.exec(t, sql)

			receipts := []inbox.Receipt{status(1), stop(2, "+15550000002"), status(3)}
			answers, wait := b.acceptAsync(t.Context(), receipts)
			b.waitQueued(t, 3)
			b.Start()
			wait()
			for _, a := range answers {
				require.Error(t, a.err)
				require.NotErrorIs(t, a.err, inbox.ErrOverloaded)
			}
			b.requireWhole(t, 0)
			require.Zero(t, b.count(t, "inbound_pending"))

			b.exec(t, "DROP TRIGGER fail ON river_job")
			require.Equal(t, map[inbox.Result]int{inbox.Accepted: 3}, tally(b.acceptAll(t.Context(), receipts)))
			b.requireWhole(t, 3)
		})
	}
}

type unrelatedArgs struct{}

func (unrelatedArgs) Kind() string { return "unrelated" }

type unrelatedWorker struct {
	river.WorkerDefaults[unrelatedArgs]
}

func (*unrelatedWorker) Work(context.Context, *river.Job[unrelatedArgs]) error { return nil }

func TestPromise1_nothingIsStoredWhenRiverRefusesTheJob(t *testing.T) {
	t.Parallel()

	b := started(t, func(o *inbox.Options) {
		workers := river.NewWorkers()
		river.AddWorker(workers, &unrelatedWorker{})
		client, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{Workers: workers})
		require.NoError(t, err)
		o.River = client
	})
	_, _, err := b.Accept(t.Context(), status(1))
	require.ErrorContains(t, err, "status_callback")
	b.requireWhole(t, 0)
}

func TestPromise1_poisonedReceiptFailsAlone(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.Committers = 1 })
	b.exec(t, `
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.body = 'poison' THEN RAISE EXCEPTION 'poisoned'; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON webhook_events FOR EACH ROW EXECUTE FUNCTION refuse()`)

	var receipts []inbox.Receipt
	for n := range 100 {
		receipts = append(receipts, status(n))
	}
	receipts[41].Body = []byte("poison")
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 100)
	b.Start()
	wait()

	require.Equal(t, map[inbox.Result]int{0: 1, inbox.Accepted: 99}, tally(answers))
	require.ErrorContains(t, answers[41].err, "poisoned")
	b.requireWhole(t, 99)
}

func TestPromise1_terminatedBackendsLoseNothing(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	release := b.block(t, "LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")

	var receipts []inbox.Receipt
	for n := range 40 {
		receipts = append(receipts, status(n))
	}
	one, wait1 := b.acceptAsync(t.Context(), receipts[:1])
	b.waitBlocked(t, 1)
	two, wait2 := b.acceptAsync(t.Context(), receipts[1:2])
	b.waitBlocked(t, 2)
	rest, wait3 := b.acceptAsync(t.Context(), receipts[2:])
	b.waitQueued(t, len(rest))

	b.exec(t, "SELECT pg_terminate_backend(pid) FROM "+blocked)
	release()
	wait1()
	wait2()
	wait3()
	answers := slices.Concat(one, two, rest)

	failed := tally(answers)[0]
	require.Positive(t, failed)
	b.requireWhole(t, len(receipts)-failed)

	// The providers send again what was not answered with a 2xx, and sometimes what was.
	again := tally(b.acceptAll(t.Context(), receipts))
	require.Equal(t, map[inbox.Result]int{inbox.Accepted: failed, inbox.Duplicate: len(receipts) - failed}, again)
	b.requireWhole(t, len(receipts))
}

// cutConn is a connection that breaks once a COMMIT has been answered, before the client sees the answer.
type cutConn struct {
	net.Conn
	armed *atomic.Bool
	at    []byte // what is written with the COMMIT
	cut   atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, c.at) && c.armed.CompareAndSwap(true, false) {
		c.cut.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut.Load() && n > 0 {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// Of a large batch, whose COMMIT is sent apart, and of a small one, which is sent whole.
func TestPromise1_answerLostAtTheCommitIsAnErrorAndTheRepeatADuplicate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		receipts int
		at       string
	}{{40, "commit\x00"}, {3, ""}} {
		t.Run(strconv.Itoa(c.receipts), func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, pgtest.Schema)
			config, err := pgxpool.ParseConfig(db.DSN)
			require.NoError(t, err)
			config.MaxConns = 1
			var armed atomic.Bool
			dial := config.ConnConfig.DialFunc
			config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return &cutConn{Conn: conn, armed: &armed, at: []byte(c.at)}, err
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)

			// All statements are prepared by another inbox; what waits when this one starts is one batch.
			options := inbox.Options{Pool: pool, River: insertOnly(t, pool), Committers: 1}
			before, err := inbox.New(options)
			require.NoError(t, err)
			before.Start()
			_, _, err = before.Accept(t.Context(), status(0))
			require.NoError(t, err)
			require.NoError(t, before.Stop(t.Context()))
			in, err := inbox.New(options)
			require.NoError(t, err)
			b := &bundle{Inbox: in, pool: db.Pool}
			var receipts []inbox.Receipt
			for n := range c.receipts {
				receipts = append(receipts, status(n+1))
			}
			answers, wait := b.acceptAsync(t.Context(), receipts)
			b.waitQueued(t, c.receipts)

			armed.Store(true)
			b.Start()
			wait()
			require.False(t, armed.Load())
			require.Equal(t, map[inbox.Result]int{0: c.receipts}, tally(answers), "nobody is told what nobody knows")
			b.requireWhole(t, c.receipts+1)

			require.Equal(t, map[inbox.Result]int{inbox.Duplicate: c.receipts}, tally(b.acceptAll(t.Context(), receipts)))
			b.requireWhole(t, c.receipts+1)
			require.NoError(t, in.Stop(t.Context()))
		})
	}
}

func TestPromise6_databaseThatIsAwayIsAnErrorForAll(t *testing.T) {
	t.Parallel()

	pool, err := pgxpool.New(t.Context(), "host=/nowhere dbname=none user=nobody")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	in, err := inbox.New(inbox.Options{Pool: pool, River: insertOnly(t, pool)})
	require.NoError(t, err)
	in.Start()
	b := &bundle{Inbox: in}

	for _, a := range b.acceptAll(t.Context(), []inbox.Receipt{status(1), status(2), status(3)}) {
		require.Error(t, a.err)
		require.NotErrorIs(t, a.err, inbox.ErrOverloaded)
	}
	require.NoError(t, in.Stop(t.Context()))
}

func TestPromise6_hangingDatabaseIsBoundedByTheCommitTimeout(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.CommitTimeout, o.Committers = 300*time.Millisecond, 1 })
	release := b.block(t, "LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE")

	var receipts []inbox.Receipt
	for n := range 20 {
		receipts = append(receipts, status(n))
	}
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 20)
	b.Start()
	wait()
	require.Equal(t, map[inbox.Result]int{0: 20}, tally(answers))
	require.True(t, slices.ContainsFunc(answers, func(a answer) bool {
		return strings.Contains(a.err.Error(), "commit time-out of 300ms")
	}), "the error says which time-out ended it")

	release()
	// By an inbox that a slow machine cannot make give up.
	patient, err := inbox.New(inbox.Options{Pool: b.pool, River: insertOnly(t, b.pool)})
	require.NoError(t, err)
	patient.Start()
	require.Equal(t, map[inbox.Result]int{inbox.Accepted: 20}, tally((&bundle{Inbox: patient}).acceptAll(t.Context(), receipts)))
	require.NoError(t, patient.Stop(t.Context()))
	b.requireWhole(t, 20)
}
