package bench

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0.00", 0.567: "0.57", 2.2: "2.20", 9.994: "9.99", 9.996: "10.0", 10: "10.0", 64.84: "64.8", 99.94: "99.9", 99.96: "100",
		571.4: "571", 999.4: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -0.5: "-0.50",
	} {
		require.Equal(t, want, number(v), "%v", v)
	}
}

func TestStat_String(t *testing.T) {
	t.Parallel()
	var none *Stat
	require.Empty(t, none.String())
	require.Equal(t, "3,610 (3,402–3,700)", (&Stat{3610, 3402, 3700}).String())
	require.Equal(t, "2.50", (&Stat{2.5, 2.5, 2.5}).String())
	require.Equal(t, "2.50", (&Stat{2.5, 2.4999, 2.5001}).String(), "rounds that look alike")
}

func report() *Report {
	r := &Report{
		Version: "v1.2.3", StartedAt: time.Date(2026, 11, 23, 9, 30, 12, 0, time.UTC), Seconds: 61.4, Size: "quick", Rounds: 2,
		Machine: Machine{
			OS: "linux/amd64", CPU: "Quick", Cores: 2, MemoryGiB: 23.6, Go: "go1.26.8", PostgreSQL: "15.18", Embedded: true, SyncMS: 0.91,
			Settings: map[string]string{"fsync": "on", "synchronous_commit": "on"}, Concurrency: 50, LoadBefore: "0.1 0.2 0.3", LoadAfter: "1.0 0.5 0.4",
		},
		Parts: []Part{{Name: "accept", Title: "accept: what it is"}, {Name: "latency", Title: "latency: what it is"}},
	}
	floor, web := r.Parts[0].line("pgbench"), r.Parts[0].line("web, 64 connections")
	for _, round := range [][3]float64{{3600, 9000, 7}, {3400, 8500, 8}} {
		floor.add(perSecond, round[0])
		web.add(perSecond, round[1])
		web.add(p99, round[2])
		web.compare(floor)
	}
	other := r.Parts[0].line("another")
	other.add(perSecond, 900)
	other.compare(web)
	r.Parts[1].line("200 a second").add(p99, 14.25)
	r.Parts[1].note("one clock")
	r.Parts[1].note("one clock")
	for _, p := range r.Parts {
		for _, l := range p.Lines {
			l.sum()
		}
	}
	return r
}

func TestReport_Print(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, report().Print(&out))
	require.Equal(t, `onward v1.2.3, quick run of 2 rounds (median, least–most), 2026-11-23 09:30 UTC, 61 s
linux/amd64, 2 cores (Quick), 24 GiB, fsync of 8 KiB 0.91 ms, go1.26.8
PostgreSQL 15.18, its own server on this machine: fsync on, synchronous_commit on
worker: 50 callbacks at once; pgbench, load generator, web, worker and database share the machine
load average before 0.1 0.2 0.3, after 1.0 0.5 0.4

accept: what it is
                                per second  ratio            p99 ms
  pgbench              3,500 (3,400–3,600)
  web, 64 connections  8,750 (8,500–9,000)   2.50  7.50 (7.00–8.00)
  another                              900   0.11
  ratio of "another" is to "web, 64 connections"

latency: what it is
                p99 ms
  200 a second    14.2
  one clock
`, out.String())
}

// Scripts read this: names stay, figures that were not taken are absent.
func TestReport_JSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(report())
	require.NoError(t, err)
	var got struct {
		Machine struct {
			Cores int `json:"cores"`
		} `json:"machine"`
		Parts []struct {
			Name  string           `json:"name"`
			Lines []map[string]any `json:"lines"`
		} `json:"parts"`
	}
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, 2, got.Machine.Cores)
	require.Equal(t, "accept", got.Parts[0].Name)
	require.Equal(t, map[string]any{
		"name": "web, 64 connections", "ratio_to": "pgbench",
		"per_second": map[string]any{"median": 8750.0, "min": 8500.0, "max": 9000.0},
		"ratio":      map[string]any{"median": 2.5, "min": 2.5, "max": 2.5},
		"p99_ms":     map[string]any{"median": 7.5, "min": 7.0, "max": 8.0},
	}, got.Parts[0].Lines[1])
}
