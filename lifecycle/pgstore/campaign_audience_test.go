package pgstore_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

// launch inserts a campaign as its launch leaves it.
func launch(t *testing.T, pool *pgxpool.Pool, a pgstore.Audience) (id int64, public uuid.UUID) {
	t.Helper()
	encoded, err := json.Marshal(a)
	require.NoError(t, err)
	public = uuid.Must(uuid.NewV7())
	require.NoError(t, pool.QueryRow(t.Context(), `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status, launched_at, fanout_last)
		SELECT $1, 'Test', 'sms', 'Hello', $2::text::jsonb, 'sending', now(), COALESCE(max(id), 0) FROM businesses
		RETURNING id`, public, string(encoded)).Scan(&id))
	return id, public
}

// freeze runs one step.
func freeze(t *testing.T, pool *pgxpool.Pool, campaign int64, window int) (frozen bool) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) {
		var err error
		frozen, err = pgstore.FreezeAudience(t.Context(), tx, campaign, window)
		require.NoError(t, err)
	})
	return frozen
}

func freezeAll(t *testing.T, pool *pgxpool.Pool, campaign int64, window int) (steps int) {
	t.Helper()
	for steps = 1; !freeze(t, pool, campaign, window); steps++ {
		require.Less(t, steps, 1000)
	}
	return steps
}

func frozenIDs(t *testing.T, pool *pgxpool.Pool, campaign int64) []int64 {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT business_id FROM campaign_recipients WHERE campaign_id = $1 ORDER BY business_id`, campaign)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT recipients FROM campaigns WHERE id = $1`, campaign).Scan(&n))
	require.Len(t, ids, n, "campaigns.recipients is the count")
	return ids
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func someBusinesses(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	exec(t, pool, `
		INSERT INTO businesses (public_id, name, phone, city)
		SELECT gen_random_uuid(), 'Business ' || i, '+1202555' || (1000 + i), CASE WHEN i % 10 = 0 THEN 'Miami' ELSE 'Boston' END
		FROM generate_series(1, $1) i`, n)
}

func TestFreezeAudience_ofAFilter(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	someBusinesses(t, pool, 100)
	exec(t, pool, `UPDATE businesses SET erased_at = now() WHERE id = 50`)
	exec(t, pool, `UPDATE businesses SET test = true WHERE id = 60`)
	miami := pgstore.Audience{Filter: &pgstore.BusinessFilter{City: "miami", ContactStatus: []string{"pending"}}}
	id, _ := launch(t, pool, miami)
	exec(t, pool, `INSERT INTO businesses (public_id, name, city) VALUES (gen_random_uuid(), 'Late', 'Miami')`)

	require.False(t, freeze(t, pool, id, 30))
	require.Equal(t, []int64{10, 20, 30}, frozenIDs(t, pool, id))
	// Who was looked at stays, whatever becomes of him; who was not is looked at as he is by then.
	exec(t, pool, `UPDATE businesses SET contact_status = 'sms_sent' WHERE id IN (20, 70)`)
	require.Equal(t, 3, freezeAll(t, pool, id, 30))
	require.Equal(t, []int64{10, 20, 30, 40, 80, 90, 100}, frozenIDs(t, pool, id))

	exec(t, pool, `UPDATE businesses SET contact_status = 'pending'`)
	require.True(t, freeze(t, pool, id, 30), "complete is complete")
	require.Len(t, frozenIDs(t, pool, id), 7)
}

func TestFreezeAudience_ofNobody(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	none, _ := launch(t, pool, pgstore.Audience{Filter: &pgstore.BusinessFilter{}})
	require.True(t, freeze(t, pool, none, 10))
	require.Empty(t, frozenIDs(t, pool, none))
	someBusinesses(t, pool, 5)
	halted, _ := launch(t, pool, pgstore.Audience{Filter: &pgstore.BusinessFilter{}})
	for _, status := range []string{"draft", "paused", "cancelled", "sent"} {
		exec(t, pool, `UPDATE campaigns SET status = $1 WHERE id = $2`, status, halted)
		require.True(t, freeze(t, pool, halted, 10), status)
		require.Empty(t, frozenIDs(t, pool, halted), status)
	}
	exec(t, pool, `UPDATE campaigns SET status = 'scheduled' WHERE id = $1`, halted)
	require.True(t, freeze(t, pool, halted, 10))
	require.Len(t, frozenIDs(t, pool, halted), 5)
}

