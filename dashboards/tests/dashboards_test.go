// Package tests checks what operators are given: dashboards against Grafana's own schema and our rules for panels, alert
// rules by promtool, runbooks against both, deploy/ as far as that can be told without the programs that read it.
//
// It reads the files of the repository around it, which Go's test cache does not see: run it with -count=1.
package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	plugins.RegisterDefaultPlugins()
	var err error
	if built, err = os.MkdirTemp("", "onward"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

// root is the repository.
const root = "../.."

// dashboards reads those of the repository, strictly.
func dashboards(t *testing.T) map[string]dashboard.Dashboard {
	t.Helper()
	files, err := filepath.Glob(root + "/dashboards/*.json")
	require.NoError(t, err)
	all := map[string]dashboard.Dashboard{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		var d dashboard.Dashboard
		require.NoError(t, d.UnmarshalJSONStrict(b), f)
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = d
	}
	return all
}

func TestDashboards_areThereAndValid(t *testing.T) {
	t.Parallel()
	all := dashboards(t)
	for _, name := range []string{"overview", "jobs", "webhooks", "sending", "database"} {
		require.Contains(t, all, name)
	}
	uids := map[string]string{}
	for name, d := range all {
		require.NoError(t, d.Validate(), name)
		require.NotEmpty(t, *d.Title, name)
		require.NotEmpty(t, *d.Description, name)
		require.LessOrEqual(t, len(*d.Uid), 40, "Grafana's limit")
		require.NotContains(t, uids, *d.Uid, "%s and %s share a uid", name, uids[*d.Uid])
		uids[*d.Uid] = name
		require.Nil(t, d.Id, "an id is Grafana's to give")
	}
}

// What an imported dashboard asks, it asks the Prometheus that its reader chooses.
func TestDashboards_datasourceIsAVariable(t *testing.T) {
	t.Parallel()
	const variable = "${datasource}"
	ours := func(t *testing.T, ref *common.DataSourceRef, where string) {
		t.Helper()
		require.NotNil(t, ref, where)
		require.Equal(t, "prometheus", *ref.Type, where)
		require.Equal(t, variable, *ref.Uid, where)
	}
	for name, d := range dashboards(t) {
		require.Equal(t, "datasource", d.Templating.List[0].Name, name)
		require.EqualValues(t, "datasource", d.Templating.List[0].Type, name)
		require.Equal(t, "prometheus", *d.Templating.List[0].Query.String, name)
		for _, v := range d.Templating.List[1:] {
			ours(t, v.Datasource, name+": variable "+v.Name)
		}
		for _, a := range d.Annotations.List {
			ours(t, a.Datasource, name+": annotation "+a.Name)
		}
		for _, p := range panels(t, d) {
			ours(t, p.Datasource, name+": "+*p.Title)
			for _, q := range queries(t, p) {
				ours(t, q.Datasource, name+": "+*p.Title)
			}
		}
	}
}

// panels lists those that show something: all but the rows.
func panels(t *testing.T, d dashboard.Dashboard) []dashboard.Panel {
	t.Helper()
	var all []dashboard.Panel
	for _, p := range d.Panels {
		switch {
		case p.Panel != nil:
			all = append(all, *p.Panel)
		case p.RowPanel != nil:
			require.NotEmpty(t, *p.RowPanel.Title)
			all = append(all, p.RowPanel.Panels...)
		}
	}
	require.NotEmpty(t, all)
	return all
}

func queries(t *testing.T, p dashboard.Panel) []prometheus.Dataquery {
	t.Helper()
	var all []prometheus.Dataquery
	for _, target := range p.Targets {
		switch q := target.(type) {
		case prometheus.Dataquery:
			all = append(all, q)
		case *prometheus.Dataquery:
			all = append(all, *q)
		default:
			require.Failf(t, "not a query to Prometheus", "%s: %T", *p.Title, target)
		}
	}
	return all
}

// units are those of Grafana that our panels use: a misspelt one is shown as text behind the number.
func units() []string {
	return []string{"s", "percentunit", "short", "ops", "bytes"}
}

func TestDashboards_panels(t *testing.T) {
	t.Parallel()
	for name, d := range dashboards(t) {
		titles, ids := map[string]bool{}, map[uint32]bool{}
		for _, p := range panels(t, d) {
			t.Run(name+"/"+*p.Title, func(t *testing.T) {
				require.NotEmpty(t, *p.Title)
				require.False(t, titles[*p.Title], "two panels of this title")
				titles[*p.Title] = true
				require.False(t, ids[*p.Id], "two panels of this id")
				ids[*p.Id] = true
				require.True(t, len(*p.Description) > 20 && strings.HasSuffix(*p.Description, "."), "a description is a sentence: %q", *p.Description)
				require.Contains(t, units(), *p.FieldConfig.Defaults.Unit)

				steps := p.FieldConfig.Defaults.Thresholds.Steps
				require.NotEmpty(t, steps)
				require.Nil(t, steps[0].Value, "the first threshold is the colour from below all")
				for i := 1; i < len(steps); i++ {
					require.NotEqual(t, steps[i-1].Color, steps[i].Color)
					if i > 1 {
						require.Greater(t, *steps[i].Value, *steps[i-1].Value, "thresholds climb")
					}
				}

				require.NotEmpty(t, p.Targets, "no query")
				refs := map[string]bool{}
				for _, q := range queries(t, p) {
					require.NotEmpty(t, q.Expr)
					require.NotEmpty(t, *q.LegendFormat, "a series without a name")
					require.False(t, refs[*q.RefId], "two queries of this letter")
					refs[*q.RefId] = true
					require.Contains(t, q.Expr, `job=`, "a query over every installation at once")
					require.NotEqual(t, *q.Range, *q.Instant)
				}
			})
		}
	}
}

// Nothing overlaps, nothing sticks out.
func TestDashboards_layout(t *testing.T) {
	t.Parallel()
	for name, d := range dashboards(t) {
		taken := map[[2]uint32]string{}
		for _, p := range panels(t, d) {
			at := p.GridPos
			require.LessOrEqual(t, at.X+at.W, uint32(24), "%s: %s", name, *p.Title)
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					require.Empty(t, taken[[2]uint32{x, y}], "%s: %s overlaps", name, *p.Title)
					taken[[2]uint32{x, y}] = *p.Title
				}
			}
		}
	}
}

