package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle/pgstore/analytics"
	"onward/migrations"
)

func runAnalytics(ctx context.Context, t *terminal, args []string) error {
	verbs := []string{"status", "rebuild", "verify", "measure"}
	fs := t.flags("analytics", "status|rebuild|verify|measure [flags]",
		"Looks after the sums behind /api/v1/analytics, which workers keep.\n"+
			"status says as of when they hold. rebuild counts everything anew, in transactions of some 100 ms beside everything else; until\n"+
			"it is through, answers are not complete and say so. verify counts every business anew and compares, without writing. measure\n"+
			"asks each question again and again and prints how long the answers took.\n"+
			"Exit code of verify: 0 when all is well, 1 when something drifted.",
		"onward analytics status", `onward analytics rebuild`, "onward analytics verify --json", "onward analytics measure --times 200")
	asJSON := fs.Bool("json", false, "print as JSON")
	times := fs.Int("times", 100, "measure: how often each question is asked, 1 to 10000")
	if len(args) == 0 {
		return usagef("say status, rebuild, verify or measure")
	}
	verb, rest := args[0], args[1:]
	if verb == "-h" || verb == "--help" || verb == "-help" {
		rest = args
	}
	if err := parse(fs, rest); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	case !slices.Contains(verbs, verb):
		return usagef("no verb %q: say status, rebuild, verify or measure", verb)
	case *times < 1 || *times > 10_000:
		return usagef("--times: 1 to 10000")
	}
	pool, err := connect(ctx, 1) // one query at a time
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	switch verb {
	case "rebuild":
		if err := rebuildAnalytics(ctx, t, pool); err != nil {
			return err
		}
	case "verify":
		return verifyAnalytics(ctx, t, pool, *asJSON)
	case "measure":
		return measureAnalytics(ctx, t, pool, *times, *asJSON)
	}
	return printAnalytics(ctx, t, pool, *asJSON)
}

func printAnalytics(ctx context.Context, t *terminal, pool *pgxpool.Pool, asJSON bool) error {
	p, err := analytics.ReadProgress(ctx, pool)
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		return json.NewEncoder(t.stdout).Encode(struct {
			AsOf       *time.Time `json:"as_of"`
			Rebuilding bool       `json:"rebuilding"`
		}{p.AsOf, p.Rebuilding})
	case p.Rebuilding:
		fmt.Fprintln(t.stdout, "a rebuild is under way: answers are not complete (workers go on with it, and so does `onward analytics rebuild`)")
	default:
		fmt.Fprintf(t.stdout, "as of %s, %s behind\n", p.AsOf.Format(time.RFC3339), p.Now.Sub(*p.AsOf).Round(time.Millisecond))
	}
	return nil
}

