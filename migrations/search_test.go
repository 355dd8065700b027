package migrations_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/migrations"
)

// A role that may not create extensions gets everything but the index of searches, is told in a line what to do, and that
// is enough.
func TestSearchAdvice_roleWithoutRights(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	owner := pgtest.New(t, nil)
	role := pgx.Identifier{fmt.Sprintf("plain_%d", rand.Uint64())}
	_, err := owner.Pool.Exec(ctx, `CREATE ROLE `+role.Sanitize()+` LOGIN; GRANT ALL ON SCHEMA public TO `+role.Sanitize())
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := owner.Pool.Exec(context.WithoutCancel(ctx), `DROP OWNED BY `+role.Sanitize()+`; DROP ROLE `+role.Sanitize())
		require.NoError(t, err)
	})
	config, err := pgxpool.ParseConfig(owner.DSN)
	require.NoError(t, err)
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET SESSION AUTHORIZATION `+role.Sanitize())
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	advice, err := migrations.SearchAdvice(ctx, pool)
	require.NoError(t, err)
	require.Empty(t, advice, "there is nothing to search yet")
	_, err = migrations.Up(ctx, pool, quiet())
	require.NoError(t, err)
	require.NoError(t, migrations.Check(ctx, pool, quiet()))
	advice, err = migrations.SearchAdvice(ctx, pool)
	require.NoError(t, err)
	require.Equal(t, "searches have no index, since the role "+role[0]+" may not create the extension pg_trgm: let a superuser run "+
		"`CREATE EXTENSION pg_trgm` in this database, then run `onward migrate up`", advice)
	_, err = pool.Exec(ctx, `INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'Panadería Luna')`)
	require.NoError(t, err)

	_, err = owner.Pool.Exec(ctx, `CREATE EXTENSION pg_trgm`)
	require.NoError(t, err)
	advice, err = migrations.SearchAdvice(ctx, pool)
	require.NoError(t, err)
	require.Contains(t, advice, "run `onward migrate up`")
	steps, err := migrations.Up(ctx, pool, quiet())
	require.NoError(t, err)
	require.Empty(t, steps)
	advice, err = migrations.SearchAdvice(ctx, pool)
	require.NoError(t, err)
	require.Empty(t, advice)
	var definition string
	require.NoError(t, pool.QueryRow(ctx, `SELECT indexdef FROM pg_indexes WHERE indexname = 'business_search_document'`).Scan(&definition))
	// As migration 0005 makes it where it may.
	usual := pgtest.New(t, pgtest.Schema)
	var made string
	require.NoError(t, usual.Pool.QueryRow(ctx, `SELECT indexdef FROM pg_indexes WHERE indexname = 'business_search_document'`).Scan(&made))
	require.Equal(t, made, definition)
}
