package main

import (
	"context"
	"fmt"
	"strings"

	"onward/cmd/internal/app"
)

func runWeb(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("web", "", "Serves webhooks and tracking in public, API and metrics in private. No job is worked here.",
		"DATABASE_URL=postgres://… ONWARD_PUBLIC_URL=https://hooks.example.com ONWARD_SECRET_KEY=… onward web")
	t.settings(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("takes no arguments")
	}
	return serve(ctx, t, app.Options{Role: app.RoleWeb, Version: version})
}

func runWorker(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("worker", "[flags]", "Works jobs. Any number of workers, on any number of hosts, share one database.",
		"onward worker", "onward worker --queues inbound,callbacks,billing --concurrency 100")
	queues := fs.String("queues", "", "queues to work, separated by commas (default all)")
	concurrency := fs.Int("concurrency", 0, "jobs of one queue that run at once (default 800 callbacks, 200 texts, 50 of any other queue)")
	t.settings(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usagef("takes no arguments")
	case *concurrency < 0 || *concurrency > 10_000:
		return usagef("--concurrency %d is not between 1 and 10000", *concurrency)
	}
	o := app.Options{Role: app.RoleWorker, Version: version, Concurrency: *concurrency}
	if *queues != "" {
		for q := range strings.SplitSeq(*queues, ",") {
			o.Queues = append(o.Queues, strings.TrimSpace(q))
		}
	}
	return serve(ctx, t, o)
}

// serve runs a process until it is told to stop.
func serve(ctx context.Context, t *terminal, o app.Options) (err error) {
	if o.Config, err = app.FromEnv(nil); err != nil {
		return app.Problems(err, o.Config.Validate(o.Role)) // all of them at once
	}
	o.Stderr = t.stderr
	o.Role.TuneMemory()
	a, err := app.New(ctx, o)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	if err := app.GiveBackStartup(); err != nil {
		fmt.Fprintln(t.stderr, "more memory than need be is in use:", err)
	}
	go app.FollowLoad(ctx)
	<-ctx.Done()
	fmt.Fprintln(t.stderr, "stopping: what runs may end")
	return a.Stop(ctx)
}
