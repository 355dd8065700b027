package main

func webhooks() board {
	return board{
		name: "webhooks", title: "Webhooks and providers",
		about: "What providers tell us and how soon it takes effect; how they take what we ask of them.",
		sections: []section{
			{"Coming in", []chart{
				{
					kind: lines, title: "Webhooks by provider", unit: perSecond, stacked: true,
					about:   "Requests that were accepted: stored with their job before the answer.",
					queries: []query{{`sum by (provider) (rate(onward_webhook_requests_total{job="$job", result=~"accepted|duplicate"}[$__rate_interval]))`, "{{provider}}"}},
				},
				{
					kind: lines, title: "Webhooks refused", unit: perSecond, stacked: true, limits: limits{bad: .05},
					about:   "Requests that were not accepted. overloaded and error are ours; a bad signature is a wrong secret, a wrong public URL, or a stranger.",
					queries: []query{{`sum by (provider, result) (rate(onward_webhook_requests_total{job="$job", result!~"accepted|duplicate"}[$__rate_interval]))`, "{{provider}} {{result}}"}},
				},
				{
					kind: lines, title: "Answer, p99", unit: seconds, limits: limits{warn: 1, bad: 5},
					about:   "Time from a webhook's arrival to its 2xx, of 99 in 100. Twilio waits 15 s.",
					queries: []query{{`histogram_quantile(0.99, sum by (provider, le) (rate(onward_webhook_ack_seconds_bucket{job="$job"}[$__rate_interval])))`, "{{provider}}"}},
				},
				{
					kind: lines, title: "Webhook to effect, p95", unit: seconds, limits: limits{warn: 5, bad: 60},
					about:   "Time from a receipt's arrival to the commit of its effect, of 95 in 100. onward is our own pages: unsubscribe, opens, clicks.",
					queries: []query{{`histogram_quantile(0.95, sum by (provider, le) (rate(onward_webhook_to_commit_seconds_bucket{job="$job"}[$__rate_interval])))`, "{{provider}}"}},
				},
				{
					kind: lines, title: "Receipts worked", unit: perSecond, stacked: true,
					about:   "Runs of jobs that apply a receipt, by what they came to. unmatched ones are tried again, and applied when what they speak of turns up.",
					queries: []query{{`sum by (outcome) (rate(onward_receipt_runs_total{job="$job"}[$__rate_interval]))`, "{{outcome}}"}},
				},
				{
					kind: lines, title: "Callbacks that never came", unit: perSecond, limits: limits{warn: .01, bad: .1},
					about:   "Messages of which the provider, when we asked, knew more than its callbacks had told: some were lost on the way.",
					queries: []query{{`sum by (provider) (rate(onward_provider_drift_total{job="$job"}[$__rate_interval]))`, "{{provider}}"}},
				},
			}},
			{"Providers", []chart{
				{
					kind: bars, title: "Last heard", unit: seconds, width: 8, limits: limits{warn: 3600, bad: 86400}, noData: "never",
					about:   "Time since the last webhook that was accepted of each provider that was ever heard.",
					queries: []query{{`time() - max by (provider) (onward_webhook_last_accepted_timestamp_seconds{job="$job"} > 0)`, "{{provider}}"}},
				},
				{
					kind: bars, title: "Secrets in use, last 6 h", unit: count, width: 8, limits: limits{},
					about:   "Webhooks by the position, from 0, of the secret that verified them. A later one than 0 still in use must not be taken out.",
					queries: []query{{`sum by (provider, secret) (increase(onward_webhook_secret_used_total{job="$job"}[6h]))`, "{{provider}} #{{secret}}"}},
				},
				{
					kind: bars, title: "Receipts by outcome", unit: count, width: 8, limits: limits{},
					about:   "What came of the receipts that are kept. failed needs an operator; unmatched waits for what it speaks of.",
					queries: []query{{`max by (outcome) (onward_receipts{job="$job"})`, "{{outcome}}"}},
				},
				{
					kind: lines, title: "Provider calls, p95", unit: seconds, limits: limits{warn: 2, bad: 10},
					about:   "How long a provider takes for a message that we hand over, of 95 in 100, by what came of it.",
					queries: []query{{`histogram_quantile(0.95, sum by (provider, outcome, le) (rate(onward_provider_request_seconds_bucket{job="$job"}[$__rate_interval])))`, "{{provider}} {{outcome}}"}},
				},
				{
					kind: lines, title: "Provider calls", unit: perSecond, stacked: true,
					about:   "Calls by what came of them. retry_later is throttling, sender_broken pauses the campaign, unknown is never repeated blindly.",
					queries: []query{{`sum by (provider, outcome) (rate(onward_provider_request_seconds_count{job="$job"}[$__rate_interval])) > 0`, "{{provider}} {{outcome}}"}},
				},
			}},
			{"Inbox and HTTP", []chart{
				{
					kind: lines, title: "Inbox: receipts waiting", unit: count, limits: limits{warn: 512, bad: 1024},
					about:   "Receipts that wait to be committed, by process. Full at 1024: then webhooks are answered 503, before anything is accepted.",
					queries: []query{{`onward_inbox_queue_length{job="$job"}`, "{{instance}}"}},
				},
				{
					kind: lines, title: "Inbox: receipts a transaction", unit: count,
					about:   "How many receipts one commit carries on average: 1 when idle, more as webhooks come faster than the disk commits.",
					queries: []query{{`sum(rate(onward_inbox_batch_size_sum{job="$job"}[$__rate_interval])) / sum(rate(onward_inbox_batch_size_count{job="$job"}[$__rate_interval]))`, "mean"}},
				},
				{
					kind: lines, title: "Requests by route", unit: perSecond, stacked: true,
					about:   "Requests on both listeners by route.",
					queries: []query{{`sum by (route) (rate(onward_http_request_seconds_count{job="$job"}[$__rate_interval]))`, "{{route}}"}},
				},
				{
					kind: lines, title: "Server errors", unit: share, max: 1, limits: limits{warn: .01, bad: .05},
					about: "Share of requests that were answered with 5xx.",
					queries: []query{{
						`(sum(rate(onward_http_request_seconds_count{job="$job", code=~"5.."}[$__rate_interval])) or vector(0)) / (sum(rate(onward_http_request_seconds_count{job="$job"}[$__rate_interval])) > 0)`,
						"5xx",
					}},
				},
			}},
		},
	}
}
