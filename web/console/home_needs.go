package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/jobs/jobadmin"
)

// need is something that wants somebody: what it is, since when, where to look and what to do.
type need struct {
	Tone, Title, Detail, Todo string
	Since                     time.Time
	Link, LinkText            string
}

// Rejected is a kind of webhook that this process refused within the last hour.
type Rejected struct {
	Provider, Result string
	Count            int
	Last             time.Time
}

// When something wants somebody. What is younger is the usual course of things.
const (
	waitingTooLong   = time.Minute
	unmatchedTooLong = 5 * time.Minute // for so long an unmatched receipt is tried again by itself
	unknownTooLong   = 2 * time.Minute // for so long a send is looked up at the provider first
	// countedTo is how far things are counted: beyond it, how many more there are changes nothing.
	countedTo = 1000
	// groupsEvery is how old the failure groups may be that all visitors share: they are made from many rows.
	groupsEvery  = 15 * time.Second
	groupsWithin = 7 * 24 * time.Hour
)

// needsSQL finds everything in one statement: rows of a kind, a label, a count, a time and a text. Each part is the first
// entries of an index or a table of a few rows. $1: queues, $2: countedTo.
const needsSQL = `
	SELECT 'workers' AS kind, '' AS label, count(*) AS n, max(seen_at) AS since, '' AS detail
	FROM worker_processes
	WHERE seen_at > now() - interval '15 seconds'
	UNION ALL
	SELECT 'waiting', q.name, 0, min(first.scheduled_at), ''
	FROM unnest($1::text[]) AS q (name)
	CROSS JOIN generate_series(1, 4) AS priority
	CROSS JOIN LATERAL (
		SELECT j.scheduled_at
		FROM river_job j
		WHERE j.state = 'available' AND j.queue = q.name AND j.priority = priority AND j.scheduled_at <= now()
		ORDER BY j.scheduled_at
		LIMIT 1
	) first
	GROUP BY q.name
	UNION ALL
	SELECT 'send', d.state, count(*), min(COALESCE(d.unknown_at, d.dispatched_at)), ''
	FROM (SELECT * FROM dispatches WHERE state IN ('unknown', 'held') LIMIT $2) d
	GROUP BY d.state
	UNION ALL
	SELECT 'receipt', o.name, (
			SELECT count(*)
			FROM (SELECT 1 FROM receipt_outcomes r WHERE r.outcome = o.name AND r.outcome IN ('unmatched', 'failed')
				AND r.receipt_id < onward_uuid_floor(now() - $3::interval) LIMIT $2) l
		), (
			SELECT r.processed_at FROM receipt_outcomes r
			WHERE r.outcome = o.name AND r.outcome IN ('unmatched', 'failed')
			ORDER BY r.receipt_id LIMIT 1
		), ''
	FROM unnest(ARRAY['unmatched', 'failed']) AS o (name)
	UNION ALL
	SELECT 'queue', name, 1, paused_at, ''
	FROM river_queue
	WHERE paused_at IS NOT NULL
	UNION ALL
	(SELECT 'campaign', c.public_id::text, 1, c.updated_at, c.name || E'\n' || COALESCE(c.status_reason, '')
	FROM campaigns c
	WHERE c.status = 'paused'
	ORDER BY c.id DESC
	LIMIT 5)
	UNION ALL
	SELECT 'slow', channel, 1, max(updated_at), max(slowdown)::text
	FROM senders
	WHERE slowdown > 1
	GROUP BY channel
	UNION ALL
	(SELECT 'verified', '', 1, j.finalized_at, j.output::text
	FROM (SELECT id, finalized_at, metadata -> 'output' AS output FROM river_job WHERE kind = 'verify_sample' OFFSET 0) j
	WHERE j.output IS NOT NULL
	ORDER BY j.id DESC
	LIMIT 1)`

// homeNeeds is the panel.
type homeNeeds struct {
	List []need
	// Checked is when the facts were last compared with the statuses; Workers is how many processes work.
	Checked *time.Time
	Workers int64
}

