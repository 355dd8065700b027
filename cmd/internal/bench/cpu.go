package bench

import (
	"math"
	"time"
)

// usage measures the CPU time that processes take from its start on.
type usage struct {
	meters []cpuMeter
	begun  []time.Duration
	known  []bool
}

func startUsage(meters ...cpuMeter) *usage {
	u := &usage{meters: meters}
	for _, m := range meters {
		d, ok := m.read()
		u.begun, u.known = append(u.begun, d), append(u.known, ok)
	}
	return u
}

// since is each meter's CPU time since the start, in microseconds a unit of work; NaN where it is not known.
func (u *usage) since(units int) []float64 {
	var list []float64
	for i, m := range u.meters {
		d, ok := m.read()
		list = append(list, perUnit(d-u.begun[i], ok && u.known[i], units))
	}
	return list
}

// peak is [peakRSSOf], NaN where it is not known.
func peak(pid int) float64 {
	if mib, ok := peakRSSOf(pid); ok {
		return mib
	}
	return math.NaN()
}