func TestFreezeAudience_ofAList(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	someBusinesses(t, pool, 20)
	var ids []uuid.UUID
	for _, n := range []int{3, 17, 3, 5} {
		var id uuid.UUID
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT public_id FROM businesses WHERE id = $1`, n).Scan(&id))
		ids = append(ids, id)
	}
	exec(t, pool, `UPDATE businesses SET test = true WHERE id = 5`)
	id, _ := launch(t, pool, pgstore.Audience{BusinessIDs: ids})
	require.True(t, freeze(t, pool, id, 2))
	require.Equal(t, []int64{3, 5, 17}, frozenIDs(t, pool, id), "once each; a test contact that is named is meant")
}

func TestFreezeAudience_ofTheFailed(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	someBusinesses(t, pool, 40)
	first, public := launch(t, pool, pgstore.Audience{Filter: &pgstore.BusinessFilter{}})
	states := []string{"failed", "undelivered", "unknown", "held", "delivered", "canceled", "queued", "sent"}
	for i := range 40 {
		exec(t, pool, `
			INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body, state)
			VALUES (gen_random_uuid(), $1, $2, 'sms', '+1', 'x', $3)`, first, i+1, states[i%len(states)])
	}
	again, _ := launch(t, pool, pgstore.Audience{FailedOf: &public})
	require.Greater(t, freezeAll(t, pool, again, 3), 1)
	var want []int64
	for i := range 40 {
		if i%len(states) < 2 {
			want = append(want, int64(i+1))
		}
	}
	require.Equal(t, want, frozenIDs(t, pool, again))
}

func TestNextRecipients(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	someBusinesses(t, pool, 6)
	exec(t, pool, `UPDATE businesses SET phone = NULL WHERE id = 2`)
	exec(t, pool, `UPDATE businesses SET opted_out = true WHERE id = 3`)
	exec(t, pool, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', '+12025551004', 'stop', 'webhook'), ('email', '+12025551005', 'stop', 'webhook')`)
	// A suppression that outlived an erasure counts for the number all the same.
	exec(t, pool, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', onward_address_hash('sms', '+12025551006'), 'stop', 'webhook')`)
	exec(t, pool, `INSERT INTO sites (public_id, business_id, url) VALUES (gen_random_uuid(), 1, 'https://old.example'), (gen_random_uuid(), 1, 'https://new.example')`)
	id, _ := launch(t, pool, pgstore.Audience{Filter: &pgstore.BusinessFilter{}})
	require.True(t, freeze(t, pool, id, 100))
	exec(t, pool, `UPDATE businesses SET erased_at = now() WHERE id = 5`)

	skips := func() (got []string) {
		list, err := pgstore.NextRecipients(t.Context(), pool, id, "sms", 0, 4)
		require.NoError(t, err)
		rest, err := pgstore.NextRecipients(t.Context(), pool, id, "sms", list[3].ID, 4)
		require.NoError(t, err)
		for _, r := range append(list, rest...) {
			got = append(got, fmt.Sprintf("%d %s", r.ID, r.Skip()))
		}
		require.Equal(t, []string{"Business 1", "Boston", "+12025551001", "https://new.example"}, []string{list[0].Name, list[0].City, list[0].Address, list[0].SiteURL})
		return got
	}
	require.Equal(t, []string{"1 ", "2 no_address", "3 unsubscribed", "4 suppressed", "5 erased", "6 suppressed"}, skips())

	// With none that outlived an erasure another question is asked.
	exec(t, pool, `UPDATE suppressions SET lifted_at = now(), lifted_by = 'test' WHERE address LIKE 'hmac:%'`)
	require.Equal(t, []string{"1 ", "2 no_address", "3 unsubscribed", "4 suppressed", "5 erased", "6 "}, skips())
	exec(t, pool, `UPDATE suppressions SET lifted_at = now(), lifted_by = 'test' WHERE lifted_at IS NULL`)
	require.Equal(t, []string{"1 ", "2 no_address", "3 unsubscribed", "4 ", "5 erased", "6 "}, skips())
}
