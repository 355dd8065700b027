package inbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/inbox"
)

// A job that comes with its receipt is column for column the one that River itself would have inserted.
func TestAccept_jobsAreRivers(t *testing.T) {
	t.Parallel()
	b := started(t, nil)
	for _, r := range kinds(1) {
		id, result, err := b.Accept(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, inbox.Accepted, result)
		b.requireRivers(t, r, id)
	}
}

// So are those of a batch, of which River itself made one of each kind.
func TestAccept_jobsOfABatchAreRivers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	var receipts []inbox.Receipt
	for n := range 4 {
		receipts = append(receipts, kinds(n)...)
	}
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, len(receipts))
	b.Start()
	wait()
	for n, a := range answers {
		require.NoError(t, a.err)
		b.requireRivers(t, receipts[n], a.id)
	}
	b.requireWhole(t, len(receipts))
}

// kinds are receipts of several, told apart by a number.
func kinds(n int) []inbox.Receipt {
	return []inbox.Receipt{
		status(n),
		stop(n, fmt.Sprintf("+1555000%04d", n)),
		{Provider: jobs.ProviderRecurrente, Kind: "subscription.cancel", Body: []byte("{}"), DedupeKey: fmt.Sprintf("re:%d", n)},
		{Provider: jobs.ProviderRecurrente, Kind: "payment_intent.succeeded", Body: []byte("{}"), DedupeKey: fmt.Sprintf("rp:%d", n)},
		{Provider: jobs.ProviderResend, Kind: "email.delivered", Body: []byte("{}"), DedupeKey: fmt.Sprintf("em:%d", n)},
	}
}

// requireRivers compares a receipt's job with one that River inserts, which it takes away again.
func (b *bundle) requireRivers(t *testing.T, r inbox.Receipt, id uuid.UUID) {
	t.Helper()
	row := func() (columns map[string]any, at int64) {
		var text []byte
		require.NoError(t, b.pool.QueryRow(t.Context(), `
			SELECT to_jsonb(river_job) - '{id,created_at,scheduled_at}'::text[], id
			FROM river_job
			WHERE args->>'receipt_id' = $1 AND created_at = scheduled_at AND created_at BETWEEN now() - interval '1 minute' AND now()
			ORDER BY id DESC
			LIMIT 1`, id.String()).Scan(&text, &at))
		require.NoError(t, json.Unmarshal(text, &columns))
		return columns, at
	}
	ours, at := row()
	_, err := insertOnly(t, b.pool).InsertManyFast(t.Context(), []river.InsertManyParams{{Args: jobs.ForReceipt(r.Provider, r.Kind, id.String())}})
	require.NoError(t, err)
	rivers, other := row()
	require.NotEqual(t, at, other)
	require.Equal(t, rivers, ours)
	b.exec(t, `DELETE FROM river_job WHERE id = $1`, other)
}

// What River makes of a job and the receipts' statement has no place for stores nothing, rather than something else.
func TestAccept_unknownJobs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*rivertype.JobInsertParams) error{
		"tags":       func(p *rivertype.JobInsertParams) error { p.Tags = []string{"a"}; return nil },
		"unique key": func(p *rivertype.JobInsertParams) error { p.UniqueKey = []byte{1}; return nil },
		"unique states": func(p *rivertype.JobInsertParams) error {
			p.UniqueStates = 1
			return nil
		},
		"other arguments": func(p *rivertype.JobInsertParams) error {
			p.EncodedArgs = []byte(`{"sealed":1}`)
			return nil
		},
		"refused": func(*rivertype.JobInsertParams) error { return errors.New("refused") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := started(t, func(o *inbox.Options) {
				client, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{
					Logger: slog.New(slog.DiscardHandler),
					Hooks: []rivertype.Hook{river.HookInsertBeginFunc(func(_ context.Context, p *rivertype.JobInsertParams) error {
						return change(p)
					})},
				})
				require.NoError(t, err)
				o.River = client
			})
			_, _, err := b.Accept(t.Context(), status(1))
			require.ErrorContains(t, err, "make the jobs")
			require.NotErrorIs(t, err, inbox.ErrOverloaded)

			var left int
			require.NoError(t, b.pool.QueryRow(t.Context(),
				`SELECT (SELECT count(*) FROM webhook_events) + (SELECT count(*) FROM river_job)`).Scan(&left))
			require.Zero(t, left)

			// The connection is as good as before.
			conn, err := b.pool.Acquire(t.Context())
			require.NoError(t, err)
			defer conn.Release()
			require.Equal(t, byte('I'), conn.Conn().PgConn().TxStatus())
			_, err = conn.Exec(t.Context(), `SELECT 1`, pgx.QueryExecModeExec)
			require.NoError(t, err)
		})
	}
}
