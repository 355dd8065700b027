package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// newBusiness inserts a business with a site, bare of facts.
func newBusiness(ctx context.Context, t require.TestingT, pool *pgxpool.Pool) (business, site int64) {
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO businesses (public_id, name) VALUES ($1, 'Test') RETURNING id`, uuid.Must(uuid.NewV7())).Scan(&business))
	require.NoError(t, pool.QueryRow(ctx, `
		INSERT INTO sites (public_id, business_id) VALUES ($1, $2) RETURNING id`, uuid.Must(uuid.NewV7()), business).Scan(&site))
	return business, site
}

// stored reads what is stored of a business and its site.
func stored(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, business, site int64) (s lifecycle.State, shown lifecycle.Status, st lifecycle.SiteState) {
	require.NoError(t, pool.QueryRow(ctx, `
		SELECT contact_status, reached, bounced, purchased, opted_out, website_status, subscription_status, ticket_status
		FROM businesses WHERE id = $1`, business).Scan(&shown, &s.Contact.Reached, &s.Contact.Bounced, &s.Contact.Purchased,
		&s.Contact.OptedOut, &s.Website, &s.Subscription, &s.Ticket))
	require.NoError(t, pool.QueryRow(ctx, `SELECT status, subscription_status FROM sites WHERE id = $1`, site).Scan(&st.Status, &st.Subscription))
	return s, shown, st
}

// drawFacts draws a fact set with few distinct times, so that ties are common.
func drawFacts(t *rapid.T, business, site int64, tag string) []pgstore.Fact {
	base := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	n := rapid.IntRange(1, 14).Draw(t, "facts")
	facts := make([]pgstore.Fact, n)
	for i := range facts {
		e := rapid.SampledFrom(lifecycle.Events()).Draw(t, "event")
		facts[i] = pgstore.Fact{
			BusinessID: business, Event: e, Source: pgstore.SourceSystem,
			OccurredAt: base.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "second")) * time.Second),
			Key:        fmt.Sprintf("%s:%02d", tag, i),
		}
		if rapid.Bool().Draw(t, "names the site") {
			facts[i].SiteID = site
		}
	}
	return facts
}

func pureFacts(facts []pgstore.Fact) []lifecycle.Fact {
	out := make([]lifecycle.Fact, len(facts))
	for i, f := range facts {
		out[i] = lifecycle.Fact{Event: f.Event, OccurredAt: f.OccurredAt, Key: f.Key}
	}
	return out
}

// The same facts in any order, with repeats, by several workers at once, in transactions of any size, end in the
// fold of the facts. rapid runs 100 cases of this; each applies its set four times to four businesses.
func TestPromise2_anyOrderAnyWorkersSameStatus(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		ctx := context.Background()
		template := drawFacts(rt, 0, 1, "")
		for round := range 4 {
			business, site := newBusiness(ctx, rt, pool)
			facts := slices.Clone(template)
			for i := range facts {
				facts[i].BusinessID = business
				facts[i].Key = fmt.Sprintf("r%d.%d%s", run, round, facts[i].Key)
				if facts[i].SiteID != 0 {
					facts[i].SiteID = site
				}
			}
			// Every fact at least once, some twice, in an order of rapid's.
			stream := rapid.Permutation(slices.Concat(facts, facts[:rapid.IntRange(0, len(facts)).Draw(rt, "repeats")])).Draw(rt, "order")
			workers := rapid.IntRange(1, 4).Draw(rt, "workers")
			size := rapid.IntRange(1, 4).Draw(rt, "transaction size")
			applyConcurrently(ctx, rt, pool, stream, workers, size)

			want := lifecycle.Fold(pureFacts(facts))
			state, shown, st := stored(ctx, rt, pool, business, site)
			require.Equal(rt, want, state)
			require.Equal(rt, want.Contact.Status(), shown)
			require.Equal(rt, lifecycle.FoldSite(pureFacts(onSite(facts))), st)
			requireChain(ctx, rt, pool, business, state, st)
		}
	})
}

func onSite(facts []pgstore.Fact) []pgstore.Fact {
	return slices.DeleteFunc(slices.Clone(facts), func(f pgstore.Fact) bool { return f.SiteID == 0 })
}

func applyConcurrently(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, stream []pgstore.Fact, workers, size int) {
	chunks := make(chan []pgstore.Fact, len(stream))
	for c := range slices.Chunk(stream, size) {
		chunks <- c
	}
	close(chunks)
	var wg sync.WaitGroup
	errs := make(chan error, len(stream))
	for range workers {
		wg.Go(func() {
			for c := range chunks {
				errs <- pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					_, err := pgstore.Apply(ctx, tx, c)
					return err
				})
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

// requireChain checks promise 5 on a business: on every axis the transitions lead, one from the other, to what is
// stored.
func requireChain(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, business int64, s lifecycle.State, st lifecycle.SiteState) {
	rows, err := pool.Query(ctx, `SELECT axis, from_status, to_status FROM transitions WHERE business_id = $1 ORDER BY id`, business)
	require.NoError(t, err)
	initial := lifecycle.Initial()
	at := map[lifecycle.Axis]lifecycle.Status{lifecycle.AxisSite: lifecycle.InitialSite().Status, lifecycle.AxisSiteSubscription: lifecycle.InitialSite().Subscription}
	end := map[lifecycle.Axis]lifecycle.Status{lifecycle.AxisSite: st.Status, lifecycle.AxisSiteSubscription: st.Subscription}
	for _, a := range lifecycle.Axes() {
		at[a], end[a] = initial.Status(a), s.Status(a)
	}
	var axis lifecycle.Axis
	var from, to lifecycle.Status
	_, err = pgx.ForEachRow(rows, []any{&axis, &from, &to}, func() error {
		if at[axis] != from {
			return fmt.Errorf("axis %s: a transition from %s where %s was", axis, from, at[axis])
		}
		at[axis] = to
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, end, at)
}

func TestApply_correctsAndCallsStaleWhatComesLate(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, site := newBusiness(ctx, t, pool)
	at := func(s int) time.Time { return time.Date(2026, 10, 1, 12, 0, s, 0, time.UTC) }
	apply := func(e lifecycle.Event, s int, key string) pgstore.Applied {
		var out []pgstore.Applied
		inTx(t, pool, func(tx pgx.Tx) {
			var err error
			out, err = pgstore.Apply(ctx, tx, []pgstore.Fact{{BusinessID: business, SiteID: site, Event: e, OccurredAt: at(s), Key: key, Source: pgstore.SourceSystem}})
			require.NoError(t, err)
		})
		require.Len(t, out, 1)
		return out[0]
	}
	require.Equal(t, []lifecycle.Change{
		{Axis: lifecycle.AxisSubscription, From: "none", To: "active", Verdict: lifecycle.Applied},
		{Axis: lifecycle.AxisWebsite, From: "none", To: "none", Verdict: lifecycle.NoChange},
		{Axis: lifecycle.AxisSiteSubscription, From: "none", To: "active", Verdict: lifecycle.Applied},
	}, apply(lifecycle.SubscriptionActivated, 10, "b").Changes)
	require.True(t, apply(lifecycle.SubscriptionActivated, 10, "b").Duplicate)
	// The cancellation happened before: it comes late and changes nothing that is shown.
	late := apply(lifecycle.SubscriptionCancelled, 5, "a")
	require.Equal(t, lifecycle.Change{Axis: lifecycle.AxisSubscription, From: "active", To: "active", Verdict: lifecycle.Stale}, late.Changes[0])
	// A purchase from before the cancellation: the site was sold, archived, and is sold again since the activation.
	require.Contains(t, apply(lifecycle.PurchaseCompleted, 1, "c").Changes,
		lifecycle.Change{Axis: lifecycle.AxisWebsite, From: "none", To: "sold", Verdict: lifecycle.Corrected})
	state, _, _ := stored(ctx, t, pool, business, site)
	require.Equal(t, lifecycle.Sold, state.Website)
}

func TestApply_refusesWhatItCannotFold(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _ := newBusiness(ctx, t, pool)
	for name, f := range map[string]pgstore.Fact{
		"an unknown event":    {BusinessID: business, Event: "levitated", Key: "k", Source: pgstore.SourceSystem},
		"no key":              {BusinessID: business, Event: lifecycle.OptedOut, Source: pgstore.SourceSystem},
		"an unknown business": {BusinessID: business + 1000, Event: lifecycle.OptedOut, Key: "k", Source: pgstore.SourceSystem},
		"an unknown site":     {BusinessID: business, SiteID: 99, Event: lifecycle.OptedOut, Key: "k", Source: pgstore.SourceSystem},
	} {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{f})
			return err
		})
		require.Error(t, err, name)
	}
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM facts`).Scan(&n))
	require.Zero(t, n)
}
