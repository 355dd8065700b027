package pipeline_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs/pipeline"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func table(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	// A foreign key that is checked at the COMMIT.
	_, err = conn.Exec(ctx, `
		CREATE TABLE kept (n int PRIMARY KEY, of int REFERENCES kept DEFERRABLE INITIALLY DEFERRED)`)
	return err
}

type bundle struct {
	testing.TB
	pool *pgxpool.Pool
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return &bundle{TB: t, pool: pgtest.New(t, table).Pool}
}

// run runs a transaction on a connection that it returns to the pool, where it must be fit for use.
func (b *bundle) run(first func(*pgx.Batch), fn func(pgx.Tx, *pgx.Batch) error) error {
	b.Helper()
	conn, err := b.pool.Acquire(b.Context())
	require.NoError(b, err)
	defer conn.Release()
	err = pipeline.Run(b.Context(), conn, pgx.TxOptions{}, first, fn)
	require.Equal(b, byte('I'), conn.Conn().PgConn().TxStatus())
	return err
}

func (b *bundle) kept() (list []int) {
	b.Helper()
	rows, err := b.pool.Query(b.Context(), `SELECT n FROM kept ORDER BY n`)
	require.NoError(b, err)
	list, err = pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(b, err)
	return list
}

const insert = `INSERT INTO kept (n) VALUES ($1)`

func queue(n int) func(*pgx.Batch) {
	return func(b *pgx.Batch) { b.Queue(insert, n) }
}

func TestRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen int
	err := b.run(
		func(first *pgx.Batch) {
			first.Queue(insert, 1)
			first.Queue(`SELECT count(*) FROM kept`).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
		},
		func(tx pgx.Tx, last *pgx.Batch) error {
			require.Equal(t, 1, seen, "read before fn is called")
			last.Queue(insert, 3)
			_, err := tx.Exec(t.Context(), insert, 2)
			return err
		})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, b.kept())

	// Neither need queue anything.
	require.NoError(t, b.run(func(*pgx.Batch) {}, func(pgx.Tx, *pgx.Batch) error { return nil }))
}

func TestRun_rollsBack(t *testing.T) {
	t.Parallel()
	oops := errors.New("oops")
	nothing := func(pgx.Tx, *pgx.Batch) error { return nil }
	for name, c := range map[string]struct {
		first func(*pgx.Batch)
		fn    func(pgx.Tx, *pgx.Batch) error
		is    error
		code  string
	}{
		"of an error of fn":    {first: queue(1), fn: func(pgx.Tx, *pgx.Batch) error { return oops }, is: oops},
		"of an error in first": {first: func(b *pgx.Batch) { queue(1)(b); queue(1)(b) }, fn: nothing, code: "23505"},
		"of an error that fn ignores": {first: queue(1), fn: func(tx pgx.Tx, _ *pgx.Batch) error {
			_, _ = tx.Exec(context.Background(), insert, 1)
			return nil
		}, is: pgx.ErrTxCommitRollback},
		"of one that fn ignores, before last": {first: queue(1), fn: func(tx pgx.Tx, last *pgx.Batch) error {
			_, _ = tx.Exec(context.Background(), insert, 1)
			queue(2)(last)
			return nil
		}, code: "25P02"},
		"of an error in last":       {first: queue(1), fn: func(_ pgx.Tx, last *pgx.Batch) error { queue(2)(last); queue(1)(last); return nil }, code: "23505"},
		"of an error of the COMMIT": {first: queue(1), fn: func(_ pgx.Tx, last *pgx.Batch) error { last.Queue(`INSERT INTO kept VALUES (2, 9)`); return nil }, code: "23503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			err := b.run(c.first, c.fn)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			} else {
				var pg *pgconn.PgError
				require.ErrorAs(t, err, &pg)
				require.Equal(t, c.code, pg.Code)
			}
			require.Empty(t, b.kept())
		})
	}
}

// What last's statements return is read after the COMMIT was sent: it can't be stopped any more.
func TestRun_resultsOfLastComeTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	oops := errors.New("oops")
	err := b.run(queue(1), func(_ pgx.Tx, last *pgx.Batch) error {
		last.Queue(insert, 2).Exec(func(pgconn.CommandTag) error { return oops })
		return nil
	})
	require.ErrorIs(t, err, oops)
	require.Equal(t, []int{1, 2}, b.kept())
}

// whole runs a transaction in one round trip.
func (b *bundle) whole(fn func(*pgx.Batch)) error {
	b.Helper()
	conn, err := b.pool.Acquire(b.Context())
	require.NoError(b, err)
	defer conn.Release()
	err = pipeline.RunWhole(b.Context(), conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, fn)
	require.Equal(b, byte('I'), conn.Conn().PgConn().TxStatus())
	return err
}

func TestRunWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen int
	require.NoError(t, b.whole(func(whole *pgx.Batch) {
		queue(1)(whole)
		whole.Queue(`SELECT count(*) FROM kept`).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
	}))
	require.Equal(t, 1, seen)
	require.NoError(t, b.whole(func(*pgx.Batch) {}))

	var pg *pgconn.PgError
	require.ErrorAs(t, b.whole(func(whole *pgx.Batch) { queue(2)(whole); queue(1)(whole); queue(3)(whole) }), &pg)
	require.Equal(t, "23505", pg.Code)
	require.ErrorAs(t, b.whole(func(whole *pgx.Batch) { whole.Queue(`INSERT INTO kept VALUES (2, 9)`) }), &pg)
	require.Equal(t, "23503", pg.Code, "at the COMMIT")
	require.Equal(t, []int{1}, b.kept())

	// What is made of results comes after the COMMIT.
	oops := errors.New("oops")
	require.ErrorIs(t, b.whole(func(whole *pgx.Batch) {
		whole.Queue(insert, 2).Exec(func(pgconn.CommandTag) error { return oops })
	}), oops)
	require.Equal(t, []int{1, 2}, b.kept())
}

// cutConn drops the answer to what is written once it is armed.
type cutConn struct {
	net.Conn
	armed, cut *atomic.Bool
}

func (c cutConn) Write(p []byte) (int, error) {
	if c.armed.CompareAndSwap(true, false) {
		c.cut.Store(true)
	}
	return c.Conn.Write(p)
}

func (c cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.cut.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// A connection that breaks after the COMMIT was sent is an error, though the transaction is there.
func TestRun_answerLostAtTheCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, table)
	config, err := pgxpool.ParseConfig(db.DSN)
	require.NoError(t, err)
	config.MaxConns = 1
	var armed, cut atomic.Bool
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return cutConn{Conn: conn, armed: &armed, cut: &cut}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	run := func(n int, arm bool) error {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
		return pipeline.Run(t.Context(), conn, pgx.TxOptions{}, queue(n), func(_ pgx.Tx, last *pgx.Batch) error {
			queue(n + 1)(last)
			armed.Store(arm)
			return nil
		})
	}
	require.NoError(t, run(1, false), "all statements are prepared now")
	require.Error(t, run(3, true))
	b := &bundle{TB: t, pool: pool}
	require.Equal(t, []int{1, 2, 3, 4}, b.kept())
	require.NoError(t, run(5, false), "on another connection")
}
