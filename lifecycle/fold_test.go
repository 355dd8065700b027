package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/lifecycle"
)

// orders is how many orders each random set is tried in. rapid makes 100 sets unless told otherwise
// (-rapid.checks), so each property that uses it stands on 10 000 cases.
const orders = 100

// factSets draws sets of up to 40 facts. Few instants, so that many facts share one and the key decides;
// each axis gets its share, since all events are equally likely.
func factSets() *rapid.Generator[[]lifecycle.Fact] {
	return rapid.Custom(func(t *rapid.T) []lifecycle.Fact {
		events := rapid.SliceOfN(rapid.SampledFrom(lifecycle.Events()), 0, 40).Draw(t, "events")
		instants := rapid.IntRange(1, 60).Draw(t, "instants")
		facts := make([]lifecycle.Fact, len(events))
		for i, e := range events {
			facts[i] = lifecycle.Fact{
				Event:      e,
				OccurredAt: instant(rapid.IntRange(1, instants).Draw(t, "at")),
				Key:        fmt.Sprintf("%s:%d", rapid.SampledFrom([]string{"tw", "rc", "op", "tk"}).Draw(t, "source"), i),
			}
		}
		return facts
	})
}

func instant(n int) time.Time { return time.Unix(1780000000+int64(n), 0).UTC() }

// shuffledWithRepeats is the set in a random order, some of it twice or three times. Its seed is drawn, so a
// failure can be repeated.
func shuffledWithRepeats[T any](t *rapid.T, set []T) []T {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	list := slices.Clone(set)
	if len(set) > 0 {
		for range r.IntN(len(set) + 1) {
			list = append(list, set[r.IntN(len(set))])
		}
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// TestPromise2OrderDoesNotMatter: the same facts, in any order and any number of times, fold to the same
// state. 10 000 cases (100 sets, 100 orders each).
func TestPromise2OrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := factSets().Draw(t, "facts")
		want, wantSite := lifecycle.Fold(facts), lifecycle.FoldSite(facts)
		for range orders {
			arrived := shuffledWithRepeats(t, facts)
			kept := slices.Clone(arrived)
			require.Equal(t, want, lifecycle.Fold(arrived))
			require.Equal(t, wantSite, lifecycle.FoldSite(arrived))
			require.Equal(t, kept, arrived, "the fold leaves its argument alone")
		}
	})
}

// TestPromise2FactsAsTheyArrive does what the store does, fact by fact: apply on top what is newest, fold
// anew for what is older, drop what is known. After every single fact the state is the fold of those that
// arrived. 10 000 cases (100 sets, 100 orders each).
func TestPromise2FactsAsTheyArrive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := factSets().Draw(t, "facts")
		for range orders {
			state := lifecycle.Initial()
			var stored []lifecycle.Fact
			var newest lifecycle.Fact
			for _, f := range shuffledWithRepeats(t, facts) {
				if slices.Contains(stored, f) {
					continue
				}
				stored = append(stored, f)
				if len(stored) == 1 || lifecycle.Compare(f, newest) > 0 {
					state, _ = lifecycle.Transition(state, f.Event)
					newest = f
				} else {
					state = lifecycle.Fold(stored)
				}
				require.Equal(t, lifecycle.Fold(stored), state)
			}
			require.Equal(t, lifecycle.Fold(facts), state)
		}
	})
}

// TestFoldIsTransitionInOrder: 10 000 cases.
func TestFoldIsTransitionInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for range orders {
			facts := factSets().Draw(t, "facts")
			slices.SortFunc(facts, lifecycle.Compare)
			state, site := lifecycle.Initial(), lifecycle.InitialSite()
			for _, f := range facts {
				before := state
				var changes []lifecycle.Change
				state, changes = lifecycle.Transition(state, f.Event)
				for _, c := range changes {
					require.Equal(t, before.Status(c.Axis), c.From)
					require.Equal(t, state.Status(c.Axis), c.To)
					require.Equal(t, c.Verdict == lifecycle.Applied, c.From != c.To, "%s: a status moves when and only when it is applied", f.Event)
				}
				site, _ = lifecycle.TransitionSite(site, f.Event)
			}
			require.Equal(t, state, lifecycle.Fold(facts))
			require.Equal(t, site, lifecycle.FoldSite(facts))
		}
	})
}

// TestOfOneKeyTheEarlierFactCounts: also when the two say different things.
func TestOfOneKeyTheEarlierFactCounts(t *testing.T) {
	t.Parallel()
	early := lifecycle.Fact{Event: lifecycle.EmailOpened, OccurredAt: instant(1), Key: "k"}
	late := lifecycle.Fact{Event: lifecycle.OptedOut, OccurredAt: instant(2), Key: "k"}
	for _, facts := range [][]lifecycle.Fact{{early, late}, {late, early}, {late, early, late}} {
		require.Equal(t, lifecycle.Opened, lifecycle.Fold(facts).Contact.Status())
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a := lifecycle.Fact{OccurredAt: instant(1), Key: "b"}
	require.Zero(t, lifecycle.Compare(a, lifecycle.Fact{OccurredAt: instant(1).In(time.FixedZone("", 3600)), Key: "b"}), "instants, not how they are written")
	require.Negative(t, lifecycle.Compare(a, lifecycle.Fact{OccurredAt: instant(2), Key: "a"}), "time first")
	require.Negative(t, lifecycle.Compare(a, lifecycle.Fact{OccurredAt: instant(1), Key: "ba"}))
	require.Positive(t, lifecycle.Compare(a, lifecycle.Fact{OccurredAt: instant(1), Key: "B"}), "bytes, as the database's collation C")
}

func TestFoldOfNothing(t *testing.T) {
	t.Parallel()
	require.Equal(t, lifecycle.Initial(), lifecycle.Fold(nil))
	require.Equal(t, lifecycle.InitialSite(), lifecycle.FoldSite(nil))
	for _, axis := range lifecycle.Axes() {
		require.Equal(t, lifecycle.Statuses(axis)[0], lifecycle.Initial().Status(axis))
	}
	require.Empty(t, lifecycle.Initial().Status(lifecycle.AxisSite), "no axis of a business")
}
