package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"onward/lifecycle/pgstore"
	"onward/migrations"
)

func runSeed(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("seed", "[flags]",
		"Fills a database with made-up businesses and facts, for benchmarks and demos: with sites, statuses and transitions as if\n"+
			"each fact had been applied; with --outreach also with the campaigns, messages, replies and payments that they came with.\n"+
			"Nobody can be reached at the addresses: phones are under +999, mailboxes under .example. The same seed on the same day makes the\n"+
			"same data. A database that has businesses already is left alone unless --append is given.",
		"onward seed --businesses 1000 --facts 5000", "onward seed --businesses 1000000 --facts 5000000 --seed 7")
	var o pgstore.GenerateOptions
	fs.IntVar(&o.Businesses, "businesses", 1000, "how many businesses")
	fs.IntVar(&o.Facts, "facts", 5000, "how many facts, over all businesses together")
	fs.Uint64Var(&o.Seed, "seed", 1, "the same seed makes the same data")
	fs.BoolVar(&o.Outreach, "outreach", false, "with campaigns, messages, replies and payments")
	fs.BoolVar(&o.Append, "append", false, "add to the businesses that are there")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("unexpected argument %q", fs.Arg(0))
	}
	if o.Businesses < 1 {
		return usagef("--businesses: at least 1")
	}
	if o.Facts < 0 || o.Facts/o.Businesses > pgstore.MaxMeanFacts {
		return usagef("--facts: between 0 and %d a business", pgstore.MaxMeanFacts)
	}
	pool, err := connect(ctx, 1) // one query at a time
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	p := t.newProgress("businesses")
	o.Progress = p.set
	begun := time.Now()
	made, err := pgstore.Generate(ctx, pool, o)
	p.end()
	if errors.Is(err, pgstore.ErrNotEmpty) {
		return errors.New("the database has businesses already: give an empty one, or say --append")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "made %s businesses, %s sites, %s facts, %s transitions and %s suppressions in %s\n",
		grouped(made.Businesses), grouped(made.Sites), grouped(made.Facts), grouped(made.Transitions), grouped(made.Suppressions),
		time.Since(begun).Round(100*time.Millisecond))
	return nil
}
