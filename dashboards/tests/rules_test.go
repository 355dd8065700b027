package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// ruleFile is a file of dashboards/rules.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

// ruleTest is a file of dashboards/rules/tests, as far as these tests look at it.
type ruleTest struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		Name   string
		Alerts []struct {
			Name     string           `yaml:"alertname"`
			Expected []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
	require.NoError(t, err)
	require.NotEmpty(t, files, pattern)
	return files
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, into), path)
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, f := range glob(t, "dashboards/rules/*.yml") {
		var file ruleFile
		readYAML(t, f, &file)
		for _, g := range file.Groups {
			require.True(t, strings.HasPrefix(g.Name, "onward."), "group %s: others may share the server", g.Name)
			all = append(all, g.Rules...)
		}
	}
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, r := range rules(t) {
		if r.Alert != "" {
			all = append(all, r)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// promtool fails the test with its output where it is not content.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	require.NoError(t, err, "promtool %s (.ci/deps prometheus installs it)\n%s", strings.Join(args, " "), out)
}

func TestRules_check(t *testing.T) {
	t.Parallel()
	promtool(t, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, glob(t, "dashboards/rules/*.yml")...)...)
}

func TestRules_test(t *testing.T) {
	t.Parallel()
	promtool(t, append([]string{"test", "rules"}, glob(t, "dashboards/rules/tests/*.yml")...)...)
}

// Each alert has a case in which it fires and one in which it must not.
func TestRules_eachAlertIsTestedBothWays(t *testing.T) {
	t.Parallel()
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, f := range glob(t, "dashboards/rules/tests/*.yml") {
		var file ruleTest
		readYAML(t, f, &file)
		require.NotEmpty(t, file.RuleFiles, f)
		for _, c := range file.Tests {
			require.NotEmpty(t, c.Name, f)
			for _, a := range c.Alerts {
				if len(a.Expected) > 0 {
					fires[a.Name] = true
				} else {
					silent[a.Name] = true
				}
			}
		}
	}
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
		require.True(t, fires[a.Alert], "no case of %s fires", a.Alert)
		require.True(t, silent[a.Alert], "no case of %s must not fire", a.Alert)
	}
	for name := range fires {
		require.True(t, known[name], "a test of %s, which is no alert", name)
	}
}

func TestRules_eachAlertSaysWhatItMeans(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		require.Regexp(t, `^Onward[A-Z]\w+$`, a.Alert)
		require.False(t, seen[a.Alert], "two alerts named %s", a.Alert)
		seen[a.Alert] = true
		require.Contains(t, []string{"critical", "warning"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.For, a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.NotContains(t, a.Annotations["summary"], "$value", "%s: a summary names, a description counts", a.Alert)
		require.True(t, strings.HasSuffix(strings.TrimSpace(a.Annotations["description"]), "."), "%s: a description is a sentence", a.Alert)
		require.Equal(t, "{{ $externalURL }}/user/"+page(a.Alert), a.Annotations["runbook_url"], a.Alert)
		require.FileExists(t, filepath.Join(root, "dashboards/runbooks", page(a.Alert)))
	}
}

// What the design asks for, by the names it has here.
func TestRules_nothingIsMissing(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, a := range alerts(t) {
		there[a.Alert] = true
	}
	for _, name := range []string{
		"OnwardQueueStalled", "OnwardQueueFallingBehind", "OnwardJobErrorRatio", "OnwardJobsDiscarded", "OnwardWorkersSaturated",
		"OnwardNoWorker", "OnwardNoLeader", "OnwardJobStuck", "OnwardSignatureRejects", "OnwardProviderSilent", "OnwardUnknownSends",
		"OnwardOptOutBroken", "OnwardDrift", "OnwardOldSecretInUse", "OnwardSenderThrottled", "OnwardCampaignPausedItself",
		"OnwardLongTransaction", "OnwardPoolExhausted", "OnwardInboxOverloaded", "OnwardDiskFilling", "OnwardPartitionMissing",
	} {
		require.True(t, there[name], name)
	}
}

// page is the runbook of an alert: OnwardQueueStalled has queue-stalled.md.
func page(alert string) string {
	words := regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(strings.TrimPrefix(alert, "Onward"), "$1-$2")
	return strings.ToLower(words) + ".md"
}

// What rules record has the level, metric and operation of Prometheus's convention, and is used by something.
func TestRules_recordings(t *testing.T) {
	t.Parallel()
	var asked strings.Builder
	for _, f := range glob(t, "dashboards/runbooks/*.md") {
		asked.WriteString(read(t, f))
	}
	for _, r := range rules(t) {
		asked.WriteString(r.Expr + "\n")
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			require.Regexp(t, `^job(_[a-z]+)*:onward_[a-z_]+:[a-z0-9_]+$`, r.Record)
			require.Contains(t, asked.String(), r.Record, "recorded, and asked for by nobody")
		}
	}
}
