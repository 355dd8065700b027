package analytics_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/lifecycle/pgstore/analytics"
)

func newBusiness(t *testing.T, pool *pgxpool.Pool) (id int64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `INSERT INTO businesses (public_id, name) VALUES ($1, 'B') RETURNING id`,
		uuid.Must(uuid.NewV7())).Scan(&id))
	return id
}

func apply(ctx context.Context, t require.TestingT, tx pgx.Tx, business int64, e lifecycle.Event, key string) {
	_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{
		BusinessID: business, Event: e, OccurredAt: time.Now().Add(-time.Hour), Source: pgstore.SourceSystem, Key: key,
	}})
	require.NoError(t, err)
}

func contacted(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	f, err := analytics.ReadFunnel(t.Context(), pool, analytics.FunnelQuery{})
	require.NoError(t, err)
	return f.Total.Counts[0]
}

// A fact with a lower id that is committed later is not lost.
func TestAdvance_waitsForOlderTransactions(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	slow, fast := newBusiness(t, pool), newBusiness(t, pool)
	advance(t, pool, analytics.AdvanceOptions{})

	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	apply(ctx, t, tx, slow, lifecycle.SMSSentEvent, "slow")
	inTx(t, pool, func(tx pgx.Tx) { apply(ctx, t, tx, fast, lifecycle.SMSSentEvent, "fast") })

	for range 3 {
		done, err := analytics.Advance(ctx, pool, analytics.AdvanceOptions{})
		require.NoError(t, err)
		require.False(t, done.Arrived, "the first fact has a lower id and is not there yet")
	}
	require.NoError(t, tx.Commit(ctx))
	advance(t, pool, analytics.AdvanceOptions{})
	require.Equal(t, int64(2), contacted(t, pool))
}

// Between two transactions it rests, for as long as it is told, and ends at once when it shall.
func TestAdvance_rests(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	const n = 5
	var ids []int64
	for range n {
		ids = append(ids, newBusiness(t, pool))
	}
	advance(t, pool, analytics.AdvanceOptions{})
	for _, id := range ids {
		inTx(t, pool, func(tx pgx.Tx) {
			apply(t.Context(), t, tx, id, lifecycle.SMSSentEvent, "sent "+strconv.FormatInt(id, 10))
		})
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := analytics.Advance(ctx, pool, analytics.AdvanceOptions{Patience: time.Minute, Facts: 1, Rest: 1e9})
		ended <- err
	}()
	require.Eventually(t, func() bool { return contacted(t, pool) == 1 }, time.Minute, 10*time.Millisecond)
	cancel(enough)
	require.ErrorIs(t, <-ended, enough)
	require.Equal(t, int64(1), contacted(t, pool), "the second would have come after weeks")
	advance(t, pool, analytics.AdvanceOptions{Rest: 0.01})
	require.Equal(t, int64(n), contacted(t, pool))
}

// Nobody who writes waits for analytics, however far they are behind.
func TestAdvance_beside(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	var ids []int64
	for range 40 {
		ids = append(ids, newBusiness(t, pool))
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 { // several at once take turns
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := analytics.Advance(ctx, pool, analytics.AdvanceOptions{Facts: 3, Businesses: 3})
				if !assertNoError(t, err) {
					return
				}
			}
		})
	}
	for w := range 4 {
		writers.Go(func() {
			for i := range 60 {
				id := ids[(i*7+w)%len(ids)]
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					e := []lifecycle.Event{lifecycle.SMSSentEvent, lifecycle.ReplyReceived, lifecycle.PurchaseCompleted}[(i+w)%3]
					_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{
						BusinessID: id, Event: e, OccurredAt: time.Now().Add(-time.Duration(i%5) * time.Hour), Source: pgstore.SourceSystem,
						Key: strconv.Itoa(w) + ":" + strconv.Itoa(i%50), // some come twice
					}})
					if i%9 == 0 && err == nil {
						return tx.Rollback(ctx) // and some ids are never seen
					}
					return err
				})
				if err != nil && i%9 != 0 && !assertNoError(t, err) {
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	advance(t, pool, analytics.AdvanceOptions{})
	agree(t, pool)
	found, err := analytics.Verify(ctx, pool, analytics.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, found.Drifts)
}

func assertNoError(t *testing.T, err error) bool {
	if err != nil {
		t.Errorf("%v", err)
	}
	return err == nil
}

// A process that ends between two chunks, or within one, leaves a place and sums that belong together.
func TestAdvance_cutOff(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	_, err := pgstore.Generate(t.Context(), pool, pgstore.GenerateOptions{Businesses: 200, Facts: 2000, Seed: 3})
	require.NoError(t, err)
	for cut := 1; ; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		chunks := 0
		done, err := analytics.Advance(ctx, pool, analytics.AdvanceOptions{Businesses: 7, Patience: time.Minute, Progress: func(int64) {
			if chunks++; chunks == 3 {
				go cancel() // wherever it is by then
			}
		}})
		cancel()
		if err == nil {
			require.True(t, done.Arrived)
			require.Greater(t, cut, 3, "it was cut off again and again")
			break
		}
	}
	agree(t, pool)
	found, err := analytics.Verify(t.Context(), pool, analytics.VerifyOptions{})
	require.NoError(t, err)
	require.Empty(t, found.Drifts)
}

