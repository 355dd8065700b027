package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Every query of a dashboard and of a runbook parses. promtool knows rules alone, so each is dressed up as one; whether
// they return anything is asked of a real Prometheus in cmd/internal/app.
func TestQueriesParse(t *testing.T) {
	t.Parallel()
	var exprs []string
	for _, d := range dashboards(t) {
		for _, p := range panels(t, d) {
			for _, q := range queries(t, p) {
				exprs = append(exprs, q.Expr)
			}
		}
		for _, a := range d.Annotations.List {
			exprs = append(exprs, *a.Expr)
		}
	}
	for _, f := range glob(t, "dashboards/runbooks/*.md") {
		for _, block := range blocks(t, f, "promql") {
			exprs = append(exprs, strings.Split(block, "\n")...) // one a line
		}
	}
	type recorded struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var list []recorded
	for i, e := range exprs {
		list = append(list, recorded{fmt.Sprintf("parse:%d", i), withoutVariables(e)})
	}
	require.Greater(t, len(list), 60)
	b, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "parse", "rules": list}}})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "parse.yml")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	promtool(t, "check", "rules", "--lint=none", path)
}

// withoutVariables puts values in the place of Grafana's variables.
func withoutVariables(expr string) string {
	return strings.NewReplacer("$job", "onward", "$__rate_interval", "1m", "$__range", "3h").Replace(expr)
}

// blocks are the fenced blocks of a language in a Markdown file.
func blocks(t *testing.T, path, language string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		all = append(all, strings.TrimSpace(m[1]))
	}
	return all
}
