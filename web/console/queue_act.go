package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/jobs/jobadmin"
)

// jobsActed is the API's answer to an act on jobs.
type jobsActed struct {
	ActionID  int64              `json:"action_id"`
	Matched   int                `json:"matched"`
	Done      int                `json:"done"`
	Refused   int                `json:"refused"`
	Refusals  []jobadmin.Refusal `json:"refusals"`
	Remaining int                `json:"remaining"`
}

// actFilters are the values that select the jobs of an act.
func actFilters() []string {
	return []string{"ids", "kind", "state", "queue", "error", "fingerprint", "within"}
}

// actPage is what an act would do.
type actPage struct {
	Verb    string
	Filter  url.Values
	Words   []pair // the filter, for people
	Dry     jobsActed
	Codes   []tallied // why jobs are left
	Example string    // a reason
}

// actBody is the act as the API takes it.
func (c *Console) actBody(verb string, f url.Values) (map[string]any, error) {
	if verb != string(jobadmin.Retry) && verb != string(jobadmin.Cancel) {
		return nil, field("verb", "There is no such act: jobs are retried or cancelled.")
	}
	filter, err := c.jobFilter(f)
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	for name, list := range map[string][]string{"kind": filter.Kinds, "state": filter.States, "queue": filter.Queues} {
		if len(list) > 0 {
			body[name] = list
		}
	}
	if filter.Error != "" {
		body["error"] = filter.Error
	}
	if filter.Fingerprint != "" {
		body["fingerprint"] = filter.Fingerprint
	}
	if !filter.Since.IsZero() {
		body["since"] = filter.Since
	}
	if ids := f.Get("ids"); ids != "" {
		var list []int64
		for part := range strings.SplitSeq(ids, ",") {
			id, err := strconv.ParseInt(part, 10, 64)
			if err != nil {
				return nil, field("ids", "A job's id is a number.")
			}
			list = append(list, id)
		}
		body["ids"] = list
		// One that is named is meant, whatever state it is in.
		if len(filter.States) == 0 && verb == string(jobadmin.Retry) {
			body["state"] = []string{"scheduled", "retryable", "completed", "cancelled", "discarded"}
		}
	}
	return body, nil
}

// tryJobs shows what an act would do to the jobs of a filter, and asks for the reason.
func (c *Console) tryJobs(v *visit) error {
	if err := onlyFilters(v.r.URL.Query(), actFilters(), "verb"); err != nil {
		return err
	}
	p := actPage{Verb: v.query("verb"), Filter: selection(v.r, actFilters()), Example: "The database was full"}
	if p.Verb == string(jobadmin.Cancel) {
		p.Example = "Enqueued by mistake"
	}
	body, err := c.actBody(p.Verb, p.Filter)
	if err != nil {
		return err
	}
	if err := v.api(http.MethodPost, "/jobs/"+p.Verb, map[string]any{"filter": body, "dry_run": true}, &p.Dry); err != nil {
		return err
	}
	for _, name := range actFilters() {
		if value := p.Filter.Get(name); value != "" {
			p.Words = append(p.Words, pair{name, value})
		}
	}
	codes := map[string]int{}
	for _, r := range p.Dry.Refusals {
		codes[r.Code]++
	}
	p.Codes = talliedOf(codes)
	return v.render("queue_act", label(p.Verb)+" jobs", p)
}

