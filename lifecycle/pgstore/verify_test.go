package pgstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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

// verify looks at everything and returns what it found.
func verify(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, o pgstore.VerifyOptions) (pgstore.Verification, []pgstore.Drift) {
	var found []pgstore.Drift
	o.Found = func(d pgstore.Drift) { found = append(found, d) }
	v, err := pgstore.Verify(ctx, pool, o)
	require.NoError(t, err)
	return v, found
}

func byHand(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, sql string, args ...any) {
	tag, err := pool.Exec(ctx, sql, args...)
	require.NoError(t, err, sql)
	require.Positive(t, tag.RowsAffected(), sql)
}

// customer is a business with a site and a fact on every axis: it was written to, answered, bought and opened a ticket.
func customer(ctx context.Context, t *testing.T, pool *pgxpool.Pool) (business, site int64, public uuid.UUID) {
	t.Helper()
	business, site = newBusiness(ctx, t, pool)
	base := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	inTx(t, pool, func(tx pgx.Tx) {
		for i, e := range []lifecycle.Event{
			lifecycle.GenerationCompleted, lifecycle.SMSSentEvent, lifecycle.ReplyReceived, lifecycle.TicketOpened,
			lifecycle.PurchaseCompleted, lifecycle.SubscriptionActivated, lifecycle.SubscriptionPastDue,
		} {
			f := pgstore.Fact{
				BusinessID: business, Event: e, OccurredAt: base.Add(time.Duration(i) * time.Hour),
				Key: fmt.Sprintf("customer:%d:%d", business, i), Source: pgstore.SourceSystem,
			}
			if !slices.Contains(e.Axes(), lifecycle.AxisTicket) {
				f.SiteID = site
			}
			_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{f})
			require.NoError(t, err)
		}
	})
	require.NoError(t, pool.QueryRow(ctx, `SELECT public_id FROM businesses WHERE id = $1`, business).Scan(&public))
	return business, site, public
}

type tampering struct {
	sql    string // $1 is the business
	axis   lifecycle.Axis
	field  pgstore.DriftField
	stored string // what the drift says is stored
	folded string
	onSite bool
}

func tamperings() map[string]tampering {
	return map[string]tampering{
		"contact status": {
			sql: `UPDATE businesses SET contact_status = 'emailed' WHERE id = $1`, axis: "contact", field: "status", stored: "emailed", folded: "purchased",
		},
		"website status": {
			sql: `UPDATE businesses SET website_status = 'archived' WHERE id = $1`, axis: "website", field: "status", stored: "archived", folded: "sold",
		},
		"subscription status": {
			sql: `UPDATE businesses SET subscription_status = 'active' WHERE id = $1`, axis: "subscription", field: "status", stored: "active", folded: "past_due",
		},
		"ticket status": {
			sql: `UPDATE businesses SET ticket_status = 'closed' WHERE id = $1`, axis: "ticket", field: "status", stored: "closed", folded: "open",
		},
		"reached": {
			sql: `UPDATE businesses SET reached = 'opened' WHERE id = $1`, axis: "contact", field: "reached", stored: "opened", folded: "replied",
		},
		"bounced": {
			sql: `UPDATE businesses SET bounced = true WHERE id = $1`, axis: "contact", field: "bounced", stored: "true", folded: "false",
		},
		"purchased": {
			sql: `UPDATE businesses SET purchased = false WHERE id = $1`, axis: "contact", field: "purchased", stored: "false", folded: "true",
		},
		"opted out": {
			sql: `UPDATE businesses SET opted_out = true WHERE id = $1`, axis: "contact", field: "opted_out", stored: "true", folded: "false",
		},
		"position, time": {
			sql: `UPDATE businesses SET folded_at = folded_at - interval '1 hour' WHERE id = $1`, field: "position",
		},
		"position, key": {
			sql: `UPDATE businesses SET folded_key = folded_key || 'x' WHERE id = $1`, field: "position",
		},
		"position, none": {
			sql: `UPDATE businesses SET folded_at = NULL, folded_key = NULL WHERE id = $1`, field: "position", stored: "none",
		},
		"site status": {
			sql: `UPDATE sites SET status = 'draft' WHERE business_id = $1`, axis: "site", field: "status", stored: "draft", folded: "owned", onSite: true,
		},
		"site subscription": {
			sql: `UPDATE sites SET subscription_status = 'none' WHERE business_id = $1`, axis: "site_subscription", field: "status", stored: "none", folded: "past_due", onSite: true,
		},
		"a transition that no fact made": {
			sql: `INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
				SELECT max(id), $1, 'ticket', 'open', 'closed', 'applied' FROM facts WHERE business_id = $1`,
			axis: "ticket", field: "transitions", stored: "closed", folded: "open",
		},
		"a transition of the site that no fact made": {
			sql: `INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
				SELECT max(id), $1, 'site', 'owned', 'draft', 'applied' FROM facts WHERE business_id = $1 AND site_id IS NOT NULL`,
			axis: "site", field: "transitions", stored: "draft", folded: "owned", onSite: true,
		},
	}
}

