package main

func jobs() board {
	return board{
		name: "jobs", title: "Jobs",
		about: "What waits, what is worked, what fails. Queues do not share workers: a flood in one leaves the others alone.",
		sections: []section{
			{"Waiting", []chart{
				{
					kind: lines, title: "Jobs available", unit: count,
					about:   "Jobs that could be worked now and are not yet.",
					queries: []query{{`max by (queue) (onward_jobs{job="$job", state="available"})`, "{{queue}}"}},
				},
				{
					kind: lines, title: "Oldest waiting job", unit: seconds, limits: limits{warn: 60, bad: 300},
					about:   "How long the oldest available job of each queue has waited.",
					queries: []query{{`max by (queue) (onward_oldest_available_job_age_seconds{job="$job"})`, "{{queue}}"}},
				},
				{
					kind: lines, title: "Wait before work, p95", unit: seconds, limits: limits{warn: 5, bad: 60},
					about:   "Time from when a job was due to when a worker took it, of 95 in 100.",
					queries: []query{{`histogram_quantile(0.95, sum by (queue, le) (rate(onward_job_wait_seconds_bucket{job="$job"}[$__rate_interval])))`, "{{queue}}"}},
				},
				{
					kind: lines, title: "Jobs by state", unit: count,
					about:   "All jobs there are. Scheduled: later on purpose. Retryable: failed, to be tried again.",
					queries: []query{{`sum by (state) (max by (queue, state) (onward_jobs{job="$job", state!="completed"}))`, "{{state}}"}},
				},
			}},
			{"Working", []chart{
				{
					kind: lines, title: "Attempts by kind", unit: perSecond, stacked: true,
					about:   "Attempts of jobs that ended, by kind.",
					queries: []query{{`sum by (kind) (rate(onward_job_attempts_total{job="$job"}[$__rate_interval]))`, "{{kind}}"}},
				},
				{
					kind: lines, title: "Duration, p95", unit: seconds, limits: limits{warn: 10, bad: 60},
					about:   "How long an attempt takes, of 95 in 100 that completed. A job is given a minute.",
					queries: []query{{`histogram_quantile(0.95, sum by (kind, le) (rate(onward_job_duration_seconds_bucket{job="$job", outcome="completed"}[$__rate_interval])))`, "{{kind}}"}},
				},
				{
					kind: lines, title: "Workers busy", unit: share, max: 1, limits: limits{warn: .7, bad: .9},
					about:   "Share of a queue's workers, over the fleet, that work a job. Near 1, what comes waits.",
					queries: []query{{`sum by (queue) (onward_workers_busy{job="$job"}) / (sum by (queue) (onward_workers_capacity{job="$job"}) > 0)`, "{{queue}}"}},
				},
				{
					kind: lines, title: "Longest running job", unit: seconds, limits: limits{warn: 60, bad: 300},
					about:   "How long the job that has run the longest has been running.",
					queries: []query{{`max(onward_longest_running_job_seconds{job="$job"})`, "longest"}},
				},
			}},
			{"Failing", []chart{
				{
					kind: lines, title: "Failures by kind", unit: share, max: 1, limits: limits{warn: .05, bad: .1},
					about: "Share of attempts that failed, whether they are tried again or not.",
					queries: []query{{
						`sum by (kind) (rate(onward_job_attempts_total{job="$job", outcome=~"failed|discarded"}[$__rate_interval])) / (sum by (kind) (rate(onward_job_attempts_total{job="$job"}[$__rate_interval])) > 0)`,
						"{{kind}}",
					}},
				},
				{
					kind: lines, title: "Outcomes other than completed", unit: perSecond, stacked: true,
					about:   "Snoozed: asked to run later, without having failed. Interrupted: cut off by the end of its process.",
					queries: []query{{`sum by (outcome) (rate(onward_job_attempts_total{job="$job", outcome!="completed"}[$__rate_interval]))`, "{{outcome}}"}},
				},
				{
					kind: bars, title: "Discarded, in the range shown", unit: count, limits: limits{warn: 1, bad: 100},
					about:   "Jobs that ran out of attempts, by kind: onward jobs list --state discarded groups them by error.",
					queries: []query{{`sum by (kind) (increase(onward_jobs_discarded_total{job="$job"}[$__range]))`, "{{kind}}"}},
				},
				{
					kind: bars, title: "Queues paused", unit: count, limits: limits{bad: 1}, words: map[int]string{0: "works", 1: "paused"},
					about:   "Queues that somebody paused; jobs wait there until it is resumed, in River UI at /jobs/.",
					queries: []query{{`max by (queue) (onward_queue_paused{job="$job"})`, "{{queue}}"}},
				},
			}},
		},
	}
}