// A legend's {{label}} must survive its query: one that by (…) took away is shown as nothing.
func TestDashboards_legendsNameLabelsThatAreThere(t *testing.T) {
	t.Parallel()
	for name, d := range dashboards(t) {
		for _, p := range panels(t, d) {
			for _, q := range queries(t, p) {
				_, by, aggregated := strings.Cut(q.Expr, " by (")
				by, _, _ = strings.Cut(by, ")")
				kept := strings.Split(strings.ReplaceAll(by, " ", ""), ",")
				for _, part := range strings.Split(*q.LegendFormat, "{{")[1:] {
					label, _, closed := strings.Cut(part, "}}")
					require.True(t, closed, "%s: %s: %s", name, *p.Title, *q.LegendFormat)
					if aggregated {
						require.True(t, slices.Contains(kept, label), "%s: %s: {{%s}} of %s", name, *p.Title, label, q.Expr)
					}
				}
			}
		}
	}
}

// Strict decoding is what these tests lean on, so it must find what is wrong.
func TestStrictDecodingRefuses(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(root + "/dashboards/overview.json")
	require.NoError(t, err)
	for _, spoil := range []struct{ old, new string }{
		{`"schemaVersion": 39`, `"schemaVersion": "39"`},
		{`"refresh": "10s"`, `"refreshh": "10s"`},
		{`"legendFormat"`, `"legend_format"`},
	} {
		spoilt := strings.Replace(string(b), spoil.old, spoil.new, 1)
		require.NotEqual(t, string(b), spoilt)
		require.True(t, json.Valid([]byte(spoilt)))
		var d dashboard.Dashboard
		require.Error(t, d.UnmarshalJSONStrict([]byte(spoilt)), spoil.new)
	}
}
