package crmapi

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

// Without time each call looks at a page of messages and one; with time, it finds a page of those that match.
func TestLookThroughMessages(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	_, err := pool.Exec(t.Context(), `
		INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'A'), (gen_random_uuid(), 'B');
		INSERT INTO messages (public_id, business_id, channel, address, body, state)
		SELECT gen_random_uuid(), (SELECT id FROM businesses WHERE name = CASE WHEN n % 4 = 0 THEN 'B' ELSE 'A' END), 'email', 'a@example.test', '',
			CASE WHEN n % 5 = 0 THEN 'failed' ELSE 'sent' END
		FROM generate_series(1, 40) AS n
		ORDER BY n`)
	require.NoError(t, err)
	var of uuid.UUID
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT public_id FROM businesses WHERE name = 'B'`).Scan(&of))
	a := &API{opts: Options{Pool: pool}}
	for _, c := range []struct {
		budget time.Duration
		of     uuid.UUID
		calls  int
		want   []int64
	}{
		{0, uuid.Nil, 11, []int64{40, 35, 30, 25, 20, 15, 10, 5}}, // 40 by fours, and one that finds nothing left
		{time.Hour, uuid.Nil, 3, []int64{40, 35, 30, 25, 20, 15, 10, 5}},
		{0, of, 3, []int64{40, 20}},
		{time.Hour, of, 1, []int64{40, 20}},
	} {
		in := &listMessagesInput{Paging: Paging{Limit: 3}, BusinessID: c.of, State: []string{"failed"}}
		var got []int64
		calls := 0
		for next := int64(1 << 62); next != 0; calls++ {
			found, last, err := a.findMessages(t.Context(), in, next, c.budget)
			require.NoError(t, err)
			require.LessOrEqual(t, len(found), 3)
			for _, m := range found {
				require.Equal(t, "failed", m.State)
				got = append(got, m.id)
			}
			next = last
		}
		require.Equal(t, c.want, got)
		require.Equal(t, c.calls, calls, "%v", c)
	}
}
