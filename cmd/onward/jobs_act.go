package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/jobs/jobadmin"
)

func runJobsAct(ctx context.Context, t *terminal, verb jobadmin.Verb, args []string) error {
	about, states := "Puts back all jobs that match, the oldest first. A send whose message may have been sent is left until that is resolved;\n"+
		"a job that a newer one stands in for is left as well. Both are listed.", "retryable,discarded"
	examples := jobsExamples()[3:5]
	if verb == jobadmin.Cancel {
		about, states = "Ends all jobs that match; those that run are asked to stop. A cancelled send leaves its message queued, a cancelled receipt\n"+
			"job its receipt unapplied: to stop a campaign, cancel the campaign.", "all that are not over"
		examples = jobsExamples()[5:]
	}
	fs := t.flags("jobs "+string(verb), "[flags]", about, examples...)
	j := newJobFlags(fs, states)
	reason := fs.String("reason", "", "why: goes to the operators' log, with your name")
	dry := fs.Bool("dry-run", false, "say how many match and which would be left, and change nothing")
	rate := fs.Float64("rate", 0, "so many a second; 0: as fast as it goes")
	asJSON := fs.Bool("json", false, "print as JSON")
	if err := parse(fs, args); err != nil {
		return err
	}
	f, err := j.filter()
	switch {
	case err != nil:
		return err
	case fs.NArg() > 0:
		return usagef("unexpected argument %q: name jobs by --id", fs.Arg(0))
	case *rate < 0:
		return usagef("--rate is not negative")
	case !*dry && strings.TrimSpace(*reason) == "":
		return usagef("--reason is missing: it goes to the operators' log")
	}
	d := jobadmin.Drip{Verb: verb, PerSecond: *rate, Operator: jobadmin.Operator{Actor: localActor(), Reason: strings.TrimSpace(*reason)}}
	var field *jobadmin.FieldError
	if d.Filter, err = verb.Prepare(f); errors.As(err, &field) {
		return usagef("the %s", strings.TrimPrefix(field.Error(), "the "))
	}
	pool, err := openJobs(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	if *dry {
		r, err := d.Dry(ctx, pool)
		if err != nil {
			return err
		}
		r.Done = r.Matched - r.Refused
		return t.printActed(verb, r, true, *asJSON)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	p := t.newProgress("jobs")
	d.Progress = p.set
	r, err := d.Run(ctx, pool, client)
	p.end()
	if err != nil && r.Matched == 0 {
		return err
	}
	return errors.Join(t.printActed(verb, r, false, *asJSON), err)
}

// printActed says what an act came to, or would come to.
func (t *terminal) printActed(verb jobadmin.Verb, r jobadmin.Result, dry, asJSON bool) error {
	if asJSON {
		if r.Refusal == nil {
			r.Refusal = []jobadmin.Refusal{}
		}
		return json.NewEncoder(t.stdout).Encode(struct {
			DryRun bool `json:"dry_run"`
			jobadmin.Result
		}{dry, r})
	}
	done := map[jobadmin.Verb]string{jobadmin.Retry: "retried", jobadmin.Cancel: "cancelled"}[verb]
	if dry {
		done = "would be " + done
	}
	fmt.Fprintf(t.stdout, "%s matched: %s %s, %s left\n", plural(int64(r.Matched), "job"), grouped(int64(r.Done)), done, grouped(int64(r.Refused)))
	for _, f := range r.Refusal {
		fmt.Fprintf(t.stdout, "  job %d left: %s\n", f.JobID, f.Detail)
	}
	if more := r.Refused - len(r.Refusal); more > 0 {
		fmt.Fprintf(t.stdout, "  and %s more\n", grouped(int64(more)))
	}
	return nil
}
