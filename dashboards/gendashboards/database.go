package main

func database() board {
	return board{
		name: "database", title: "Database",
		about: "PostgreSQL as Onward sees it, and the processes that use it.",
		sections: []section{
			{"Connections and transactions", []chart{
				{
					kind: lines, title: "Connections in use", unit: share, max: 1, limits: limits{warn: .8, bad: 1},
					about:   "Share of a pool's connections that are in use, by process. river is the pool of the queue itself: one of its connections listens.",
					queries: []query{{`onward_db_pool_acquired_connections{job="$job"} / onward_db_pool_max_connections{job="$job"}`, "{{instance}} {{pool}}"}},
				},
				{
					kind: lines, title: "Waiting for a connection", unit: count, limits: limits{warn: .5, bad: 1},
					about:   "How many callers wait for a connection at a time, on average.",
					queries: []query{{`rate(onward_db_pool_wait_seconds_total{job="$job"}[$__rate_interval])`, "{{instance}} {{pool}}"}},
				},
				{
					kind: lines, title: "Connections open", unit: count,
					about: "Connections of the whole fleet, and how many of them nobody uses at the moment.",
					queries: []query{
						{`sum by (pool) (onward_db_pool_connections{job="$job"})`, "{{pool}} open"},
						{`sum by (pool) (onward_db_pool_idle_connections{job="$job"})`, "{{pool}} idle"},
					},
				},
				{
					kind: lines, title: "Waits for a connection", unit: perSecond, limits: limits{warn: 10, bad: 100},
					about: "How often a caller found no idle connection and waited, and how often it gave up.",
					queries: []query{
						{`sum by (pool) (rate(onward_db_pool_waits_total{job="$job"}[$__rate_interval]))`, "{{pool}} waited"},
						{`sum by (pool) (rate(onward_db_pool_canceled_acquires_total{job="$job"}[$__rate_interval]))`, "{{pool}} gave up"},
					},
				},
				{
					kind: lines, title: "Oldest transaction", unit: seconds, limits: limits{warn: 60, bad: 300},
					about:   "Age of the oldest open transaction in the database, whosever it is. Nothing that died since then can be cleaned up.",
					queries: []query{{`max(onward_db_oldest_transaction_age_seconds{job="$job"})`, "oldest"}},
				},
				{
					kind: lines, title: "Connections taken", unit: perSecond, stacked: true,
					about: "How often a connection is taken from a pool, and how often one had to be opened for it.",
					queries: []query{
						{`sum by (pool) (rate(onward_db_pool_acquires_total{job="$job"}[$__rate_interval]))`, "{{pool}} taken"},
						{`sum by (pool) (rate(onward_db_pool_opened_connections_total{job="$job"}[$__rate_interval]))`, "{{pool}} opened"},
					},
				},
			}},
			{"What it holds", []chart{
				{
					kind: number, title: "Size", unit: bytesIEC, width: 6,
					about:   "Size of Onward's database on disk.",
					queries: []query{{`max(onward_db_size_bytes{job="$job"})`, "size"}},
				},
				{
					kind: number, title: "Growth in a day", unit: bytesIEC, width: 6,
					about:   "How much it would grow in a day at the rate of the last six hours. Negative after retention dropped a partition.",
					queries: []query{{`max(deriv(onward_db_size_bytes{job="$job"}[6h])) * 86400`, "growth"}},
				},
				{
					kind: number, title: "Partitions ahead", unit: seconds, width: 6, limits: limits{warn: 21 * 86400, bad: 14 * 86400, below: true},
					about:   "For how long there are partitions for receipts to come. They are made four weeks ahead.",
					queries: []query{{`min(onward_partitions_ahead_seconds{job="$job"})`, "ahead"}},
				},
				{
					kind: number, title: "Reading the state, slowest", unit: seconds, width: 6, limits: limits{warn: .2, bad: 1},
					about:   "How long the query takes that these gauges come from; each process asks every 15 seconds.",
					queries: []query{{`max(onward_cluster_read_seconds{job="$job"})`, "slowest"}},
				},
				{
					kind: lines, title: "Analytics behind", unit: seconds, limits: limits{warn: 60, bad: 600},
					about:   "Time since the moment as of which analytics hold. A transaction that stays open for long holds them up. 0 while they are counted anew.",
					queries: []query{{`max(onward_analytics_lag_seconds{job="$job"})`, "behind"}},
				},
				{
					kind: lines, title: "Size over time", unit: bytesIEC,
					about:   "Receipts grow fastest, and go after ONWARD_RETENTION_DAYS; facts and transitions stay.",
					queries: []query{{`max(onward_db_size_bytes{job="$job"})`, "size"}},
				},
				{
					kind: lines, title: "Rows of the queue's table", unit: count, stacked: true,
					about:   "Jobs by state. Completed ones go after a day, discarded and cancelled ones after 90 days.",
					queries: []query{{`sum by (state) (max by (queue, state) (onward_jobs{job="$job"}))`, "{{state}}"}},
				},
			}},
			{"Processes", []chart{
				{
					kind: lines, title: "Memory", unit: bytesIEC,
					about:   "Resident memory of each process.",
					queries: []query{{`process_resident_memory_bytes{job="$job"}`, "{{instance}}"}},
				},
				{
					kind: lines, title: "Processor", unit: share,
					about:   "Processor time that each process uses: 100 % is one core.",
					queries: []query{{`rate(process_cpu_seconds_total{job="$job"}[$__rate_interval])`, "{{instance}}"}},
				},
				{
					kind: lines, title: "Goroutines", unit: count,
					about:   "Goroutines of each process. A line that only climbs is a leak.",
					queries: []query{{`go_goroutines{job="$job"}`, "{{instance}}"}},
				},
				{
					kind: lines, title: "Readings that failed", unit: perSecond, limits: limits{bad: .01},
					about:   "Readings of the installation's state that failed. After a minute without one its gauges are gone, and alerts on them blind.",
					queries: []query{{`sum by (instance) (rate(onward_cluster_read_failures_total{job="$job"}[$__rate_interval]))`, "{{instance}}"}},
				},
			}},
		},
	}
}
