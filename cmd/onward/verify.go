package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle/pgstore"
	"onward/migrations"
)

func runVerify(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("verify", "[flags]",
		"Recomputes every status from the recorded facts and compares it with what is stored and with the trail of transitions;\n"+
			"then checks the invariants. It may run beside everything else: it holds no locks while it looks, and little memory.\n"+
			"Each drift is printed with the newest facts that speak of it. --repair writes what the facts say, a business at a time,\n"+
			"as a corrected transition and an entry in the operators' log. Violated invariants are never repaired: read what they mean.\n"+
			"Exit code: 0 when all is well (or was repaired), 1 when drift or a violation is left, 2 for a wrong call.",
		"onward verify", "onward verify --sample 10000 --since 24h", "onward verify --json > report.jsonl",
		`onward verify --repair --reason "status set by hand on Monday, see ticket 42"`)
	repair := fs.Bool("repair", false, "write the folded statuses where the stored ones drifted; needs --reason")
	reason := fs.String("reason", "", "why it is repaired: goes to the operators' log")
	sample := fs.Int("sample", 0, "look at so many businesses, drawn at random; 0: at all of them")
	since := fs.Duration("since", 0, "check the invariants only over receipts, messages and campaigns of that age; 0: over all")
	asJSON := fs.Bool("json", false, "print as JSON, one object a line: drift, invariant, summary")
	if err := parse(fs, args); err != nil {
		return err
	}
	o := pgstore.VerifyOptions{Sample: *sample}
	switch {
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	case *repair && strings.TrimSpace(*reason) == "":
		return usagef("--repair needs --reason: it goes to the operators' log")
	case !*repair && *reason != "":
		return usagef("--reason goes with --repair")
	case *sample < 0 || *since < 0:
		return usagef("--sample and --since are not negative")
	case *repair:
		o.Repair = &pgstore.Repair{Actor: localActor(), Reason: *reason}
	}
	pool, err := connect(ctx, 1) // one query at a time
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	r := verifyReport{w: t.stdout, json: *asJSON}
	begun := time.Now()
	p := t.newProgress("businesses")
	o.Progress = p.set
	o.Found = func(d pgstore.Drift) { p.print(func() { r.drift(d) }) }
	found, err := pgstore.Verify(ctx, pool, o)
	p.end()
	if err != nil {
		return err
	}
	invariants := pgstore.InvariantOptions{}
	if *since > 0 {
		invariants.Since = begun.Add(-*since)
	}
	p = t.newProgress("invariants")
	invariants.Progress = p.set
	checked, err := pgstore.CheckInvariants(ctx, pool, invariants)
	p.end()
	r.invariants(checked)
	if err != nil {
		return err
	}
	return r.summary(found, time.Since(begun))
}

// localActor names who runs a command, as the operators' log shows it.
func localActor() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// verifyReport prints what was found, as it is found.
type verifyReport struct {
	w      io.Writer
	json   bool
	broken int // invariants
	err    error
}

// line prints one object of the JSON form.
func (r *verifyReport) line(v any) {
	if err := json.NewEncoder(r.w).Encode(v); err != nil {
		r.err = errors.Join(r.err, err)
	}
}

func (r *verifyReport) drift(d pgstore.Drift) {
	if r.json {
		r.line(struct {
			Kind string `json:"kind"`
			pgstore.Drift
		}{"drift", d})
		return
	}
	what := string(d.Field)
	if d.Axis != "" {
		what = string(d.Axis) + " " + what
	}
	where := d.Business.String()
	if d.Site != uuid.Nil {
		where += " site " + d.Site.String()
	}
	done := ""
	if d.Repaired {
		done = " (repaired)"
	}
	fmt.Fprintf(r.w, "drift: business %s: %s: stored %s, folded %s%s\n", where, what, d.Stored, d.Folded, done)
	for _, f := range d.LastFacts {
		fmt.Fprintf(r.w, "    %s  %-24s  fact %d, from %s\n", f.OccurredAt.Format(time.RFC3339Nano), f.Event, f.ID, f.Source)
	}
	if len(d.LastFacts) == 0 {
		fmt.Fprintln(r.w, "    no fact speaks of it")
	}
}

func (r *verifyReport) invariants(list []pgstore.Violations) {
	for _, v := range list {
		if v.Count > 0 {
			r.broken++
		}
	}
	if r.json {
		for _, v := range list {
			r.line(struct {
				Kind string `json:"kind"`
				pgstore.Violations
			}{"invariant", v})
		}
		return
	}
	w := tabwriter.NewWriter(r.w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "INVARIANT\tVIOLATIONS\tEXAMPLES")
	for _, v := range list {
		examples := "-"
		if v.Count > 0 {
			examples = v.Of + " " + strings.Join(v.Examples, " ")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", v.Invariant, v.Count, examples)
	}
	r.err = errors.Join(r.err, w.Flush())
	for _, v := range list {
		if v.Count > 0 {
			fmt.Fprintf(r.w, "%s: %s\n", v.Invariant, v.Means)
		}
	}
}

// summary prints the last line; it is the error that makes the exit code.
func (r *verifyReport) summary(v pgstore.Verification, took time.Duration) error {
	if r.json {
		r.line(struct {
			Kind string `json:"kind"`
			pgstore.Verification
			Violated int     `json:"violated_invariants"`
			Seconds  float64 `json:"seconds"`
		}{"summary", v, r.broken, took.Seconds()})
	} else {
		fmt.Fprintf(r.w, "%s in %s: %s drifted, %s repaired; %d of %d invariants violated\n", counted(v.Businesses, "business", "businesses"),
			took.Round(100*time.Millisecond), grouped(v.Drifted), grouped(v.Repaired), r.broken, len(pgstore.Invariants()))
		if v.Newer > 0 {
			fmt.Fprintf(r.w, "not verified: %s with facts of a newer version, which alone can fold them\n", counted(v.Newer, "business", "businesses"))
		}
	}
	var wrong []string
	if left := v.Drifted - v.Repaired; left > 0 {
		wrong = append(wrong, counted(left, "business", "businesses")+" drifted: `onward verify --repair --reason …` writes what the facts say")
	}
	if r.broken > 0 {
		wrong = append(wrong, counted(int64(r.broken), "invariant is", "invariants are")+" violated: the table names examples")
	}
	switch {
	case r.err != nil:
		return fmt.Errorf("print the report: %w", r.err)
	case len(wrong) > 0:
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// counted is a number with its noun.
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}
