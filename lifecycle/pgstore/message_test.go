package pgstore_test

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// However many reports come at once, in whatever order and grouping, each message ends in the highest state that was
// reported, each step up is seen by exactly one report, and counters are the counts.
func TestRaiseAll_highestWinsUnderConcurrency(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _ := newBusiness(ctx, t, pool)
	var campaign int64
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO campaigns (public_id, name, channel, body, audience) VALUES ($1, 'T', 'sms', 'b', '{}') RETURNING id`, uuid.New()).Scan(&campaign))
	const messages = 20
	ids, publics := make([]int64, messages), make([]uuid.UUID, messages)
	sidOf := func(i int) string { return "SM" + strconv.Itoa(i) }
	highest := map[int64]lifecycle.MessageState{}
	for i := range ids {
		// One a business and campaign: the businesses are the same here, so all but the first are of no campaign.
		c := &campaign
		if i > 0 {
			c = nil
		}
		publics[i] = uuid.New()
		require.NoError(t, pool.QueryRow(ctx, `
			INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body, state, provider_sid)
			VALUES ($1, $2, $3, 'sms', '+12025550001', 'b', 'dispatching', $4) RETURNING id`, publics[i], c, business, sidOf(i)).Scan(&ids[i]))
		highest[ids[i]] = lifecycle.MessageDispatching
	}
	inTx(t, pool, func(tx pgx.Tx) {
		require.NoError(t, pgstore.Count(ctx, tx, campaign, ids[0], "", "dispatching"))
	})
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's order
	states := lifecycle.MessageStates()[4:]
	var reports []pgstore.Report
	for range 400 {
		i := rng.IntN(messages)
		r := pgstore.Report{State: states[rng.IntN(len(states))], At: time.Now()}
		switch rng.IntN(3) {
		case 0:
			r.MessageID = ids[i]
		case 1:
			r.ProviderSID = sidOf(i)
		case 2:
			r.PublicID = publics[i]
		}
		reports = append(reports, r)
		highest[ids[i]], _ = highest[ids[i]].Raise(r.State)
	}
	var mu sync.Mutex
	ups := map[int64][]pgstore.Raised{}
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part * 100; i < (part+1)*100; i += 10 {
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					out, err := pgstore.RaiseAll(ctx, tx, reports[i:i+10])
					if err != nil {
						return err
					}
					mu.Lock()
					for _, r := range out {
						if r.Up {
							ups[r.MessageID] = append(ups[r.MessageID], r)
						}
					}
					mu.Unlock()
					return pgstore.CountRaised(ctx, tx, out)
				})
				if err != nil {
					t.Errorf("raise: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for id, want := range highest {
		var got lifecycle.MessageState
		require.NoError(t, pool.QueryRow(ctx, `SELECT state FROM messages WHERE id = $1`, id).Scan(&got))
		require.Equal(t, want.Rank(), got.Rank(), "message %d: %s, not %s", id, got, want)
		ranks := map[int]bool{}
		for _, u := range ups[id] {
			require.Greater(t, u.To.Rank(), u.From.Rank())
			require.False(t, ranks[u.To.Rank()], "two reports raised message %d to one rank", id)
			ranks[u.To.Rank()] = true
		}
	}
	var state string
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT state, sum(n) FROM campaign_counters GROUP BY state HAVING sum(n) <> 0`).Scan(&state, &n))
	require.Equal(t, 1, n)
	require.Equal(t, highest[ids[0]].Rank(), lifecycle.MessageState(state).Rank())
}

func TestRaiseAll_findsMessages(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _ := newBusiness(ctx, t, pool)
	newMessage := func(sid any) (id int64, public uuid.UUID) {
		public = uuid.New()
		require.NoError(t, pool.QueryRow(ctx, `
			INSERT INTO messages (public_id, business_id, channel, address, body, state, provider_sid)
			VALUES ($1, $2, 'sms', '+12025550001', 'b', 'accepted', $3) RETURNING id`, public, business, sid).Scan(&id))
		return id, public
	}
	known, knownPublic := newMessage("SMknown")
	early, earlyPublic := newMessage(nil)
	inTx(t, pool, func(tx pgx.Tx) {
		report := func(r pgstore.Report) pgstore.Report { r.At = time.Now(); return r }
		out, err := pgstore.RaiseAll(ctx, tx, []pgstore.Report{
			report(pgstore.Report{ProviderSID: "SMknown", State: lifecycle.MessageSent}),
			report(pgstore.Report{ProviderSID: "SMgone", PublicID: uuid.New(), State: lifecycle.MessageSent}),
			report(pgstore.Report{ProviderSID: "SMearly", PublicID: earlyPublic, State: lifecycle.MessageSent}),
			report(pgstore.Report{PublicID: knownPublic, State: lifecycle.MessageDelivered}), // the first's, named otherwise
			report(pgstore.Report{State: lifecycle.MessageSent}),
			report(pgstore.Report{ProviderSID: "SMknown", PublicID: earlyPublic, State: lifecycle.MessageRead}), // the SID goes first
			report(pgstore.Report{MessageID: early, State: lifecycle.MessageDelivered}),
		})
		require.NoError(t, err)
		var ids []int64
		var up int
		for _, r := range out {
			ids = append(ids, r.MessageID)
			if r.Up {
				up++
			}
		}
		require.Equal(t, []int64{known, 0, early, known, 0, known, early}, ids)
		require.GreaterOrEqual(t, up, 3, "early twice, known once or more: its reports name it differently")
		require.Equal(t, lifecycle.MessageRead, out[5].To)

		_, err = pgstore.RaiseAll(ctx, tx, []pgstore.Report{report(pgstore.Report{MessageID: early + 1000, State: lifecycle.MessageSent})})
		require.ErrorIs(t, err, pgstore.ErrNoMessage)
	})
	var sid, state string
	require.NoError(t, pool.QueryRow(ctx, `SELECT provider_sid, state FROM messages WHERE id = $1`, early).Scan(&sid, &state))
	require.Equal(t, "SMearly", sid, "kept, though it came first")
	require.Equal(t, "delivered", state)
}