func rebuildAnalytics(ctx context.Context, t *terminal, pool *pgxpool.Pool) error {
	var total int64
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM businesses`).Scan(&total); err != nil {
		return fmt.Errorf("count businesses: %w", err)
	}
	if err := analytics.Reset(ctx, pool); err != nil {
		return err
	}
	begun := time.Now()
	p := t.newProgress("businesses")
	done, err := analytics.Advance(ctx, pool, analytics.AdvanceOptions{
		Patience: time.Minute,
		Progress: func(id int64) { p.set(min(id, total), total) },
	})
	p.end()
	if err != nil {
		return err
	}
	if !done.Arrived {
		return errors.New("transactions that began more than a minute ago are still open: workers go on when they are over")
	}
	fmt.Fprintf(t.stdout, "counted %s in %s, in %s transactions\n", counted(done.Businesses, "business", "businesses"),
		time.Since(begun).Round(100*time.Millisecond), grouped(int64(done.Chunks)))
	return nil
}

func verifyAnalytics(ctx context.Context, t *terminal, pool *pgxpool.Pool, asJSON bool) error {
	begun := time.Now()
	found, err := analytics.Verify(ctx, pool, analytics.VerifyOptions{})
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(t.stdout).Encode(struct {
			Businesses int64    `json:"businesses"`
			Pending    int64    `json:"pending"`
			Drifted    int64    `json:"drifted"`
			Drifts     []string `json:"drifts"`
		}{found.Businesses, found.Pending, found.Drifted, append([]string{}, found.Drifts...)})
		if err != nil {
			return fmt.Errorf("print what was found: %w", err)
		}
	} else {
		for _, d := range found.Drifts {
			fmt.Fprintln(t.stdout, "drift:", d)
		}
		fmt.Fprintf(t.stdout, "%s in %s: %s drifted; %s not counted yet\n", counted(found.Businesses, "business", "businesses"),
			time.Since(begun).Round(100*time.Millisecond), grouped(found.Drifted), grouped(found.Pending))
	}
	if found.Drifted > 0 {
		return errors.New("analytics drifted: `onward analytics rebuild` counts everything anew")
	}
	return nil
}

// measureAnalytics prints how long answers took, as their reader sees it: what the API adds is below a millisecond.
func measureAnalytics(ctx context.Context, t *terminal, pool *pgxpool.Pool, times int, asJSON bool) error {
	w := tabwriter.NewWriter(t.stdout, 0, 8, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, "QUESTION\tP50\tP99\tMAX")
	}
	for _, q := range analyticsQuestions() {
		took := make([]time.Duration, times)
		for i := range took {
			begun := time.Now()
			if err := q.ask(ctx, pool); err != nil {
				return err
			}
			took[i] = time.Since(begun)
		}
		slices.Sort(took)
		at := func(share float64) time.Duration {
			return took[min(int(share*float64(times)), times-1)].Round(100 * time.Microsecond)
		}
		if asJSON {
			if err := json.NewEncoder(t.stdout).Encode(map[string]any{
				"question": q.name, "p50_ms": at(.5).Seconds() * 1000, "p99_ms": at(.99).Seconds() * 1000, "max_ms": took[times-1].Seconds() * 1000,
			}); err != nil {
				return fmt.Errorf("print the figures: %w", err)
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", q.name, at(.5), at(.99), took[times-1].Round(100*time.Microsecond))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return nil
}

// question is one that the API answers.
type question struct {
	name string
	ask  func(context.Context, *pgxpool.Pool) error
}

func analyticsQuestions() []question {
	var list []question
	for _, by := range []analytics.FunnelBy{analytics.FunnelByWeek, analytics.FunnelByChannel, analytics.FunnelByCampaign, analytics.FunnelByCountry} {
		list = append(list, question{"funnel by " + string(by), func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := analytics.ReadFunnel(ctx, pool, analytics.FunnelQuery{By: by, TimeZone: "America/Guatemala"})
			return err
		}})
	}
	for _, model := range []analytics.Model{analytics.LastTouch, analytics.FirstTouch} {
		rule := analytics.Attribution{Model: model}
		list = append(list, question{"campaigns, " + string(model) + " touch", func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := analytics.ReadCampaigns(ctx, pool, analytics.CampaignsQuery{Attribution: rule, Limit: 51})
			return err
		}})
		for _, by := range []analytics.FunnelBy{analytics.FunnelByCampaign, analytics.FunnelByChannel, analytics.FunnelByWeek} {
			list = append(list, question{"revenue by " + string(by) + ", " + string(model) + " touch", func(ctx context.Context, pool *pgxpool.Pool) error {
				_, err := analytics.ReadRevenue(ctx, pool, analytics.RevenueQuery{Attribution: rule, By: by, TimeZone: "America/Guatemala"})
				return err
			}})
		}
	}
	return append(list,
		question{"at risk", func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := analytics.ReadAtRisk(ctx, pool, analytics.AtRiskQuery{Limit: 51})
			return err
		}},
		question{"at risk, silent", func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := analytics.ReadAtRisk(ctx, pool, analytics.AtRiskQuery{Limit: 51, SilentDays: 7, Reasons: []analytics.Reason{analytics.ReasonSilent}})
			return err
		}},
		question{"at risk, summary", func(ctx context.Context, pool *pgxpool.Pool) error {
			_, err := analytics.ReadRiskSummary(ctx, pool, 0)
			return err
		}},
	)
}