// actOnJobs does it.
func (c *Console) actOnJobs(v *visit) error {
	f := url.Values{}
	for _, name := range actFilters() {
		if value := v.form(name); value != "" {
			f.Set(name, value)
		}
	}
	filter, err := c.actBody(v.form("verb"), f)
	if err != nil {
		return err
	}
	if v.form("reason") == "" {
		return field("reason", "Say why: it goes to the operators' log.")
	}
	body := map[string]any{"filter": filter, "reason": v.form("reason")}
	if rate := v.form("per_second"); rate != "" && v.form("verb") == string(jobadmin.Retry) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(rate, ",", "."), 64)
		if err != nil || n < 0 {
			return field("per_second", "How many a second: a number, such as 5 or 0.5, or nothing for all at once.")
		}
		body["per_second"] = n
	}
	var done jobsActed
	if err := v.api(http.MethodPost, "/jobs/"+v.form("verb"), body, &done); err != nil {
		return err
	}
	c.failures.forget()
	past := "put back"
	if v.form("verb") == string(jobadmin.Cancel) {
		past = "cancelled"
	}
	text := plural(done.Done, "job", "jobs") + " " + past + "."
	if done.Refused > 0 {
		text += fmt.Sprintf(" %s left as they were.", count(done.Refused))
	}
	tone := toneGood
	if done.Remaining > 0 {
		text += fmt.Sprintf(" %s more match: do it again for the rest.", count(done.Remaining))
		tone = toneWarn
	}
	return v.done("/queue/acts/"+strconv.FormatInt(done.ActionID, 10), tone, text)
}

// forget makes the next reading count again: what was just changed shows.
func (f *failureGroups) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = time.Time{}
}

// actProgress is how far the jobs of an act have come.
type actProgress struct {
	ID            int64
	Actor, Action string
	Reason        string
	At            time.Time
	Target        string
	Matched       int
	Done          int
	Refused       int
	States        []stateCount
	Followed      int // of Done: those that States counts
	Over          int // completed, or ended
	Again         int // failed again
	Next          *time.Time
	Last          *time.Time
}

type stateCount struct {
	State string
	N     int
}

// readAct reads an entry of the operators' log, and how its jobs stand. Those that never failed have no index to be found
// by, and are not followed.
func (c *Console) readAct(v *visit) (actProgress, error) {
	var p actProgress
	id, err := strconv.ParseInt(v.param("id"), 10, 64)
	if err != nil {
		return p, errNotFound
	}
	err = c.read(v.ctx(), func(tx pgx.Tx) error {
		var details []byte
		err := tx.QueryRow(v.ctx(), `
			SELECT id, actor, action, reason, at, target_id, details
			FROM operator_actions
			WHERE id = $1 AND target_type = $2`, id, jobadmin.Target).Scan(&p.ID, &p.Actor, &p.Action, &p.Reason, &p.At, &p.Target, &details)
		if err != nil {
			return err
		}
		var d struct{ Matched, Done, Refused int }
		if err := json.Unmarshal(details, &d); err != nil {
			return fmt.Errorf("read an act: %w", err)
		}
		p.Matched, p.Done, p.Refused = d.Matched, d.Done, d.Refused
		return p.follow(v.ctx(), tx)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return p, errNotFound
	}
	return p, err
}

func (p *actProgress) follow(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		SELECT j.state::text, count(*), min(j.scheduled_at), max(j.scheduled_at)
		FROM river_job j
		WHERE j.errors IS NOT NULL AND (j.metadata ->> 'onward_action')::bigint = $1
		GROUP BY j.state
		ORDER BY j.state`, p.ID)
	if err != nil {
		return fmt.Errorf("follow the jobs of an act: %w", err)
	}
	var s stateCount
	var first, last *time.Time
	_, err = pgx.ForEachRow(rows, []any{&s.State, &s.N, &first, &last}, func() error {
		p.States = append(p.States, s)
		p.Followed += s.N
		switch s.State {
		case "completed", "cancelled":
			p.Over += s.N
		case "retryable", "discarded":
			p.Again += s.N
		case "scheduled":
			p.Next, p.Last = first, last
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("follow the jobs of an act: %w", err)
	}
	return nil
}

// Moving reports whether there is more to come.
func (p actProgress) Moving() bool { return p.Followed > p.Over+p.Again }

// Left is how many of those that matched the act has not come to: one of the API's or of these pages' ends at its limit.
func (p actProgress) Left() int { return max(0, p.Matched-p.Done-p.Refused) }
