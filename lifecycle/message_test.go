package lifecycle_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/lifecycle"
)

// lattice is the order of message states as the design states it; those of a row are equals.
func lattice() [][]lifecycle.MessageState {
	return [][]lifecycle.MessageState{
		{"queued"},
		{"dispatching", "unknown", "held"},
		{"accepted"},
		{"sending"},
		{"sent"},
		{"failed", "undelivered", "canceled"},
		{"delivered"},
		{"read"},
	}
}

// TestEveryPairOfMessageStates: of any two, the higher wins; an equal or lower report changes nothing.
func TestEveryPairOfMessageStates(t *testing.T) {
	t.Parallel()
	count := 0
	for i, row := range lattice() {
		for _, now := range row {
			count++
			for j, reportedRow := range lattice() {
				for _, reported := range reportedRow {
					after, raised := now.Raise(reported)
					require.Equal(t, j > i, raised, "%s reported at %s", reported, now)
					if raised {
						require.Equal(t, reported, after)
					} else {
						require.Equal(t, now, after)
					}
				}
			}
			require.Equal(t, i, now.Rank(), now)
			require.Equal(t, i >= 5, now.Final(), now)
		}
	}
	require.Equal(t, 12, count)
}

func TestMessageStatesAreListedLowestFirst(t *testing.T) {
	t.Parallel()
	var want []lifecycle.MessageState
	for _, row := range lattice() {
		want = append(want, row...)
	}
	require.Equal(t, want, lifecycle.MessageStates())
}

func TestUnknownReportsRaiseNothing(t *testing.T) {
	t.Parallel()
	for _, reported := range []lifecycle.MessageState{"", "lost", "DELIVERED"} {
		require.Equal(t, -1, reported.Rank())
		require.False(t, reported.Final())
		for _, now := range lifecycle.MessageStates() {
			after, raised := now.Raise(reported)
			require.False(t, raised)
			require.Equal(t, now, after)
		}
	}
}

// TestReportsInAnyOrderEndAtTheHighest: 100 sets of reports, each in 100 orders with repeats.
func TestReportsInAnyOrderEndAtTheHighest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		reports := rapid.SliceOfN(rapid.SampledFrom(lifecycle.MessageStates()), 1, 12).Draw(t, "reports")
		highest := 0
		for _, r := range reports {
			highest = max(highest, r.Rank())
		}
		for range orders {
			state := lifecycle.MessageQueued
			for _, r := range shuffledWithRepeats(t, reports) {
				before := state.Rank()
				state, _ = state.Raise(r)
				require.GreaterOrEqual(t, state.Rank(), before, "a state never falls")
			}
			require.Equal(t, highest, state.Rank())
		}
	})
}
