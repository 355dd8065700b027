package lifecycle_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

func TestMoves(t *testing.T) {
	t.Parallel()
	find := func(a lifecycle.Axis, from, to lifecycle.Status) []lifecycle.Event {
		i := slices.IndexFunc(lifecycle.Moves(a), func(m lifecycle.Move) bool { return m.From == from && m.To == to })
		if i < 0 {
			return nil
		}
		return lifecycle.Moves(a)[i].Events
	}
	require.Equal(t, []lifecycle.Event{lifecycle.ReplyReceived}, find(lifecycle.AxisContact, lifecycle.SMSSent, lifecycle.Replied))
	require.Equal(t, []lifecycle.Event{lifecycle.OptedOut}, find(lifecycle.AxisContact, lifecycle.Purchased, lifecycle.Unsubscribed))
	require.Equal(t, []lifecycle.Event{lifecycle.OperatorReopened}, find(lifecycle.AxisContact, lifecycle.Unsubscribed, lifecycle.Replied))
	require.Nil(t, find(lifecycle.AxisContact, lifecycle.Unsubscribed, lifecycle.Bounced), "an opt-out is terminal")
	require.Equal(t, []lifecycle.Event{lifecycle.GenerationFailed}, find(lifecycle.AxisWebsite, lifecycle.Generating, lifecycle.None))
	require.Nil(t, find(lifecycle.AxisWebsite, lifecycle.None, lifecycle.Archived))
	for _, axis := range lifecycle.Axes() {
		for _, m := range lifecycle.Moves(axis) {
			require.NotEqual(t, m.From, m.To)
			require.NotEmpty(t, m.Events)
			require.Contains(t, lifecycle.Statuses(axis), m.To)
		}
	}
	require.Empty(t, lifecycle.Moves("no axis"))
}
