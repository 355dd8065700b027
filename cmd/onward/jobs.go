package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/jobs/jobadmin"
	"onward/migrations"
)

func runJobs(ctx context.Context, t *terminal, args []string) error {
	verbs := map[string]func(context.Context, *terminal, []string) error{
		"list": runJobsList, "show": runJobsShow,
		"retry": func(ctx context.Context, t *terminal, args []string) error {
			return runJobsAct(ctx, t, jobadmin.Retry, args)
		},
		"cancel": func(ctx context.Context, t *terminal, args []string) error {
			return runJobsAct(ctx, t, jobadmin.Cancel, args)
		},
	}
	if len(args) == 0 {
		return usagef("say list, show, retry or cancel")
	}
	switch args[0] {
	case "-h", "-help", "--help":
		t.flags("jobs", "list|show|retry|cancel [flags]",
			"Looks at the jobs in the queue, and at why they fail; puts back those that failed, ends those that should not run.\n"+
				"`onward jobs VERB -h` lists the flags of each.",
			jobsExamples()...).Usage()
		return nil
	}
	run, ok := verbs[args[0]]
	if !ok {
		return usagef("no verb %q: say list, show, retry or cancel", args[0])
	}
	return run(ctx, t, args[1:])
}

func jobsExamples() []string {
	return []string{
		"onward jobs list --group",
		"onward jobs list --state discarded --kind reply,unsubscribe --since 24h",
		"onward jobs show 4711",
		"onward jobs retry --fingerprint 1a2b3c4d --dry-run",
		`onward jobs retry --fingerprint 1a2b3c4d --rate 50 --reason "disk was full until 14:10"`,
		`onward jobs cancel --id 4711 --reason "enqueued twice by hand"`,
	}
}

// jobFlags are the filters that the verbs share.
type jobFlags struct {
	ids, kinds, states, queues, text, print *string

	since timeFlag
}

func newJobFlags(fs *flag.FlagSet, states string) *jobFlags {
	j := &jobFlags{
		ids:    fs.String("id", "", "ids, separated by commas"),
		kinds:  fs.String("kind", "", "kinds, separated by commas: send, reply, status_callback, …"),
		states: fs.String("state", "", "states, separated by commas: "+strings.Join(jobadmin.States(), ", ")+" (default "+states+")"),
		queues: fs.String("queue", "", "queues, separated by commas"),
		text:   fs.String("error", "", "part of the last error, in any case"),
		print:  fs.String("fingerprint", "", "of the last error, as `list --group` shows it"),
	}
	fs.Var(&j.since, "since", "attempted last, or else created, since a `time`: 90m, 24h, 7d ago, or 2026-05-03T12:00:00Z")
	return j
}

// filter reads the flags; what is wrong with them is a usage error.
func (j *jobFlags) filter() (jobadmin.Filter, error) {
	f := jobadmin.Filter{
		Kinds: splitList(*j.kinds), States: splitList(*j.states), Queues: splitList(*j.queues), Error: *j.text, Fingerprint: *j.print,
		Since: j.since.at,
	}
	for _, s := range splitList(*j.ids) {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil || id < 1 {
			return f, usagef("--id %q is no job's id", s)
		}
		f.IDs = append(f.IDs, id)
	}
	if err := f.Validate(); err != nil {
		return f, usagef("--%s", err.Error())
	}
	return f, nil
}

// openJobs opens the database, on the schema that this version knows.
func openJobs(ctx context.Context) (*pgxpool.Pool, error) {
	pool, err := connect(ctx, 2)
	if err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// counts lists the members of a tally, the largest first: "reply 180, unsubscribe 20".
func counts(tally map[string]int) string {
	var parts []string
	for _, name := range byCount(tally) {
		parts = append(parts, fmt.Sprintf("%s %s", name, grouped(int64(tally[name]))))
	}
	return strings.Join(parts, ", ")
}
