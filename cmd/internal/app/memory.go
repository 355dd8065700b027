package app

import (
	"os"
	"runtime/debug"
)

// What the garbage collector is told of a process that has its memory for itself. At Go's default it was a quarter of a
// worker's CPU at full load and of a web process's, with a heap of a few megabytes that doubles many times a second
// (docs/benchmarks.md). The limits are of what Go holds; the program itself is some 18 MiB on top.
const (
	webGCPercent      = 200
	webMemoryLimit    = 52 << 20
	workerGCPercent   = 400
	workerMemoryLimit = 90 << 20
)

// TuneMemory trades memory for CPU, for the whole process. GOGC or GOMEMLIMIT in the environment go before.
func (r Role) TuneMemory() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	if r.works() {
		debug.SetGCPercent(workerGCPercent)
		debug.SetMemoryLimit(workerMemoryLimit)
		return
	}
	debug.SetGCPercent(webGCPercent)
	debug.SetMemoryLimit(webMemoryLimit)
}