func (c *Console) needs(v *visit) any {
	return load(v, "needs", func(ctx context.Context, tx pgx.Tx) (homeNeeds, error) {
		var p homeNeeds
		// The planner is kept to the indexes, which it may leave where its statistics are young.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off`); err != nil {
			return p, err
		}
		rows, err := tx.Query(ctx, needsSQL, jobs.Queues(), countedTo, unmatchedTooLong)
		if err != nil {
			return p, err
		}
		var kind, label, detail string
		var n int64
		var since *time.Time
		_, err = pgx.ForEachRow(rows, []any{&kind, &label, &n, &since, &detail}, func() error {
			at := time.Time{}
			if since != nil {
				at = *since
			}
			switch kind {
			case "workers":
				p.Workers = n
			case "verified":
				p.Checked = since
			}
			if found, ok := c.need(kind, label, n, at, detail); ok {
				p.List = append(p.List, found)
			}
			return nil
		})
		if err != nil {
			return p, err
		}
		groups, err := c.failures.read(ctx, tx, c.opts.Clock())
		if err != nil {
			return p, err
		}
		p.List = append(p.List, c.failing(groups)...)
		p.List = append(p.List, c.rejected()...)
		return p, nil
	})
}

// need words one finding, where it wants somebody.
func (c *Console) need(kind, label string, n int64, since time.Time, detail string) (need, bool) {
	old := c.opts.Clock().Sub(since)
	switch kind {
	case "workers":
		return need{
			Tone: toneBad, Title: "No worker is running", Detail: "Webhooks are accepted and kept, but nothing is applied or sent.",
			Todo: "Start one: onward worker. If one should be running, its log says why it ended.", Link: "/queue", LinkText: "Jobs",
		}, n == 0
	case "waiting":
		return need{
			Tone: toneWarn, Title: "Jobs wait in " + label, Detail: "The oldest has been due since then and is not begun.", Since: since,
			Todo: "Start more workers, or see whether the running ones hang.", Link: "/queue/jobs?state=available&queue=" + url.QueryEscape(label), LinkText: "Waiting jobs",
		}, old > waitingTooLong
	case "send":
		if label == "held" {
			return need{
				Tone: toneBad, Title: plural(n, "send is held", "sends are held"), Since: since,
				Detail: "Whether they went out is not known, and no evidence came. They are not sent again by themselves.",
				Todo:   "Look each up at the provider, then say what became of it.", Link: "/messages?state=held", LinkText: "Held sends",
			}, n > 0
		}
		return need{
			Tone: toneWarn, Title: plural(n, "send has an unknown outcome", "sends have an unknown outcome"), Since: since,
			Detail: "They are being looked up at the provider.", Todo: "Nothing yet: what stays without evidence is held for you.",
			Link: "/messages?state=unknown", LinkText: "Unknown sends",
		}, n > 0 && old > unknownTooLong
	case "receipt":
		if label == "failed" {
			return need{
				Tone: toneBad, Title: plural(n, "webhook could not be applied", "webhooks could not be applied"), Since: since,
				Detail: "Each is kept as it came.", Todo: "See what was wrong, then replay them.",
				Link: c.to("/webhooks", "outcome=failed", "/jobs/jobs?state=discarded"), LinkText: "Failed webhooks",
			}, n > 0
		}
		return need{
			Tone: toneWarn, Title: plural(n, "webhook matches nothing", "webhooks match nothing"), Since: since,
			Detail: "They speak of a message, subscription or contact that is not known here.",
			Todo:   "Import what they speak of: they are applied by themselves then.",
			Link:   c.to("/webhooks", "outcome=unmatched", "/docs"), LinkText: "Unmatched webhooks",
		}, n > 0
	case "queue":
		return need{
			Tone: toneWarn, Title: "Queue " + label + " is paused", Since: since, Detail: "Its jobs are kept, and none is begun.",
			Todo: "Resume it when the reason is gone.", Link: "/jobs/queues/" + url.PathEscape(label), LinkText: "Queue",
		}, true
	}
	return c.lesserNeed(kind, label, since, detail)
}