// Until everything is counted, the numbers say that they are not complete.
func TestReset_saysThatItIsNotComplete(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	f, err := analytics.ReadFunnel(ctx, pool, analytics.FunnelQuery{})
	require.NoError(t, err)
	require.Nil(t, f.AsOf)
	advance(t, pool, analytics.AdvanceOptions{})
	f, err = analytics.ReadFunnel(ctx, pool, analytics.FunnelQuery{})
	require.NoError(t, err)
	require.NotNil(t, f.AsOf)
	require.NoError(t, analytics.Reset(ctx, pool))
	p, err := analytics.ReadProgress(ctx, pool)
	require.NoError(t, err)
	require.True(t, p.Rebuilding)
	_, err = analytics.Verify(ctx, pool, analytics.VerifyOptions{})
	require.ErrorIs(t, err, analytics.ErrRebuilding)
}

// Plans are kept for a session's life: those that are made while tables are empty must be good for large ones, too.
func TestAdvance_plansOfEmptyTables(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	inTx(t, pool, func(tx pgx.Tx) {
		for n := range 20 {
			apply(ctx, t, tx, newBusiness(t, pool), lifecycle.SMSSentEvent, strconv.Itoa(n))
		}
	})
	one := pool.Config()
	one.MaxConns = 1
	session, err := pgxpool.NewWithConfig(ctx, one)
	require.NoError(t, err)
	defer session.Close()
	scans := func() (list map[string]int64) {
		list = map[string]int64{}
		for _, p := range []*pgxpool.Pool{pool, session} {
			for _, c := range p.AcquireAllIdle(ctx) {
				_, err := c.Exec(ctx, `SELECT pg_stat_force_next_flush()`)
				c.Release()
				require.NoError(t, err)
			}
		}
		rows, err := pool.Query(ctx, `
			SELECT relname, seq_scan
			FROM pg_stat_user_tables
			WHERE relname IN ('businesses', 'messages', 'payments', 'failed_charges', 'analytics_businesses')`)
		require.NoError(t, err)
		var name string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error { list[name] = n; return nil })
		require.NoError(t, err)
		require.Len(t, list, 5)
		return list
	}
	before := scans()
	advance(t, session, analytics.AdvanceOptions{Facts: 1})
	require.Equal(t, before, scans())
	require.Equal(t, int64(20), contacted(t, pool))
}

// What a backup brings from another server is not waited for.
func TestAdvance_targetOfAnotherServer(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	_, err := pool.Exec(ctx, `UPDATE analytics_progress SET target_fact_id = 5, target_xid = '9000000000000', target_at = now()`)
	require.NoError(t, err)
	advance(t, pool, analytics.AdvanceOptions{})
}

func TestVerify_findsDrift(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, damage := range map[string]string{
		"contribution": `UPDATE analytics_businesses SET furthest = 7 WHERE business_id = (SELECT min(business_id) FROM analytics_businesses WHERE furthest = 1)`,
		"missing":      `DELETE FROM analytics_businesses WHERE business_id = (SELECT min(business_id) FROM analytics_businesses)`,
		"customer":     `UPDATE analytics_customers SET alive_at = now()`,
		"credit":       `UPDATE analytics_credits SET until_days = 3`,
		"funnel":       `UPDATE analytics_funnel SET replied = replied + 1`,
		"funnel day":   `UPDATE analytics_funnel_days SET replied = replied + 1`,
		"no day":       `DELETE FROM analytics_funnel_days`,
		"cell":         `DELETE FROM analytics_funnel WHERE at = (SELECT min(at) FROM analytics_funnel)`,
		"credits":      `UPDATE analytics_credit_sums SET amount_in_cents = amount_in_cents + 1`,
		"credit cell":  `DELETE FROM analytics_credit_sums WHERE ctid = (SELECT min(ctid) FROM analytics_credit_sums WHERE n <> 0)`,
		"campaign":     `INSERT INTO analytics_campaigns VALUES (1, 1, 0, 0, 0, 0, 0)`,
		"cost":         `INSERT INTO analytics_costs VALUES (1, 'USD', 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newDB(t)
			_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 200, Facts: 2000, Seed: 3})
			require.NoError(t, err)
			advance(t, pool, analytics.AdvanceOptions{})
			tag, err := pool.Exec(ctx, damage)
			require.NoError(t, err)
			require.Positive(t, tag.RowsAffected())
			found, err := analytics.Verify(ctx, pool, analytics.VerifyOptions{})
			require.NoError(t, err)
			require.NotEmpty(t, found.Drifts)
			require.NoError(t, analytics.Reset(ctx, pool))
			advance(t, pool, analytics.AdvanceOptions{})
			found, err = analytics.Verify(ctx, pool, analytics.VerifyOptions{})
			require.NoError(t, err)
			require.Empty(t, found.Drifts)
		})
	}
}
