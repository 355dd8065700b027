//go:build !linux

package bench

import "time"

// cpuMeter reads nothing here: there is no /proc.
type cpuMeter struct {
	pid      int
	children bool
}

func (m cpuMeter) read() (time.Duration, bool) { return 0, false }

func peakRSSOf(int) (float64, bool) { return 0, false }
