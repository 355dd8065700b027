package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// bulk stores a bulk action on everybody.
func (b *bundle) bulk(kind pgstore.BulkKind, tag string) (id int64) {
	b.Helper()
	b.inTx(func(tx pgx.Tx) error {
		var action int64
		err := tx.QueryRow(b.ctx, `
			INSERT INTO operator_actions (actor, action, target_type, target_id, reason)
			VALUES ('ops', 'bulk', 'bulk', '', 'asked') RETURNING id`).Scan(&action)
		if err != nil {
			return err
		}
		_, id, err = pgstore.CreateBulk(b.ctx, tx, pgstore.NewBulk{
			Kind: kind, Tag: tag, Selection: pgstore.Audience{Filter: &pgstore.BusinessFilter{}}, Reason: "asked", Actor: "ops", ActionID: action,
		})
		return err
	})
	return id
}

func (b *bundle) workBulk(id int64) error {
	return b.a.workBulk(b.ctx, &river.Job[jobs.BulkArgs]{JobRow: &rivertype.JobRow{ID: 5}, Args: jobs.BulkArgs{BulkID: id}})
}

// Whatever is cut off, by a crash as by the end of a run's time, goes on behind the last whole chunk; several workers at
// once do nothing twice.
func TestBulk_goesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	const n = 3*bulkChunk + 7
	_, err := b.pool.Exec(b.ctx, `
		INSERT INTO businesses (public_id, name, phone)
		SELECT gen_random_uuid(), 'B', '+1202' || (5550000 + i) FROM generate_series(1, $1::int) i`, n)
	require.NoError(t, err)
	id := b.bulk(pgstore.BulkOptOut, "")
	// A chunk whose transaction does not commit did not happen.
	tx, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	more, applied, err := pgstore.BulkChunk(b.ctx, tx, id, 5, time.Now(), bulkChunk)
	require.NoError(t, err)
	require.True(t, more)
	require.Len(t, applied, bulkChunk)
	require.NoError(t, tx.Rollback(b.ctx))
	// One that does is behind it.
	b.inTx(func(tx pgx.Tx) error {
		_, _, err := pgstore.BulkChunk(b.ctx, tx, id, 5, time.Now(), bulkChunk)
		return err
	})
	ended := make(chan error, 3)
	for range cap(ended) {
		go func() { ended <- b.workBulk(id) }()
	}
	for range cap(ended) {
		require.NoError(t, <-ended)
	}
	require.NoError(t, b.workBulk(id), "a run after the end")

	var state string
	var done, facts, out, suppressed int
	require.NoError(t, b.pool.QueryRow(b.ctx, `
		SELECT state, done, (SELECT count(*) FROM facts), (SELECT count(*) FROM businesses WHERE contact_status = 'unsubscribed'),
			(SELECT count(*) FROM suppressions)
		FROM bulk_actions WHERE id = $1`, id).Scan(&state, &done, &facts, &out, &suppressed))
	require.Equal(t, "done", state)
	require.Equal(t, []int{n, n, n, n}, []int{done, facts, out, suppressed})
}

func TestBulk_tagsUpToTheLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, err := b.pool.Exec(b.ctx, `INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'A'), (gen_random_uuid(), 'B')`)
	require.NoError(t, err)
	for i := range pgstore.MaxTags {
		_, err := b.pool.Exec(b.ctx, `INSERT INTO business_tags (business_id, tag) VALUES (1, $1)`, fmt.Sprintf("t%d", i))
		require.NoError(t, err)
	}
	id := b.bulk(pgstore.BulkTag, "one more")
	require.NoError(t, b.workBulk(id))
	var done, full int
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT done, (skipped ->> 'full')::int FROM bulk_actions WHERE id = $1`, id).Scan(&done, &full))
	require.Equal(t, []int{1, 1}, []int{done, full})
}

func TestTidy(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, err := b.pool.Exec(b.ctx, `
		WITH token AS (
			INSERT INTO api_tokens (public_id, name, role, token_hash) VALUES ($1, 'ci', 'admin', 'x'::bytea) RETURNING id
		)
		INSERT INTO idempotency_keys (token_id, key, request_hash, created_at)
		SELECT id, 'old', 'x'::bytea, now() - interval '25 hours' FROM token
		UNION ALL
		SELECT id, 'new', 'x'::bytea, now() - interval '23 hours' FROM token`, uuid.Must(uuid.NewV7()))
	require.NoError(t, err)
	_, err = b.pool.Exec(b.ctx, `INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'A')`)
	require.NoError(t, err)
	for _, id := range []int64{b.bulk(pgstore.BulkTag, "x"), b.bulk(pgstore.BulkTag, "y")} {
		require.NoError(t, b.workBulk(id))
	}
	_, err = b.pool.Exec(b.ctx, `UPDATE bulk_actions SET finished_at = now() - interval '31 days' WHERE tag = 'x'`)
	require.NoError(t, err)
	require.NoError(t, b.a.workTidy(b.ctx, &river.Job[jobs.TidyArgs]{}))
	var keys, tags string
	require.NoError(t, b.pool.QueryRow(b.ctx, `
		SELECT (SELECT string_agg(key, ' ') FROM idempotency_keys),
			(SELECT string_agg(k.tag, ' ') FROM bulk_targets t JOIN bulk_actions k ON k.id = t.bulk_id)`).Scan(&keys, &tags))
	require.Equal(t, "new", keys)
	require.Equal(t, "y", tags)
}
