package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/app"
	"onward/migrations"
)

func runMigrate(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("migrate", "up|status|down [flags]",
		"Brings the schema of DATABASE_URL up to date: Onward's tables and River's, under a lock, each step in a transaction.\n"+
			"down takes back the newest of Onward's steps, and all that its tables held; it is for development.",
		"onward migrate up", "onward migrate status --json", "onward migrate down --all --yes")
	asJSON := fs.Bool("json", false, "print steps as JSON")
	all := fs.Bool("all", false, "down: take back everything, River's tables included")
	yes := fs.Bool("yes", false, "down: yes, drop the tables and the data in them")
	if len(args) == 0 {
		return usagef("say up, status or down")
	}
	verb, rest := args[0], args[1:]
	if verb == "-h" || verb == "--help" || verb == "-help" {
		rest = args
	}
	if err := parse(fs, rest); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("unexpected argument %q", fs.Arg(0))
	}
	if !slices.Contains([]string{"up", "status", "down"}, verb) {
		return usagef("no verb %q: say up, status or down", verb)
	}
	if verb == "down" && !*yes {
		return usagef("down drops tables and the data in them: say --yes")
	}
	pool, err := connect(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	quiet := slog.New(slog.DiscardHandler)
	var steps []migrations.Step
	switch verb {
	case "up":
		steps, err = migrations.Up(ctx, pool, quiet)
	case "down":
		steps, err = migrations.Down(ctx, pool, quiet, *all)
	case "status":
		steps, err = migrations.Status(ctx, pool, quiet)
	}
	if err != nil {
		return err
	}
	if err := printSteps(t.stdout, verb, steps, *asJSON); err != nil || verb == "down" {
		return err
	}
	advice, err := migrations.SearchAdvice(ctx, pool)
	if advice != "" {
		fmt.Fprintln(t.stderr, "onward migrate: "+advice)
	}
	return err
}

func printSteps(w io.Writer, verb string, steps []migrations.Step, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, s := range steps {
			if err := enc.Encode(s); err != nil {
				return err
			}
		}
		return nil
	}
	if len(steps) == 0 {
		fmt.Fprintln(w, "nothing to do")
	}
	for _, s := range steps {
		state := "pending"
		switch {
		case verb == "down":
			state = "taken back"
		case s.At != nil:
			state = "applied " + s.At.UTC().Format(time.RFC3339)
		case s.Applied:
			state = "applied"
		}
		fmt.Fprintf(w, "%-7s %04d %-32s %s\n", s.Line, s.Version, s.Name, state)
	}
	return nil
}

// connect opens the database of the settings for a command.
func connect(ctx context.Context, size int32) (*pgxpool.Pool, error) {
	cfg, err := app.FromEnv(nil)
	if err != nil {
		return nil, err
	}
	if err := cfg.Validate(app.RoleTool); err != nil {
		return nil, err
	}
	return app.Connect(ctx, cfg.Direct(), size)
}
