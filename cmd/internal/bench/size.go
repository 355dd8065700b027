package bench

import "time"

// size is how much of everything is measured.
type size struct {
	name   string
	rounds int

	acceptFor    time.Duration // of each measurement of accept, after the warm-up
	warmUp       time.Duration
	floorAtLeast time.Duration
	connections  []int // accept's

	drainFor              time.Duration // a worker drains a queue for so long, or until it is empty
	applyCases            []applyCase
	applyFloor, applyJobs int // callbacks that wait for pgbench, and for the worker
	noopJobs              int
	rateWarmUp            rate // fills pools and plans before the first measurement of latency
	rates                 []rate
	sendFloor, sendJobs   int
	recipients            int
	workers, webs         []int // in a fleet
	// What flat has in the database before it measures.
	pastReceipts, pastFacts int
	// What api fills the database with, and asks: each question so often, or for so long but a few times.
	apiBusinesses, apiDeep  int // apiDeep: full pages that are turned over first
	apiRequests, apiAtLeast int
	apiPatience             time.Duration
	pgbenchClients          int
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
		drainFor: 6 * time.Second, applyCases: applyCases(), applyFloor: 9_600, applyJobs: 40_000,
		noopJobs:   60_000,
		rateWarmUp: rate{100, 2 * time.Second},
		rates: []rate{
			{10, 20 * time.Second}, {200, 10 * time.Second}, {1000, 10 * time.Second}, {3000, 10 * time.Second},
		},
		sendFloor: 6_400, sendJobs: 12_000,
		recipients: 100_000,
		workers:    []int{1, 2, 4}, webs: []int{1, 2},
		pastReceipts: 2_000_000, pastFacts: 1_000_000,
		apiBusinesses: 100_000, apiDeep: 100, apiRequests: 50, apiAtLeast: 20, apiPatience: 3 * time.Second,
		pgbenchClients: 64,
	}
}

// quickSize takes under a minute on two idle cores. Of fleets it has workers alone.
func quickSize() size {
	return size{
		name: "quick", rounds: 1,
		acceptFor: time.Second, warmUp: 300 * time.Millisecond, floorAtLeast: 2 * time.Second, connections: []int{64, 256},
		drainFor: 1500 * time.Millisecond, applyCases: applyCases()[:1], applyFloor: 1_280, applyJobs: 5_000,
		noopJobs:   8_000,
		rateWarmUp: rate{100, 500 * time.Millisecond},
		rates:      []rate{{10, 2 * time.Second}, {200, 1500 * time.Millisecond}, {1000, 1500 * time.Millisecond}},
		sendFloor:  640, sendJobs: 1_500,
		recipients:   10_000,
		workers:      []int{1, 2},
		pastReceipts: 40_000, pastFacts: 20_000,
		apiBusinesses: 3_000, apiDeep: 10, apiRequests: 6, apiAtLeast: 5, apiPatience: time.Second,
		pgbenchClients: 64,
	}
}
