package bench

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rounds []float64
		want   *Stat
	}{
		"none":  {nil, nil},
		"one":   {[]float64{3}, &Stat{3, 3, 3}},
		"two":   {[]float64{4, 1}, &Stat{2.5, 1, 4}},
		"three": {[]float64{9, 1, 2}, &Stat{2, 1, 9}},
		"four":  {[]float64{4, 1, 3, 2}, &Stat{2.5, 1, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, statOf(c.rounds))
		})
	}
}

func TestStatOf_leavesTheRoundsInOrder(t *testing.T) {
	t.Parallel()
	rounds := []float64{3, 1, 2}
	statOf(rounds)
	require.Equal(t, []float64{3, 1, 2}, rounds)
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // backwards: it sorts
	}
	for _, c := range []struct {
		times []time.Duration
		share float64
		want  time.Duration
	}{
		{nil, 0.5, 0},
		{[]time.Duration{7}, 0.5, 7},
		{[]time.Duration{7}, 0.99, 7},
		{[]time.Duration{2, 1}, 0.5, 1},
		{[]time.Duration{3, 1, 2}, 0.5, 2},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.991, 100},
		{hundred, 1, 100},
		{hundred, 0, 1},
	} {
		require.Equal(t, c.want, percentile(c.times, c.share), "%v of %d", c.share, len(c.times))
	}
}

func TestPerUnit(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 250, perUnit(time.Second, true, 4000), 1e-9)
	require.True(t, math.IsNaN(perUnit(time.Second, false, 4000)), "not known")
	require.True(t, math.IsNaN(perUnit(time.Second, true, 0)), "nothing was done")
}

func TestLine_ratiosAreOfOneRound(t *testing.T) {
	t.Parallel()
	var p Part
	floor, product := p.line("floor"), p.line("product")
	// The machine is half as fast in the second round; the ratio stays.
	for _, round := range [][2]float64{{1000, 3000}, {500, 1500}} {
		floor.add(perSecond, round[0])
		product.add(perSecond, round[1])
		product.compare(floor)
	}
	product.add(peakRSS, math.NaN()) // not known on this system
	floor.sum()
	product.sum()
	require.Equal(t, &Stat{3, 3, 3}, product.Ratio)
	require.Equal(t, "floor", product.RatioTo)
	require.Equal(t, &Stat{2250, 1500, 3000}, product.PerSecond)
	require.Nil(t, product.PeakRSS)
	require.Nil(t, floor.Ratio)
	require.Same(t, product, p.line("product"))
}

func TestTurns(t *testing.T) {
	t.Parallel()
	var order []string
	run := func(name string) func() error {
		return func() error {
			order = append(order, name)
			return nil
		}
	}
	for round := range 3 {
		require.NoError(t, turns(round, run("floor"), run("product")))
	}
	require.Equal(t, []string{"floor", "product", "product", "floor", "floor", "product"}, order)
}