func (c *Console) lesserNeed(kind, label string, since time.Time, detail string) (need, bool) {
	switch kind {
	case "campaign":
		name, reason, _ := cutLine(detail)
		return need{
			Tone: toneWarn, Title: "Campaign “" + name + "” is paused", Since: since, Detail: sentence(reason),
			Todo: "Resume or cancel it.", Link: c.to("/campaigns", "", "/docs") + "/" + label, LinkText: "Campaign",
		}, true
	case "slow":
		return need{
			Tone: toneWarn, Title: "The provider slows " + label + " down", Since: since, Detail: "It answers 429: the time between two sends is " + detail + " times its usual.",
			Todo: "Nothing, if it passes. Else lower the sender's pace.", Link: c.to("/settings", "", "/metrics"), LinkText: "Senders",
		}, true
	case "verified":
		var found struct {
			Drifted    int            `json:"drifted"`
			Violations map[string]int `json:"violations"`
		}
		if err := json.Unmarshal([]byte(detail), &found); err != nil {
			return need{}, false
		}
		broken := 0
		for _, n := range found.Violations {
			broken += n
		}
		return need{
			Tone: toneBad, Title: fmt.Sprintf("Statuses differ from their facts: %d drifted, %s broken", found.Drifted, plural(broken, "invariant", "invariants")), Since: since,
			Detail: "A sample of all businesses is recomputed every ten minutes.", Todo: "Run onward verify: it lists each, and repairs with a reason.",
			Link: "/queue/jobs?kind=verify_sample", LinkText: "The check",
		}, found.Drifted+broken > 0
	}
	return need{}, false
}

func cutLine(s string) (first, rest string, found bool) {
	for i := range s {
		if s[i] == '\n' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// failing words the largest groups of failures.
func (c *Console) failing(groups []jobadmin.Group) []need {
	var list []need
	for i, g := range groups {
		if i == 3 {
			list = append(list, need{
				Tone: toneWarn, Title: plural(len(groups)-3, "further cause of failures", "further causes of failures"), Link: c.to("/queue", "", "/jobs/jobs?state=discarded"), LinkText: "All failures",
			})
			break
		}
		tone, title := toneWarn, plural(g.Count, "job fails and will be tried again", "jobs fail and will be tried again")
		if g.States["discarded"] > 0 {
			tone, title = toneBad, plural(g.States["discarded"], "job has failed for good", "jobs have failed for good")
		}
		list = append(list, need{
			Tone: tone, Title: title, Since: g.First, Detail: g.Text, Todo: "Mend the cause, then put them back.",
			Link: c.to("/queue", "fingerprint="+g.Fingerprint, fmt.Sprintf("/jobs/jobs/%d", g.JobID)), LinkText: "Failures of this cause",
		})
	}
	return list
}

// rejected words what was refused at the public door. It leaves no row: whoever can't sign must not fill the database.
func (c *Console) rejected() []need {
	if c.opts.Rejected == nil {
		return nil
	}
	var list []need
	for _, r := range c.opts.Rejected() {
		todo := "If it is the provider: compare its secret with the setting, and its address with ONWARD_PUBLIC_URL."
		if r.Result == "stale_timestamp" {
			todo = "Compare this host's clock with the time."
		}
		list = append(list, need{
			Tone: toneWarn, Title: plural(r.Count, "webhook of ", "webhooks of ") + r.Provider + " refused: " + label(r.Result), Since: r.Last,
			Detail: "Within the last hour, by this process. They are not kept.", Todo: todo, Link: c.to("/settings", "", "/metrics"), LinkText: "Providers",
		})
	}
	return list
}

// failureGroups keeps the groups for a short while: all visitors see the same.
type failureGroups struct {
	mu     sync.Mutex
	at     time.Time
	groups []jobadmin.Group
}

func (f *failureGroups) read(ctx context.Context, q jobadmin.Querier, now time.Time) ([]jobadmin.Group, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.at) < groupsEvery {
		return f.groups, nil
	}
	groups, _, err := jobadmin.Groups(ctx, q, jobadmin.Filter{States: []string{"discarded", "retryable"}, Since: now.Add(-groupsWithin)})
	if err != nil {
		return nil, err
	}
	f.groups, f.at = groups, now
	return groups, nil
}
