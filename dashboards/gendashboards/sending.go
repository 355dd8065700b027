package main

func sending() board {
	return board{
		name: "sending", title: "Sending and funnel",
		about: "What is sent and what becomes of it; how far contacts get, from the first message to the subscription.",
		sections: []section{
			{"Sending", []chart{
				{
					kind: lines, title: "Accepted by the provider", unit: perSecond, stacked: true,
					about:   "Messages that a provider took, by channel.",
					queries: []query{{`sum by (channel) (rate(onward_sends_total{job="$job", outcome="accepted"}[$__rate_interval]))`, "{{channel}}"}},
				},
				{
					kind: lines, title: "Not accepted", unit: perSecond, stacked: true,
					about:   "Attempts that ended otherwise, by why: what the provider said, or why it was not called.",
					queries: []query{{`sum by (channel, outcome) (rate(onward_sends_total{job="$job", outcome!="accepted"}[$__rate_interval])) > 0`, "{{channel}} {{outcome}}"}},
				},
				{
					kind: lines, title: "Throttled", unit: share, max: 1, limits: limits{warn: .1, bad: .2},
					about: "Share of calls that the provider put off. Onward slows the sender down until it takes them again.",
					queries: []query{{
						`sum by (channel) (rate(onward_sends_total{job="$job", outcome="retry_later"}[$__rate_interval])) / (sum by (channel) (rate(onward_sends_total{job="$job", outcome=~"accepted|retry_later"}[$__rate_interval])) > 0)`,
						"{{channel}}",
					}},
				},
				{
					kind: lines, title: "Slowdown", unit: count, limits: limits{warn: 2, bad: 8},
					about:   "How many times slower than set the slowest sender of a channel sends, since its provider put calls off. 1: as fast as it is set.",
					queries: []query{{`max by (channel) (onward_sender_slowdown{job="$job"})`, "{{channel}}"}},
				},
				{
					kind: lines, title: "Sends unknown", unit: count, limits: limits{warn: 1, bad: 100},
					about:   "Messages that may or may not have gone out: time-outs, broken connections, crashes in mid-call.",
					queries: []query{{`max(onward_sends_unknown{job="$job"})`, "unknown"}},
				},
				{
					kind: lines, title: "Oldest unknown send", unit: seconds, limits: limits{warn: 600, bad: 3600},
					about:   "How long the oldest of them has been open. Evidence is looked for over 36 minutes; then an operator decides.",
					queries: []query{{`max(onward_oldest_unknown_send_age_seconds{job="$job"})`, "oldest"}},
				},
				{
					kind: number, title: "Campaigns paused by a fault", unit: count, width: 12, height: 3, limits: limits{bad: 1},
					about:   "Campaigns that stopped because a provider refuses our sender or account. Put that right, then resume them.",
					queries: []query{{`max(onward_campaigns_self_paused{job="$job"})`, "paused"}},
				},
				{
					kind: bars, title: "Not sent: suppressed, in the range shown", unit: count, height: 5,
					about:   "Messages that are never sent, because their address must not be written to, by why.",
					queries: []query{{`sum by (reason) (increase(onward_sends_suppressed_total{job="$job"}[$__range]))`, "{{reason}}"}},
				},
			}},
			{"Funnel", []chart{
				{
					kind: bars, title: "Contacts that came to, in the range shown", unit: count,
					about: "Changes of contact_status by where they led. Who goes from sent to replied at once counts as replied only.",
					queries: []query{{
						`sum by (to) (increase(onward_transitions_total{job="$job", axis="contact", verdict=~"applied|corrected"}[$__range]))`, "{{to}}",
					}},
				},
				{
					kind: bars, title: "Websites that came to, in the range shown", unit: count,
					about: "Changes of website_status by where they led: sold is the goal, archived its end.",
					queries: []query{{
						`sum by (to) (increase(onward_transitions_total{job="$job", axis="website", verdict=~"applied|corrected"}[$__range]))`, "{{to}}",
					}},
				},
				{
					kind: lines, title: "Replies and opt-outs for each contact reached", unit: share,
					about: "Of the contacts that came to emailed or sms_sent within an hour, how many replied, bought, opted out or bounced within that hour.",
					queries: []query{{
						`sum by (to) (increase(onward_transitions_total{job="$job", axis="contact", to=~"replied|purchased|unsubscribed|bounced", verdict=~"applied|corrected"}[1h])) / scalar(sum(increase(onward_transitions_total{job="$job", axis="contact", to=~"emailed|sms_sent", verdict=~"applied|corrected"}[1h])) > 0)`,
						"{{to}}",
					}},
				},
				{
					kind: bars, title: "Subscriptions that came to, in the range shown", unit: count,
					about: "Changes of subscription_status by where they led.",
					queries: []query{{
						`sum by (to) (increase(onward_transitions_total{job="$job", axis="subscription", verdict=~"applied|corrected"}[$__range]))`, "{{to}}",
					}},
				},
			}},
			{"Truth", []chart{
				{
					kind: lines, title: "Facts by verdict", unit: perSecond, stacked: true,
					about:   "What each fact did. stale and corrected came out of order; blocked are held by the rules. None of them is an error.",
					queries: []query{{`sum by (verdict) (rate(onward_transitions_total{job="$job"}[$__rate_interval]))`, "{{verdict}}"}},
				},
				{
					kind: lines, title: "Drift and invariants", unit: count, limits: limits{bad: 1},
					about: "What the last look found that must not be: statuses that are not the fold of their facts, invariants that are broken.",
					queries: []query{
						{`max(onward_drift{job="$job"})`, "drift"},
						{`max by (invariant) (onward_invariant_violations{job="$job"})`, "{{invariant}}"},
					},
				},
				{
					kind: number, title: "Last look", unit: seconds, width: 24, height: 3, limits: limits{warn: 1800, bad: 3600}, noData: "never",
					about:   "Time since a worker last compared statuses with facts and checked the invariants. A look is due every ten minutes.",
					queries: []query{{`time() - max(onward_verified_timestamp_seconds{job="$job"} > 0)`, "ago"}},
				},
			}},
		},
	}
}
