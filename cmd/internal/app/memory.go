package app

import (
	"os"
	"runtime/debug"
)

// What the garbage collector is told of a process that has its memory for itself. At Go's default it was a quarter of a
// worker's CPU at full load, with a heap of a few megabytes that doubles many times a second. A web process keeps the
// default: 256 connections hold 34 MiB with it, and at a limit of 32 MiB the collector took half of the process
// (docs/benchmarks.md). The limits are of what Go holds; the program itself is some 28 MiB on top.
const (
	webGCPercent      = 100
	webMemoryLimit    = 40 << 20
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
