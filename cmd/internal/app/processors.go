package app

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"time"
)

// A process with little to do wakes a second thread for nearly every goroutine that it wakes, to look whether there is more to
// do; both are asleep again a moment later. On one processor it does the same with fewer switches (docs/decisions/0018).
const (
	loadEvery = 100 * time.Millisecond
	// Of a core, on average over half a second: what used less than calm runs on one processor, what used more than busy on all,
	// and at once where it used more than burst since the last look.
	calm   = 0.45
	busy   = 0.6
	burst  = 0.8
	lookOf = 0.2 // the weight of the last look in the average
)

// FollowLoad gives the Go scheduler one processor while the process is calm, and all while it is busy, until ctx ends. For the whole
// process; GOMAXPROCS in the environment goes before.
func FollowLoad(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	l := load{average: 1} // a start is work
	at, used := time.Now(), processTime()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, u := time.Now(), processTime()
		switch l.next(float64(u-used) / float64(max(now.Sub(at), 1))) {
		case toOne:
			runtime.GOMAXPROCS(1)
		case toAll:
			runtime.SetDefaultGOMAXPROCS()
		case asIs:
		}
		at, used = now, u
	}
}

// load decides on the number of processors by what was used of a core between two looks.
type load struct {
	one     bool
	average float64
}

type change int

const (
	asIs change = iota
	toOne
	toAll
)

func (l *load) next(cores float64) change {
	l.average += (cores - l.average) * lookOf
	switch {
	case l.one && (l.average > busy || cores > burst):
		l.one, l.average = false, max(l.average, busy)
		return toAll
	case !l.one && l.average < calm:
		l.one = true
		return toOne
	}
	return asIs
}

// processTime is the CPU time that this process has used.
func processTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
