package bench

import "time"

// size is how much of everything is measured.
type size struct {
	name   string
	rounds int

	acceptFor   time.Duration // of each measurement of accept, after the warm-up
	warmUp      time.Duration
	connections []int // accept's

	applyFloor, applyJobs int // callbacks that pgbench applies, and the worker
	noopJobs              int
	rates                 []rate
	sendFloor, sendJobs   int
	recipients            int
	pgbenchClients        int
}

// rate is one measurement of latency: so many callbacks a second, for so long.
type rate struct {
	perSecond float64
	lasts     time.Duration
}

func fullSize() size {
	return size{
		name: "full", rounds: 3,
		acceptFor: 5 * time.Second, warmUp: time.Second, connections: []int{64, 256},
		applyFloor: 9_600, applyJobs: 40_000,
		noopJobs: 60_000,
		rates: []rate{
			{10, 20 * time.Second}, {200, 10 * time.Second}, {1000, 10 * time.Second}, {3000, 10 * time.Second},
		},
		sendFloor: 6_400, sendJobs: 6_000,
		recipients:     100_000,
		pgbenchClients: 64,
	}
}

// quickSize takes under a minute on two cores.
func quickSize() size {
	return size{
		name: "quick", rounds: 1,
		acceptFor: 2 * time.Second, warmUp: 500 * time.Millisecond, connections: []int{64, 256},
		applyFloor: 3_200, applyJobs: 12_000,
		noopJobs:  15_000,
		rates:     []rate{{10, 4 * time.Second}, {200, 3 * time.Second}, {1000, 3 * time.Second}},
		sendFloor: 1_920, sendJobs: 1_500,
		recipients:     20_000,
		pgbenchClients: 64,
	}
}
