package bench

import (
	"math"
	"slices"
	"time"
)

// Stat is one figure over the rounds.
type Stat struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// statOf sums up the rounds; nil where there is none.
func statOf(rounds []float64) *Stat {
	if len(rounds) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(rounds))
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return &Stat{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// percentile is the smallest of the times such that a share of them (0 to 1) is no longer (nearest rank). It sorts them.
func percentile(times []time.Duration, share float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	rank := int(math.Ceil(share * float64(len(times))))
	return times[min(max(rank, 1), len(times))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// perUnit spreads a time over the units of work done in it, in microseconds; NaN where there is no figure.
func perUnit(took time.Duration, ok bool, units int) float64 {
	if !ok || units == 0 {
		return math.NaN()
	}
	return float64(took) / float64(time.Microsecond) / float64(units)
}
