package app_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// What operators are given asks a real Prometheus, which scrapes a real Onward: no query of a dashboard, rule or runbook
// is dead, a healthy installation raises no alert, and a broken one those that it should.

const oldAuthToken = "fedcba9876543210fedcba9876543210"

// wait is how long Prometheus may take to see what happened: a reading of the installation's state (15 s), a scrape, an
// evaluation, on a machine that is busy.
const wait = 2 * time.Minute

// needFault are queries that return nothing as long as all is well; the test breaks something and asks again.
func needFault() []string {
	return []string{
		`ALERTS{job=~"$job|", alertname=~"Onward.+"}`,
		`ALERTS{job="$job", alertname=~"Onward.+", alertstate="firing"}`,
	}
}

// broken are the alerts that the faults of this test must raise. The others need longer than a test may take, or other
// hosts; promtool tests them all (dashboards/rules/tests).
func broken() []string {
	return []string{
		"OnwardCampaignPausedItself", "OnwardDrift", "OnwardInboxOverloaded", "OnwardInvariantBroken", "OnwardJobErrorRatio",
		"OnwardJobStuck", "OnwardJobsDiscarded", "OnwardOldSecretInUse", "OnwardOptOutBroken", "OnwardPartitionMissing",
		"OnwardQueueFallingBehind", "OnwardQueuePaused", "OnwardReceiptsFailed", "OnwardSenderThrottled", "OnwardSignatureRejects",
		"OnwardUnknownSends", "OnwardWebhookErrors",
	}
}

func TestDashboardsRulesAndRunbooks(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) {
		o.Config.TwilioAuthToken += "," + oldAuthToken
		o.Logger = slog.New(slog.DiscardHandler) // the faults are many
	}, nil)
	scraped := httptest.NewServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.app.PrivateAddr()}))
	t.Cleanup(scraped.Close)
	node := freeAddr(t)
	run(t, []string{"prometheus-node-exporter", "node_exporter"}, "--web.listen-address="+node, "--collector.disable-defaults", "--collector.filesystem",
		"--collector.filesystem.fs-types-exclude=^(proc|sysfs)$")
	p := watch(t, ruleFiles(t), map[string]string{"onward": strings.TrimPrefix(scraped.URL, "http://"), "node": node})

	p.eventually("Prometheus has seen Onward before anything happens", func() []string {
		return p.dead([]string{`count_over_time(onward_build_info[1m]) > 2`})
	})
	s.playEverything()

	var healthy []string
	for _, q := range dashboardQueries(t) {
		if !slices.Contains(needFault(), q) {
			healthy = append(healthy, q)
		}
	}
	for _, r := range p.rules() {
		require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
		if r.Type == "recording" {
			healthy = append(healthy, r.Name, r.Query)
		} else {
			healthy = append(healthy, withoutThresholds(r.Query))
		}
	}
	p.eventually("every query returns something", p.asking(healthy))
	require.Empty(t, p.unwatched(), "metrics that no dashboard and no rule looks at")
	p.eventually("nothing fires while all is well", func() []string {
		names := p.firing()
		delete(names, "OnwardDiskFilling") // of this machine
		return slices.Collect(maps.Keys(names))
	})
	for _, q := range needFault() {
		require.NotEmpty(t, p.dead([]string{q}), "needs no fault: %s", q)
	}

	s.breakEverything()
	p.eventually("every alert fires", func() []string {
		names := p.firing()
		return slices.DeleteFunc(broken(), func(name string) bool { return names[name] })
	})
	faulty := append(needFault(), runbookQueries(t)...)
	p.eventually("every query that needs a fault returns something", p.asking(faulty))

	scraped.Close()
	p.eventually("Onward is gone", func() []string {
		names := p.firing()
		return slices.DeleteFunc([]string{"OnwardDown", "OnwardProcessDown"}, func(name string) bool { return names[name] })
	})
	require.Empty(t, p.dead([]string{`up{job=~"onward.*"} == 0`}))
}