// Whatever is changed by hand is found, explained and repaired; the repair can be followed back; and after it all is well.
func TestPromise5_whatIsChangedByHandIsFoundExplainedAndRepaired(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	bystander, _, _ := customer(ctx, t, pool)
	for name, c := range tamperings() {
		business, site, public := customer(ctx, t, pool)
		_, clean := verify(ctx, t, pool, pgstore.VerifyOptions{})
		require.Empty(t, clean, name)
		before, shown, siteBefore := stored(ctx, t, pool, business, site)
		byHand(ctx, t, pool, c.sql, business)

		v, found := verify(ctx, t, pool, pgstore.VerifyOptions{})
		require.Equal(t, int64(1), v.Drifted, name)
		require.Zero(t, v.Repaired, name)
		require.Len(t, found, 1, name)
		d := found[0]
		require.Equal(t, public, d.Business, name)
		require.Equal(t, c.onSite, d.Site != uuid.Nil, name)
		require.Equal(t, c.axis, d.Axis, name)
		require.Equal(t, c.field, d.Field, name)
		if c.folded != "" {
			require.Equal(t, c.stored, d.Stored, name)
			require.Equal(t, c.folded, d.Folded, name)
		}
		require.NotEqual(t, d.Stored, d.Folded, name)
		require.NotEmpty(t, d.LastFacts, name)
		require.True(t, slices.IsSortedFunc(d.LastFacts, func(a, b pgstore.LastFact) int { return b.OccurredAt.Compare(a.OccurredAt) }), name)
		require.False(t, d.Repaired, name)

		v, found = verify(ctx, t, pool, pgstore.VerifyOptions{Repair: &pgstore.Repair{Actor: "ana@desk", Reason: "changed by hand: " + name}})
		require.Equal(t, pgstore.Verification{Businesses: v.Businesses, Drifted: 1, Repaired: 1}, v, name)
		require.True(t, found[0].Repaired, name)
		requireTraced(ctx, t, pool, business, public, "changed by hand: "+name, d)

		_, found = verify(ctx, t, pool, pgstore.VerifyOptions{})
		require.Empty(t, found, name)
		after, shownAfter, siteAfter := stored(ctx, t, pool, business, site)
		require.Equal(t, []any{before, shown, siteBefore}, []any{after, shownAfter, siteAfter}, name)
	}
	var actions int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM transitions WHERE business_id = $1 AND verdict = 'corrected'`, bystander).Scan(&actions))
	require.Zero(t, actions)
}

// requireTraced follows a repair back: the timeline has who, why, and the transition that was made, which names a fact.
func requireTraced(ctx context.Context, t *testing.T, pool *pgxpool.Pool, business int64, public uuid.UUID, reason string, d pgstore.Drift) {
	t.Helper()
	var actor, target string
	var details []byte
	require.NoError(t, pool.QueryRow(ctx, `
		SELECT actor, target_id, details FROM operator_actions WHERE action = $1 AND reason = $2`, pgstore.ActionRepair, reason).Scan(&actor, &target, &details))
	require.Equal(t, "ana@desk", actor)
	require.Equal(t, public.String(), target)
	var log struct {
		Drift       []pgstore.Drift `json:"drift"`
		Transitions []int64         `json:"transitions"`
	}
	require.NoError(t, json.Unmarshal(details, &log))
	require.Equal(t, d.Stored, log.Drift[0].Stored)
	require.Equal(t, d.Folded, log.Drift[0].Folded)

	items, err := pgstore.Timeline(ctx, pool, business, nil, 100)
	require.NoError(t, err)
	kinds := map[string]pgstore.TimelineItem{}
	for _, i := range slices.Backward(items) {
		kinds[i.Kind+i.Verdict] = i
	}
	require.Equal(t, reason, kinds["action"].Note)
	if d.Field == pgstore.FieldPosition {
		require.Empty(t, log.Transitions)
		return
	}
	require.Len(t, log.Transitions, 1)
	made := kinds["transitioncorrected"]
	require.Equal(t, string(d.Axis), made.Axis)
	require.Equal(t, d.LastFacts[0].ID, made.FactID)
	if d.Field == pgstore.FieldStatus {
		require.Equal(t, []string{d.Stored, d.Folded}, []string{made.From, made.To})
	}
}

// A fact that somebody inserted beside Apply has moved nothing: every axis that it speaks of drifts, all in one repair.
func TestVerify_factsThatWereNotFolded(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, site, _ := customer(ctx, t, pool)
	byHand(ctx, t, pool, `
		INSERT INTO facts (business_id, site_id, event, axis, occurred_at, source, dedupe_key)
		VALUES ($1, $2, 'subscription_cancelled', 'subscription', now(), 'import', 'by hand')`, business, site)
	_, found := verify(ctx, t, pool, pgstore.VerifyOptions{})
	var fields []string
	for _, d := range found {
		fields = append(fields, string(d.Axis)+" "+string(d.Field))
	}
	require.Equal(t, []string{
		"website status", "website transitions", "subscription status", "subscription transitions", " position",
		"site_subscription status", "site_subscription transitions",
	}, fields)
	v, _ := verify(ctx, t, pool, pgstore.VerifyOptions{Repair: &pgstore.Repair{Actor: "a", Reason: "r"}})
	require.Equal(t, int64(1), v.Repaired)
	_, found = verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	state, _, st := stored(ctx, t, pool, business, site)
	require.Equal(t, lifecycle.Archived, state.Website)
	require.Equal(t, lifecycle.Cancelled, st.Subscription)
}

// A business without facts has no transition to correct; the operators' log alone tells of its repair.
func TestVerify_businessWithoutFacts(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _ := newBusiness(ctx, t, pool)
	_, found := verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	byHand(ctx, t, pool, `UPDATE businesses SET contact_status = 'replied' WHERE id = $1`, business)
	_, found = verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Len(t, found, 1)
	require.Empty(t, found[0].LastFacts)
	v, _ := verify(ctx, t, pool, pgstore.VerifyOptions{Repair: &pgstore.Repair{Actor: "a", Reason: "r"}})
	require.Equal(t, int64(1), v.Repaired)
	_, found = verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM operator_actions WHERE action = 'business.repair'`).Scan(&n))
	require.Equal(t, 1, n)

	// Its facts gone and its trail left, which takes a disabled trigger: nothing can put that right.
	byHand(ctx, t, pool, `INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict) VALUES (1, $1, 'ticket', 'none', 'open', 'applied')`, business)
	v, found = verify(ctx, t, pool, pgstore.VerifyOptions{Repair: &pgstore.Repair{Actor: "a", Reason: "r"}})
	require.Equal(t, pgstore.Verification{Businesses: 1, Drifted: 1}, v)
	require.False(t, found[0].Repaired)
}

