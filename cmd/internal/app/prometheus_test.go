package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// prometheusServer is a real Prometheus that scrapes and evaluates every second.
type prometheusServer struct {
	*testing.T
	url string
}

// watch starts a Prometheus over these targets, by job, with the rules of the repository. Alerts fire at once: what they
// are to wait for before they do is tested by promtool.
func watch(t *testing.T, rules map[string][]byte, targets map[string]string) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "rules"), 0o700))
	for name, b := range rules {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "rules", name), b, 0o600))
	}
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules/*.yml]\nscrape_configs:\n"
	for job, target := range targets {
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, target)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	addr := freeAddr(t)
	run(t, []string{"prometheus"}, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	p := &prometheusServer{T: t, url: "http://" + addr}
	require.Eventually(t, func() bool { return p.get("/-/ready", nil) == nil }, patience, 50*time.Millisecond, "Prometheus is ready")
	return p
}

// run starts a program, by the first of its names that is there, and ends it with the test.
func run(t *testing.T, names []string, args ...string) {
	t.Helper()
	var path string
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	require.NotEmpty(t, path, "%s is not installed: .ci/deps prometheus does it", names[0])
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Wait() // the test's context has ended, and the program with it
		if t.Failed() {
			t.Logf("%s said:\n%s", names[0], &out)
		}
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := app.FreePort(t.Context())
	require.NoError(t, err)
	return "127.0.0.1:" + strconv.Itoa(port)
}

// get asks Prometheus's API; data may be nil.
func (p *prometheusServer) get(path string, data any) error {
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if data == nil {
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", res.Status)
		}
		return nil
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return nil
}

// returns reports whether a query returns a value now. That it can't be run at all is an error.
func (p *prometheusServer) returns(expr string) (bool, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return false, fmt.Errorf("%s: %w", expr, err)
	}
	type sample [2]any
	var values []sample
	if data.ResultType == "scalar" {
		values = make([]sample, 1)
		if err := json.Unmarshal(data.Result, &values[0]); err != nil {
			return false, err
		}
	} else {
		var vector []struct{ Value sample }
		if err := json.Unmarshal(data.Result, &vector); err != nil {
			return false, err
		}
		for _, v := range vector {
			values = append(values, v.Value)
		}
	}
	for _, v := range values {
		s, _ := v[1].(string)
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) {
			return true, nil
		}
	}
	return false, nil
}

// loadedRule is a rule as Prometheus understood it.
type loadedRule struct{ Name, Query, Type, Health, LastError string }

func (p *prometheusServer) rules() []loadedRule {
	p.Helper()
	var data struct {
		Groups []struct{ Rules []loadedRule }
	}
	require.NoError(p, p.get("/api/v1/rules", &data))
	var all []loadedRule
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(p, all)
	return all
}

// firing lists the alerts that fire, by name.
func (p *prometheusServer) firing() map[string]bool {
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	require.NoError(p, p.get("/api/v1/alerts", &data))
	names := map[string]bool{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
		}
	}
	return names
}
