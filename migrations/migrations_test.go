package migrations_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestUpDownStatus(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.New(t, nil).Pool
	require.ErrorIs(t, migrations.Check(ctx, pool, quiet()), migrations.ErrOutdated)
	steps, err := migrations.Up(ctx, pool, quiet())
	require.NoError(t, err)
	require.NotEmpty(t, steps)
	require.NoError(t, migrations.Check(ctx, pool, quiet()))

	again, err := migrations.Up(ctx, pool, quiet())
	require.NoError(t, err)
	require.Empty(t, again)

	status, err := migrations.Status(ctx, pool, quiet())
	require.NoError(t, err)
	require.Len(t, status, len(steps))
	for _, s := range status {
		require.True(t, s.Applied, s)
	}

	_, err = migrations.Down(ctx, pool, quiet(), false)
	require.NoError(t, err)
	require.ErrorIs(t, migrations.Check(ctx, pool, quiet()), migrations.ErrOutdated)
	_, err = migrations.Down(ctx, pool, quiet(), true)
	require.NoError(t, err)
	var left int
	require.NoError(t, pool.QueryRow(ctx, `
		SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> 'onward_migrations'`).Scan(&left))
	require.Zero(t, left)
	_, err = migrations.Up(ctx, pool, quiet())
	require.NoError(t, err)
}

func TestUp_manyAtOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, nil).Pool
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() { _, errs[i] = migrations.Up(t.Context(), pool, quiet()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, migrations.Check(t.Context(), pool, quiet()))
}

func TestCheck_newerSchema(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	_, err := pool.Exec(t.Context(), `INSERT INTO onward_migrations (version, name) VALUES (9999, 'from_the_future')`)
	require.NoError(t, err)
	require.ErrorIs(t, migrations.Check(t.Context(), pool, quiet()), migrations.ErrNewer)
}

// Receipts that the default partition caught while theirs was missing move into it, and none is lost.
func TestEnsurePartitions_withDataInTheDefault(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := pgtest.New(t, pgtest.Schema).Pool
	insert := func(id uuid.UUID, key string) {
		_, err := pool.Exec(ctx, `
			INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
			VALUES ($1, 'twilio', 'message_status', '{}', '', $2, now())`, id, key)
		require.NoError(t, err)
	}
	at := func(when string) (id uuid.UUID) {
		require.NoError(t, pool.QueryRow(ctx, `SELECT onward_uuid_floor($1::timestamptz)`, when).Scan(&id))
		id[15] = 1
		return id
	}
	insert(at("2031-03-05 12:00Z"), "a")
	insert(at("2031-03-12 12:00Z"), "b")
	insert(at("2031-06-01 12:00Z"), "c")
	var created int
	require.NoError(t, pool.QueryRow(ctx, `SELECT onward_ensure_partitions('2031-03-03Z', '2031-03-17Z')`).Scan(&created))
	require.Equal(t, 2, created)
	require.NoError(t, pool.QueryRow(ctx, `SELECT onward_ensure_partitions('2031-03-03Z', '2031-03-17Z')`).Scan(&created))
	require.Zero(t, created)
	var all, caught int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM webhook_events`).Scan(&all))
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM webhook_events_default`).Scan(&caught))
	require.Equal(t, 3, all)
	require.Equal(t, 1, caught)
	// In the new partition a key is unique again.
	tag, err := pool.Exec(ctx, `
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
		VALUES ($1, 'twilio', 'message_status', '{}', '', 'a', now()) ON CONFLICT DO NOTHING`, at("2031-03-05 13:00Z"))
	require.NoError(t, err)
	require.Zero(t, tag.RowsAffected())
}