// A fact of an event that this version does not know was recorded by a newer one: what is stored is that one's fold,
// and must not be called drift, still less be repaired.
func TestVerify_leavesNewerVersionsAlone(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	business, _, _ := customer(ctx, t, pool)
	byHand(ctx, t, pool, `
		INSERT INTO facts (business_id, event, axis, occurred_at, source, dedupe_key)
		VALUES ($1, 'faxed', 'contact', now(), 'import', 'newer')`, business)
	byHand(ctx, t, pool, `UPDATE businesses SET contact_status = 'replied' WHERE id = $1`, business)
	v, found := verify(ctx, t, pool, pgstore.VerifyOptions{Repair: &pgstore.Repair{Actor: "a", Reason: "r"}})
	require.Empty(t, found)
	require.Equal(t, pgstore.Verification{Businesses: 1, Newer: 1}, v)
}

func TestVerify_repairWantsActorAndReason(t *testing.T) {
	t.Parallel()
	for _, r := range []pgstore.Repair{{}, {Actor: "a"}, {Reason: "r"}, {Actor: "a", Reason: " "}} {
		_, err := pgstore.Verify(t.Context(), nil, pgstore.VerifyOptions{Repair: &r})
		require.ErrorIs(t, err, pgstore.ErrNoReason)
	}
}

