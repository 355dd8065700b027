package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"onward/cmd/internal/bench"
)

// benchChild is the hidden verb under which the benchmark runs its own processes.
const benchChild = "child"

func runBench(ctx context.Context, t *terminal, args []string) error {
	if len(args) == 2 && args[0] == benchChild {
		return bench.Child(ctx, args[1], os.Stdin, t.stdout, t.stderr)
	}
	fs := t.flags("bench", "[flags]",
		"Measures Onward against what PostgreSQL does alone here: pgbench and the real web and worker processes, in turns, on a\n"+
			"durable database of their own that is removed afterwards. docs/benchmarks.md says how to read the table.\n"+
			"Parts: "+strings.Join(bench.Parts(), ", ")+".",
		"onward bench", "onward bench --quick", "onward bench --only accept,apply --rounds 5 --json > bench.json",
		"onward bench --only api --businesses 1000000", "onward bench --database-url postgres://bench@db.example.com/empty")
	var o bench.Options
	fs.BoolVar(&o.Quick, "quick", false, "less of everything: under a minute, for a look")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	only := fs.String("only", "", "parts, separated by commas (default all)")
	fs.IntVar(&o.Rounds, "rounds", 0, "how often each is measured (default 3, with --quick 1)")
	fs.StringVar(&o.DataDir, "data", ".data", "folder on the disk to measure; the database is in a temporary one inside")
	fs.StringVar(&o.DatabaseURL, "database-url", "", "an empty database to use instead; it is empty again afterwards")
	fs.IntVar(&o.Receipts, "receipts", 0, "receipts that were accepted before, in the part flat (default 2 million)")
	fs.IntVar(&o.Facts, "facts", 0, "facts that were recorded before, in the part flat (default 1 million), and in api (default 4 a business)")
	fs.IntVar(&o.Businesses, "businesses", 0, "businesses in the part api (default 100000)")
	fs.BoolVar(&o.AsIs, "as-is", false, "with --only api and --database-url: measure the database as it is (rather a copy), and neither fill nor empty it")
	fs.IntVar(&o.Concurrency, "concurrency", 0, "jobs of one queue that the worker runs at once (default its own)")
	fs.StringVar(&o.ProfileDir, "profile", "", "folder for CPU profiles of web and worker under load")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("unexpected argument %q", fs.Arg(0))
	}
	if *only != "" {
		for p := range strings.SplitSeq(*only, ",") {
			o.Only = append(o.Only, strings.TrimSpace(p))
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	o.Child, o.Version = []string{self, "bench", benchChild}, version
	begun := time.Now()
	o.Progress = func(step string) {
		fmt.Fprintf(t.stderr, "%4.0f s  %s\n", time.Since(begun).Seconds(), step)
	}
	report, err := bench.Run(ctx, o)
	switch {
	case errors.Is(err, bench.ErrUsage):
		return usagef("%s", strings.TrimPrefix(err.Error(), bench.ErrUsage.Error()+": "))
	case ctx.Err() != nil:
		return errors.New("interrupted; the database is removed")
	}
	if report != nil {
		// Also after an error: what was measured before it.
		if *asJSON {
			enc := json.NewEncoder(t.stdout)
			enc.SetIndent("", "  ")
			err = errors.Join(err, enc.Encode(report))
		} else {
			err = errors.Join(err, report.Print(t.stdout))
		}
	}
	return err
}
