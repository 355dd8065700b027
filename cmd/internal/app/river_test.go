package app

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
)

// Inserts of many transactions a second are not told one by one: a notification in them would have each COMMIT wait for the
// one before.
func TestInsertClient_notifiesAtMostOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	listener, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer listener.Release()
	var schema string
	require.NoError(t, listener.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema))
	_, err = listener.Exec(t.Context(), "LISTEN "+pgx.Identifier{schema + ".river_insert"}.Sanitize())
	require.NoError(t, err)

	client, err := insertClient(pool)
	require.NoError(t, err)
	insert := func() {
		require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			n, err := client.InsertManyFastTx(t.Context(), tx, []river.InsertManyParams{{Args: jobs.StatusCallbackArgs{ReceiptArgs: jobs.ReceiptArgs{ReceiptID: "r"}}}})
			require.Equal(t, 1, n)
			return err
		}))
	}
	insert()
	_, err = listener.Conn().WaitForNotification(t.Context()) // the listener hears, and this was the only one
	require.NoError(t, err)
	for range 5 {
		time.Sleep(2 * FetchCooldown) // what River's limit would be otherwise
		insert()
	}
	_, err = pool.Exec(t.Context(), "SELECT pg_notify($1, 'end')", schema+".river_insert")
	require.NoError(t, err)
	last, err := listener.Conn().WaitForNotification(t.Context())
	require.NoError(t, err)
	require.Equal(t, "end", last.Payload)
}

// With sequential scans forbidden, a statement over a table without an index costs so much in the planner's eyes that
// PostgreSQL compiles it, each time, for longer than it runs: River's leader is elected over such a table.
func TestQueueSession_compilesNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Conn().Close(t.Context())); conn.Release() }()
	plan := func() string {
		rows, err := conn.Query(t.Context(), `EXPLAIN (ANALYZE) SELECT FROM river_leader WHERE elected_at = now()`)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(lines, "\n")
	}
	_, err = conn.Exec(t.Context(), strings.Join(QueueSession(), ";"))
	require.NoError(t, err)
	require.NotContains(t, plan(), "JIT")
	if _, err := conn.Exec(t.Context(), `SET jit = on`); err == nil && canCompile(t, conn) {
		require.Contains(t, plan(), "JIT", "what is asked shows nothing any more")
	}
}

// canCompile reports whether the server was built with a compiler and has it installed.
func canCompile(t *testing.T, conn *pgxpool.Conn) bool {
	t.Helper()
	var can bool
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT pg_jit_available()`).Scan(&can))
	return can
}
