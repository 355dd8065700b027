package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc: USER_HZ, which is 100 on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuMeter reads the CPU time of a process, and of its children, living and dead, if asked.
type cpuMeter struct {
	pid      int
	children bool
}

// read is not ok where the process can't be seen.
func (m cpuMeter) read() (time.Duration, bool) {
	if m.pid == 0 {
		return 0, false
	}
	own, ok := readTimes(m.pid)
	if !ok {
		return 0, false
	}
	if !m.children {
		return own.self, true
	}
	total := own.self + own.reaped
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if child, ok := readTimes(pid); ok && child.parent == m.pid {
			total += child.self + child.reaped
		}
	}
	return total, true
}

type processTimes struct {
	parent       int
	self, reaped time.Duration
}

// readTimes reads /proc/PID/stat.
func readTimes(pid int) (processTimes, bool) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return processTimes{}, false
	}
	// "PID (COMMAND) STATE PARENT …", where COMMAND may hold blanks and brackets. utime, stime, cutime and cstime are the
	// 14th to 17th field, so the 12th to 15th behind the bracket.
	_, rest, ok := bytes.Cut(content[max(bytes.LastIndexByte(content, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 15 {
		return processTimes{}, false
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return time.Duration(n) * clockTick
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return processTimes{parent: parent, self: ticks(11) + ticks(12), reaped: ticks(13) + ticks(14)}, err == nil
}

// peakRSS is the most memory, in MiB, that a process ever held.
func peakRSSOf(pid int) (float64, bool) {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(field(filepath.Join("/proc", strconv.Itoa(pid), "status"), "VmHWM"), " kB"), 64)
	return kib / 1024, err == nil
}