func TestVerify_sampleAndProgress(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	v, _ := verify(ctx, t, pool, pgstore.VerifyOptions{Sample: 10})
	require.Zero(t, v)
	_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 300, Facts: 900})
	require.NoError(t, err)
	// Gaps, as erasures and rolled back inserts leave them.
	byHand(ctx, t, pool, `DELETE FROM sites WHERE business_id % 3 = 0`)
	byHand(ctx, t, pool, `DELETE FROM businesses WHERE id % 3 = 0`)

	var steps [][2]int64
	v, found := verify(ctx, t, pool, pgstore.VerifyOptions{BatchSize: 70, Progress: func(done, total int64) { steps = append(steps, [2]int64{done, total}) }})
	require.Empty(t, found)
	require.Equal(t, int64(200), v.Businesses)
	require.Equal(t, [][2]int64{{70, 200}, {140, 200}, {200, 200}}, steps)

	seen := map[uuid.UUID]bool{}
	byHand(ctx, t, pool, `UPDATE businesses SET folded_at = now(), folded_key = 'tampered'`)
	for range 200 {
		v, found := verify(ctx, t, pool, pgstore.VerifyOptions{Sample: 20, BatchSize: 7})
		require.LessOrEqual(t, v.Businesses, int64(20))
		require.Greater(t, v.Businesses, int64(10))
		require.Len(t, found, int(v.Businesses))
		for _, d := range found {
			seen[d.Business] = true
		}
	}
	require.Greater(t, len(seen), 190, "nearly every business is drawn sometime")
	v, _ = verify(ctx, t, pool, pgstore.VerifyOptions{Sample: 1000})
	require.Equal(t, int64(200), v.Businesses)
}

// While writers apply facts, late ones among them, verify sees no drift: each batch is one snapshot.
func TestPromise5_noDriftBesideWriters(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	const writers, businesses, rounds = 4, 25, 60
	var ids, sites []int64
	for range businesses {
		b, s := newBusiness(ctx, t, pool)
		ids, sites = append(ids, b), append(sites, s)
	}
	base := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	errs := make(chan error, writers*rounds)
	looked := make(chan struct{}) // closed after the first look: the last rounds come after it
	for w := range writers {
		r := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for round := range rounds {
				if round == rounds-1 {
					<-looked
				}
				var facts []pgstore.Fact
				for i := range 1 + r.IntN(6) {
					n := r.IntN(businesses)
					f := pgstore.Fact{
						BusinessID: ids[n], Event: lifecycle.Events()[r.IntN(len(lifecycle.Events()))], Source: pgstore.SourceSystem,
						OccurredAt: base.Add(time.Duration(r.IntN(1000)) * time.Second), Key: fmt.Sprintf("%d:%d:%d", w, round, i),
					}
					if r.IntN(2) == 0 {
						f.SiteID = sites[r.IntN(businesses)] // mostly another business's: sites fold all the same
					}
					facts = append(facts, f)
				}
				errs <- pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					_, err := pgstore.Apply(ctx, tx, facts)
					return err
				})
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	looks := 0
	for running := true; running; looks++ {
		select {
		case <-done:
			running = false
		default:
		}
		_, found := verify(ctx, t, pool, pgstore.VerifyOptions{BatchSize: 7})
		if looks == 0 {
			close(looked)
		}
		require.Empty(t, found)
	}
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Greater(t, looks, 1)
}

// After any facts in any order the stored values are the fold, and the trail ends there.
func TestPromise5_randomFactsLeaveNoDrift(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		ctx := context.Background()
		business, site := newBusiness(ctx, rt, pool)
		facts := drawFacts(rt, business, site, fmt.Sprintf("run%d", run))
		applyConcurrently(ctx, rt, pool, facts, 2, rapid.IntRange(1, 4).Draw(rt, "transaction size"))
		v, found := verify(ctx, rt, pool, pgstore.VerifyOptions{})
		require.Empty(rt, found)
		require.Equal(rt, int64(run), v.Businesses)
	})
}
