package pgtest

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/devdb"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

var migrated atomic.Int32

func migrate(ctx context.Context, dsn string) error {
	migrated.Add(1)

	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()

	_, err = conn.Exec(ctx, "CREATE TABLE things (name text)")
	return err
}

// Each of the subtests would see the rows of the others if they shared a database.
func TestNew_eachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := New(t, migrate)
			_, err := db.Pool.Exec(t.Context(), "INSERT INTO things VALUES ($1)", name)
			require.NoError(t, err)

			rows, err := db.Pool.Query(t.Context(), "SELECT name FROM things")
			require.NoError(t, err)
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Equal(t, []string{name}, names)
			require.EqualValues(t, 1, migrated.Load(), "the template is migrated once")
		})
	}
}

func TestNew_dropsTheDatabase(t *testing.T) {
	t.Parallel()

	var used *DB
	require.True(t, t.Run("uses one", func(t *testing.T) { used = New(t, nil) }))

	_, err := pgx.Connect(t.Context(), used.DSN)
	require.ErrorContains(t, err, "does not exist")
}

func TestClosePool_doesNotWaitForeverForAConnection(t *testing.T) {
	t.Parallel()

	db := New(t, nil)
	conn, err := db.Pool.Acquire(t.Context())
	require.NoError(t, err)

	require.ErrorContains(t, closePool(db.Pool, time.Millisecond), "1 connections were not released")
	conn.Release()
}

func TestNewServer_isTheTestsOwn(t *testing.T) {
	t.Parallel()

	shared := New(t, nil).Server
	own := NewServer(t, devdb.Options{})
	require.NotEqual(t, shared.PID(), own.PID())

	require.NoError(t, own.Kill())
	require.NotZero(t, shared.PID())
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(b, migrate)
	}
}
