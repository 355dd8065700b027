package jobadmin_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs/jobadmin"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

type bundle struct {
	*testing.T
	ctx    context.Context
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
}

func setup(t *testing.T) *bundle {
	t.Helper()
	pool := pgtest.New(t, pgtest.Schema).Pool
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return &bundle{T: t, ctx: t.Context(), pool: pool, client: client}
}

// job inserts one; a failed one has an error.
func (b *bundle) job(kind, queue, state, args, failure string) (id int64) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, attempted_at, finalized_at, errors)
		VALUES ($1, $2, $3::text::river_job_state, $4::text::jsonb, 25, 25, now(),
			CASE WHEN $3 IN ('completed', 'cancelled', 'discarded') THEN now() END,
			CASE WHEN $5 <> '' THEN ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'error', $5::text, 'trace', '')] END)
		RETURNING id`, kind, queue, state, args, failure).Scan(&id))
	return id
}

// send inserts a discarded send of a message in a state.
func (b *bundle) send(messageState string) (job int64, message uuid.UUID) {
	b.Helper()
	message = uuid.Must(uuid.NewV7())
	var id int64
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		WITH b AS (
			INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'Test') RETURNING id
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state)
		SELECT $1, id, 'email', 'ann@example.test', '', $2 FROM b RETURNING id`, message, messageState).Scan(&id))
	return b.job("send", "send_email", "discarded", fmt.Sprintf(`{"message_id": %d, "channel": "email"}`, id), "broken"), message
}

func (b *bundle) state(job int64) (state string) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT state FROM river_job WHERE id = $1`, job).Scan(&state))
	return state
}

func (b *bundle) run(d jobadmin.Drip) jobadmin.Result {
	b.Helper()
	if d.Operator.Actor == "" {
		d.Operator = jobadmin.Operator{Actor: "ann", Reason: "put right"}
	}
	r, err := d.Run(b.ctx, b.pool, b.client)
	require.NoError(b, err)
	return r
}

func itoa(n int64) string { return fmt.Sprint(n) }
