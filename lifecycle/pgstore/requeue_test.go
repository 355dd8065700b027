package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func addReceipt(t *testing.T, pool *pgxpool.Pool, provider, kind, outcome, key string) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	_, err := pool.Exec(t.Context(), `
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
		VALUES ($1, $2, $3, '{}', '', $4, now())`, id, provider, kind, id.String())
	require.NoError(t, err)
	if outcome != "" {
		_, err = pool.Exec(t.Context(), `
			INSERT INTO receipt_outcomes (receipt_id, outcome, match_key)
			VALUES ($1, $2, NULLIF($3, ''))`, id, outcome, key)
		require.NoError(t, err)
	}
	return id
}

func TestRequeueMatching(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	first := addReceipt(t, pool, "recurrente", "subscription.create", "unmatched", "subscription:su_1")
	second := addReceipt(t, pool, "twilio", "inbound_message", "unmatched", "sms:+15005550006")
	addReceipt(t, pool, "recurrente", "subscription.create", "unmatched", "subscription:su_2")
	addReceipt(t, pool, "recurrente", "subscription.create", "applied", "subscription:su_1")

	inTx(t, pool, func(tx pgx.Tx) {
		got, err := pgstore.RequeueMatching(t.Context(), tx, []string{"sms:+15005550006", "subscription:su_1", "sms:+15005550006"})
		require.NoError(t, err)
		require.Equal(t, []pgstore.Receipt{
			{ID: first, Provider: "recurrente", Kind: "subscription.create"},
			{ID: second, Provider: "twilio", Kind: "inbound_message"},
		}, got)
	})
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM receipt_outcomes`).Scan(&left))
	require.Equal(t, 2, left)

	inTx(t, pool, func(tx pgx.Tx) {
		got, err := pgstore.RequeueMatching(t.Context(), tx, []string{"subscription:su_1"})
		require.NoError(t, err)
		require.Empty(t, got)
		got, err = pgstore.RequeueMatching(t.Context(), tx, nil)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

// Promise 2: whoever gives a receipt up as unmatched and whoever creates what it waits for cannot miss each other.
func TestPromise2LockMatchKeysClosesTheGap(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	id := addReceipt(t, pool, "recurrente", "subscription.create", "", "")

	worker, err := pool.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, pgstore.LockMatchKeys(t.Context(), worker, []string{"subscription:su_1"}))

	found := make(chan []pgstore.Receipt)
	go func() {
		var got []pgstore.Receipt
		_ = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			var err error
			got, err = pgstore.RequeueMatching(t.Context(), tx, []string{"subscription:su_1"})
			return err
		})
		found <- got
	}()
	require.Eventually(t, func() bool {
		var waiting bool
		err := pool.QueryRow(t.Context(), `
			SELECT EXISTS (
				SELECT 1 FROM pg_locks
				WHERE locktype = 'advisory' AND NOT granted
					AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			)`).Scan(&waiting)
		return err == nil && waiting
	}, 30*time.Second, 5*time.Millisecond)
	_, err = worker.Exec(t.Context(), `
		INSERT INTO receipt_outcomes (receipt_id, outcome, match_key)
		VALUES ($1, 'unmatched', 'subscription:su_1')`, id)
	require.NoError(t, err)
	require.NoError(t, worker.Commit(t.Context()))
	require.Equal(t, []pgstore.Receipt{{ID: id, Provider: "recurrente", Kind: "subscription.create"}}, <-found)
}

// addMessage stores a message of a state, with its dispatch where one is open.
func addMessage(t *testing.T, pool *pgxpool.Pool, businessID int64, state lifecycle.MessageState) int64 {
	t.Helper()
	var id int64
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		return addMessageTx(t.Context(), tx, businessID, state, &id)
	})
	require.NoError(t, err)
	return id
}

func addMessageTx(ctx context.Context, tx pgx.Tx, businessID int64, state lifecycle.MessageState, id *int64) error {
	err := tx.QueryRow(ctx, `
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, dispatched_at)
		VALUES ($1, $2, 'sms', '+15005550006', 'Hello', $3, 1, now())
		RETURNING id`, uuid.Must(uuid.NewV7()), businessID, state).Scan(id)
	if err != nil {
		return err
	}
	if state == lifecycle.MessageUnknown || state == lifecycle.MessageHeld {
		_, err = tx.Exec(ctx, `
			INSERT INTO dispatches (message_id, channel, address, attempt, state, dispatched_at)
			VALUES ($1, 'sms', '+15005550006', 1, $2, now())`, *id, state)
	}
	return err
}

func TestRequeueMessage(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	business := addBusinesses(t, pool, pgstore.NewBusiness{Name: "A", Phone: "+15005550006"})[0]

	for _, state := range lifecycle.MessageStates() {
		if state == lifecycle.MessageDispatching {
			continue
		}
		id := addMessage(t, pool, business, state)
		inTx(t, pool, func(tx pgx.Tx) {
			moved, err := pgstore.RequeueMessage(t.Context(), tx, id)
			if state != lifecycle.MessageUnknown && state != lifecycle.MessageHeld {
				require.ErrorIs(t, err, pgstore.ErrNotUnresolved, state)
				return
			}
			require.NoError(t, err)
			require.Equal(t, state, moved.From)
			require.Equal(t, lifecycle.MessageQueued, moved.To)
			require.Equal(t, "+15005550006", moved.Address)
			require.NoError(t, moved.Count(t.Context(), tx))
		})
	}
	var open int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM dispatches`).Scan(&open))
	require.Zero(t, open)
}