// Every statement that a runbook tells an operator to run is one that this schema understands.
func TestRunbookSQL(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	found := 0
	for file, blocks := range runbookBlocks(t, "sql") {
		for _, sql := range blocks {
			found++
			if strings.HasPrefix(sql, "VACUUM") || strings.HasPrefix(sql, "ANALYZE") {
				_, err := s.db.Pool.Exec(t.Context(), sql)
				require.NoError(t, err, "%s: %s", file, sql)
				continue
			}
			_, err := s.db.Pool.Exec(t.Context(), "EXPLAIN "+sql)
			require.NoError(t, err, "%s: %s", file, sql)
		}
	}
	require.Greater(t, found, 20)
}

// eventually waits until nothing is left of what fn lists.
func (p *prometheusServer) eventually(what string, fn func() []string) {
	p.Helper()
	var left []string
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if left = fn(); len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	require.Empty(p, left, "%s, within %s; still:\n%s", what, wait, strings.Join(left, "\n"))
}

// asking asks again what has returned nothing so far.
func (p *prometheusServer) asking(queries []string) func() []string {
	return func() []string {
		queries = p.dead(queries)
		return queries
	}
}

// dead lists the queries that return nothing.
func (p *prometheusServer) dead(queries []string) []string {
	p.Helper()
	var list []string
	for _, q := range queries {
		expr := strings.NewReplacer("$job", "onward", "$__rate_interval", "1m", "$__range", "3h").Replace(q)
		ok, err := p.returns(expr)
		require.NoError(p, err)
		if !ok {
			list = append(list, q)
		}
	}
	return list
}

// unwatched lists the metrics of ours that neither dashboards nor rules look at.
func (p *prometheusServer) unwatched() []string {
	p.Helper()
	var names []string
	require.NoError(p, p.get("/api/v1/label/__name__/values", &names))
	known := strings.Join(dashboardQueries(p.T), "\n")
	for _, b := range ruleFiles(p.T) {
		known += string(b)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		return !strings.HasPrefix(name, "onward_") || regexp.MustCompile(`\b`+base+`(_bucket|_sum|_count)?\b`).MatchString(known)
	})
}

// withoutThresholds makes of an alert a query that returns something wherever its parts exist and fit together: every
// comparison with a number holds, and what would except a series must be there beside it.
func withoutThresholds(expr string) string {
	expr = regexp.MustCompile(`(==|!=|>=|<=|>|<) ?\d[\d.]*( \* \d+)?`).ReplaceAllString(expr, ">= -Inf")
	return strings.ReplaceAll(expr, " unless ", " and ")
}

const dashboardsFolder = "../../../dashboards"

// ruleFiles reads the rules, and lets alerts fire at once.
func ruleFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(dashboardsFolder + "/rules/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	pause := regexp.MustCompile(`(?m)^(\s+for:) \S+$`)
	rules := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		rules[filepath.Base(f)] = pause.ReplaceAll(b, []byte("$1 0s"))
	}
	return rules
}

func dashboardQueries(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(dashboardsFolder + "/*.json")
	require.NoError(t, err)
	require.Len(t, files, 5)
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		var d struct {
			Panels      []struct{ Targets []struct{ Expr string } }
			Annotations struct{ List []struct{ Expr string } }
		}
		require.NoError(t, json.Unmarshal(b, &d))
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				all = append(all, target.Expr)
			}
		}
		for _, a := range d.Annotations.List {
			all = append(all, a.Expr)
		}
	}
	require.Greater(t, len(all), 60)
	return all
}

func runbookBlocks(t *testing.T, language string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(dashboardsFolder + "/runbooks/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	fence := regexp.MustCompile("(?s)```" + language + "\n(.*?)\n```")
	blocks := map[string][]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
			blocks[filepath.Base(f)] = append(blocks[filepath.Base(f)], m[1])
		}
	}
	return blocks
}

// runbookQueries are one a line; those of a page on Onward's end are asked then.
func runbookQueries(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, blocks := range runbookBlocks(t, "promql") {
		for _, b := range blocks {
			all = append(all, strings.Split(b, "\n")...)
		}
	}
	return slices.DeleteFunc(all, func(q string) bool { return strings.HasSuffix(q, "== 0") })
}
