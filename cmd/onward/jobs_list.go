package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"onward/jobs/jobadmin"
)

func runJobsList(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("jobs list", "[flags]",
		"Lists jobs, newest first; with --group, the failures by what they have in common: their errors without ids, numbers,\naddresses and what is quoted.",
		jobsExamples()[:2]...)
	j := newJobFlags(fs, "any; with --group retryable,discarded,cancelled")
	group := fs.Bool("group", false, "count failures by cause")
	limit := fs.Int("limit", 50, "list at most so many")
	asJSON := fs.Bool("json", false, "print as JSON, one object a line")
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := j.filter()
	switch {
	case err != nil:
		return err
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	case *limit < 1:
		return usagef("--limit is at least 1")
	}
	pool, err := openJobs(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	if *group {
		groups, more, err := jobadmin.Groups(ctx, pool, f)
		if err != nil {
			return err
		}
		return t.printGroups(groups, more, *asJSON)
	}
	list, err := jobadmin.List(ctx, pool, f, 0, *limit)
	if err != nil {
		return err
	}
	return t.printJobs(list, *limit, *asJSON)
}

// jobLine is a job as --json prints it: as the API shows it.
func jobLine(j jobadmin.Job) map[string]any {
	line := map[string]any{
		"id": j.ID, "kind": j.Kind, "queue": j.Queue, "state": j.State, "priority": j.Priority, "attempt": j.Attempt,
		"max_attempts": j.MaxAttempts, "args": json.RawMessage(j.Args), "error": nil, "fingerprint": nil, "created_at": j.CreatedAt,
		"scheduled_at": j.ScheduledAt, "attempted_at": j.AttemptedAt, "finalized_at": j.FinalizedAt,
	}
	if j.Error != "" {
		line["error"], line["fingerprint"] = j.Error, j.Fingerprint
	}
	return line
}

// errorWidth is how much of an error a list shows.
const errorWidth = 100

func (t *terminal) printJobs(list []jobadmin.Job, limit int, asJSON bool) error {
	l := t.newListing(asJSON, "id", "state", "kind", "queue", "attempt", "last", "error")
	for _, j := range list {
		last := j.CreatedAt
		if j.AttemptedAt != nil {
			last = *j.AttemptedAt
		}
		err := l.row(jobLine(j), strconv.FormatInt(j.ID, 10), j.State, j.Kind, j.Queue, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), when(last), cut(j.Error))
		if err != nil {
			return err
		}
	}
	if len(list) == limit {
		fmt.Fprintf(t.stderr, "the newest %d; --limit shows more\n", limit)
	}
	return l.end()
}

// cut shortens an error for a list.
func cut(s string) string {
	runes := []rune(s)
	if len(runes) <= errorWidth {
		return s
	}
	return string(runes[:errorWidth-1]) + "…"
}

func (t *terminal) printGroups(groups []jobadmin.Group, more, asJSON bool) error {
	l := t.newListing(asJSON, "fingerprint", "jobs", "kinds", "states", "first", "last", "example", "error")
	for _, g := range groups {
		err := l.row(g, g.Fingerprint, strconv.Itoa(g.Count), counts(g.Kinds), counts(g.States), when(g.First), when(g.Last), strconv.FormatInt(g.JobID, 10), g.Text)
		if err != nil {
			return err
		}
	}
	if more {
		fmt.Fprintf(t.stderr, "only the newest %s failures were read: narrow it down with --since, --kind or --queue\n", grouped(jobadmin.MaxGrouped))
	}
	return l.end()
}

// byCount lists a tally's names, the largest first.
func byCount(tally map[string]int) []string {
	return slices.SortedFunc(maps.Keys(tally), func(a, b string) int {
		return cmp.Or(cmp.Compare(tally[b], tally[a]), cmp.Compare(a, b))
	})
}

func runJobsShow(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("jobs show", "ID [flags]", "Shows one job, with every error of its attempts.", "onward jobs show 4711", "onward jobs show --json 4711")
	asJSON := fs.Bool("json", false, "print as JSON")
	rest, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("say the id of one job")
	}
	id, err := strconv.ParseInt(rest[0], 10, 64)
	if err != nil {
		return usagef("%q is no job's id", rest[0])
	}
	pool, err := openJobs(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	d, err := jobadmin.Get(ctx, pool, id)
	if err != nil {
		return err
	}
	if *asJSON {
		line := jobLine(d.Job)
		line["errors"], line["attempted_by"], line["metadata"] = d.Errors, d.AttemptedBy, json.RawMessage(d.Metadata)
		if d.Message != "" {
			line["message_id"], line["message_state"] = d.Message, d.MessageState
		}
		return json.NewEncoder(t.stdout).Encode(line)
	}
	return t.printJob(d)
}

func (t *terminal) printJob(d jobadmin.Detail) error {
	w := tabwriter.NewWriter(t.stdout, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintln(w, name+"\t"+visible(fmt.Sprintf(format, args...)))
	}
	at := func(name string, at *time.Time) {
		if at != nil {
			line(name, "%s", at.UTC().Format(time.RFC3339Nano))
		}
	}
	line("job", "%d", d.ID)
	line("kind", "%s", d.Kind)
	line("queue", "%s, priority %d", d.Queue, d.Priority)
	line("state", "%s", d.State)
	line("attempt", "%d of %d", d.Attempt, d.MaxAttempts)
	line("arguments", "%s", d.Args)
	if d.Message != "" {
		line("message", "%s, %s", d.Message, d.MessageState)
	}
	at("created", &d.CreatedAt)
	at("due", &d.ScheduledAt)
	at("attempted", d.AttemptedAt)
	at("over", d.FinalizedAt)
	if d.ActionID != 0 {
		line("operators' log", "entry %d", d.ActionID)
	}
	if d.Fingerprint != "" {
		line("fingerprint", "%s", d.Fingerprint)
	}
	for _, e := range d.Errors {
		line("error", "%s  attempt %d: %s", e.At.UTC().Format(time.RFC3339), e.Attempt, e.Error)
	}
	return w.Flush()
}
