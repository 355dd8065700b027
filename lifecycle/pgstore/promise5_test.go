package pgstore_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func TestPromise5_historyCannotBeRewritten(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _ := newBusiness(ctx, t, pool)
	inTx(t, pool, func(tx pgx.Tx) {
		_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{
			BusinessID: business, Event: lifecycle.ReplyReceived, OccurredAt: time.Now(), Key: "k", Source: pgstore.SourceSystem, Note: "said so",
		}})
		require.NoError(t, err)
	})
	for _, sql := range []string{
		`UPDATE facts SET event = 'opted_out'`,
		`UPDATE facts SET note = NULL`,
		`DELETE FROM facts`,
		`TRUNCATE facts`,
		`UPDATE transitions SET to_status = 'purchased'`,
		`DELETE FROM transitions`,
		`TRUNCATE transitions`,
	} {
		_, err := pool.Exec(ctx, sql)
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg, sql)
		require.Equal(t, "ON003", pg.Code, sql)
	}
	// Erasure may blank a note, and nothing beside it.
	inTx(t, pool, func(tx pgx.Tx) {
		_, err := tx.Exec(ctx, `SET LOCAL onward.erasure = 'on'`)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, `UPDATE facts SET note = NULL`)
		require.NoError(t, err)
	})
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL onward.erasure = 'on'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE facts SET note = NULL, event = 'opted_out'`)
		return err
	})
	require.Error(t, err)
}

func TestMessageRank_isTheLatticeOfTheRules(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	for _, s := range append(lifecycle.MessageStates(), "no_such_state") {
		var rank int
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT onward_message_rank($1)`, string(s)).Scan(&rank))
		require.Equal(t, s.Rank(), rank, s)
	}
}
