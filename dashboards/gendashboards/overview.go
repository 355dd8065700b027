package main

// overview answers within five seconds whether anything needs an operator: all green, or what is red says where to look.
func overview() board {
	return board{
		name: "overview", title: "Overview",
		about: "Is anything broken? Green: no. Each number is explained by the (i) in its corner, and each alert by its runbook.",
		sections: []section{
			{"Does anything need you?", []chart{
				{
					kind: number, title: "Alerts firing", unit: count, limits: limits{bad: 1},
					about:   "Alerts of dashboards/rules that fire now. The list is further down, with their runbooks.",
					queries: []query{{`count(ALERTS{job=~"$job|", alertname=~"Onward.+", alertstate="firing"}) or vector(0)`, "firing"}},
				},
				{
					kind: number, title: "Processes down", unit: count, limits: limits{bad: 1},
					about:   "Processes of web and worker that did not answer the last scrape.",
					queries: []query{{`count(up{job="$job"} == 0) or vector(0)`, "down"}},
				},
				{
					kind: number, title: "Workers", unit: count, limits: limits{bad: 1, below: true},
					about:   "Jobs that the whole fleet can work at once. None: webhooks are accepted and nothing applies them.",
					queries: []query{{`sum(onward_workers_capacity{job="$job"})`, "workers"}},
				},
				{
					kind: number, title: "Oldest waiting job", unit: seconds, limits: limits{warn: 60, bad: 300},
					about:   "How long the oldest job that could be worked now has waited, over all queues.",
					queries: []query{{`max(onward_oldest_available_job_age_seconds{job="$job"})`, "age"}},
				},
				{
					kind: number, title: "Webhooks refused", unit: share, limits: limits{warn: .01, bad: .05},
					about: "Share of the last five minutes' webhook requests that were answered with anything but 2xx.",
					queries: []query{{
						`sum(rate(onward_webhook_requests_total{job="$job", result!~"accepted|duplicate"}[5m])) / (sum(rate(onward_webhook_requests_total{job="$job"}[5m])) > 0) or vector(0)`,
						"refused",
					}},
				},
				{
					kind: number, title: "Webhook to effect, p95", unit: seconds, limits: limits{warn: 5, bad: 60}, noData: "no traffic",
					about: "Time from a webhook's arrival to the commit of its effect, of 95 in 100 in the last five minutes.",
					queries: []query{{
						`histogram_quantile(0.95, sum by (le) (rate(onward_webhook_to_commit_seconds_bucket{job="$job"}[5m]))) >= 0 or vector(0)`, "p95",
					}},
				},
				{
					kind: number, title: "Discarded jobs", unit: count, limits: limits{warn: 1},
					about:   "Jobs that ran out of attempts and wait for an operator: onward jobs list --state discarded.",
					queries: []query{{`sum(max by (queue) (onward_jobs{job="$job", state="discarded"}))`, "discarded"}},
				},
				{
					kind: number, title: "Sends unknown", unit: count, limits: limits{warn: 1, bad: 100},
					about:   "Messages that may or may not have gone out. Evidence settles most; the rest waits for an operator.",
					queries: []query{{`max(onward_sends_unknown{job="$job"})`, "unknown"}},
				},
				{
					kind: number, title: "Receipts failed", unit: count, limits: limits{warn: 1},
					about:   "Accepted webhooks that could not be applied: onward webhooks list --outcome failed.",
					queries: []query{{`max(onward_receipts{job="$job", outcome="failed"})`, "failed"}},
				},
				{
					kind: number, title: "Drift", unit: count, limits: limits{bad: 1},
					about:   "Businesses, of the sample that was looked at last, whose statuses are not the fold of their facts. Must be 0.",
					queries: []query{{`max(onward_drift{job="$job"})`, "drift"}},
				},
				{
					kind: number, title: "Invariants broken", unit: count, limits: limits{bad: 1},
					about:   "Violations, within a day, of what must always hold: no send after an opt-out, no receipt lost, … Must be 0.",
					queries: []query{{`sum(max by (invariant) (onward_invariant_violations{job="$job"}))`, "violations"}},
				},
				{
					kind: number, title: "Leader", unit: count, limits: limits{bad: 1, below: true}, words: map[int]string{0: "none", 1: "elected"},
					about:   "Whether a worker leads: it starts periodic jobs and moves retried jobs to where they are worked.",
					queries: []query{{`max(onward_leader{job="$job"})`, "leader"}},
				},
			}},
			{"What is going on", []chart{
				{
					kind: lines, title: "Webhooks", unit: perSecond, stacked: true,
					about:   "Webhook requests by what came of them. Anything but accepted and duplicate was refused.",
					queries: []query{{`sum by (result) (rate(onward_webhook_requests_total{job="$job"}[$__rate_interval]))`, "{{result}}"}},
				},
				{
					kind: lines, title: "Jobs", unit: perSecond, stacked: true,
					about:   "Attempts of jobs by what they came to. Failed ones are tried again; discarded ones wait for an operator.",
					queries: []query{{`sum by (outcome) (rate(onward_job_attempts_total{job="$job"}[$__rate_interval]))`, "{{outcome}}"}},
				},
				{
					kind: lines, title: "Sends", unit: perSecond, stacked: true,
					about:   "Attempts to send by channel and outcome, of those that come to anything.",
					queries: []query{{`sum by (channel, outcome) (rate(onward_sends_total{job="$job"}[$__rate_interval])) > 0`, "{{channel}} {{outcome}}"}},
				},
				{
					kind: lines, title: "Oldest waiting job, by queue", unit: seconds, limits: limits{warn: 60, bad: 300},
					about:   "A line that climbs at 45 degrees is a queue that stands still.",
					queries: []query{{`max by (queue) (onward_oldest_available_job_age_seconds{job="$job"})`, "{{queue}}"}},
				},
			}},
			{"Alerts and versions", []chart{
				{
					kind: table, title: "Alerts, pending and firing", unit: count, width: 16, noData: "none", limits: limits{bad: 1},
					about: "Pending: the condition holds, but not yet for as long as the rule asks. dashboards/runbooks has a page on each.",
					queries: []query{{
						`ALERTS{job=~"$job|", alertname=~"Onward.+"}`, "{{alertname}}",
					}},
					hidden: []string{"Value", "__name__", "job"},
				},
				{
					kind: table, title: "What runs", unit: count, width: 8,
					about:   "Versions by number of processes. Two at a time are a roll-out, or one that got stuck.",
					queries: []query{{`count by (version, go) (onward_build_info{job="$job"})`, "{{version}}"}},
				},
			}},
		},
	}
}
