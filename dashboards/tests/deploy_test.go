package tests

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// documents reads every document of a YAML file; a key that stands twice is an error.
func documents(t *testing.T, path string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []map[string]any
	d := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, path)
		require.NotEmpty(t, doc, "%s: an empty document", path)
		all = append(all, doc)
	}
}

func TestDeploy_everyYAMLIsRead(t *testing.T) {
	t.Parallel()
	read := 0
	require.NoError(t, filepath.WalkDir(root+"/deploy", func(path string, e fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && (ext == ".yml" || ext == ".yaml") {
			read++
			if filepath.Base(filepath.Dir(path)) == "targets" {
				var targets []struct{ Targets []string }
				readYAML(t, path, &targets)
				require.NotEmpty(t, targets[0].Targets, path)
				return nil
			}
			documents(t, path)
		}
		return err
	}))
	require.Greater(t, read, 10)
}

// at follows keys into a document.
func at(t *testing.T, doc any, keys ...string) any {
	t.Helper()
	for _, k := range keys {
		m, ok := doc.(map[string]any)
		require.True(t, ok, "no %s in %v", k, keys)
		require.Contains(t, m, k)
		doc = m[k]
	}
	return doc
}

// What names another thing of the manifests names one that is there.
func TestDeploy_kubernetes(t *testing.T) {
	t.Parallel()
	folder := root + "/deploy/kubernetes"
	kustomization := documents(t, folder+"/kustomization.yaml")[0]
	var listed []string
	for _, r := range at(t, kustomization, "resources").([]any) {
		listed = append(listed, r.(string))
	}
	labels, ports := map[string]any{}, map[string]map[string]bool{}
	byKind := map[string][]map[string]any{}
	for _, f := range glob(t, "deploy/kubernetes/*.yaml") {
		if filepath.Base(f) == "kustomization.yaml" {
			continue
		}
		require.Contains(t, listed, filepath.Base(f), "not in the kustomization")
		for _, doc := range documents(t, f) {
			require.NotEmpty(t, at(t, doc, "apiVersion"))
			require.NotEmpty(t, at(t, doc, "metadata", "name"))
			kind := at(t, doc, "kind").(string)
			byKind[kind] = append(byKind[kind], doc)
			if kind != "Deployment" && kind != "Job" {
				continue
			}
			name := at(t, doc, "metadata", "name").(string)
			labels[name] = at(t, doc, "spec", "template", "metadata", "labels")
			ports[name] = map[string]bool{}
			for _, c := range at(t, doc, "spec", "template", "spec", "containers").([]any) {
				require.Equal(t, "onward", at(t, c, "image"), "the kustomization names the image")
				require.Equal(t, true, at(t, c, "securityContext", "readOnlyRootFilesystem"))
				require.NotEmpty(t, at(t, c, "resources", "limits", "memory"))
				if kind == "Job" {
					continue
				}
				for _, p := range at(t, c, "ports").([]any) {
					ports[name][at(t, p, "name").(string)] = true
				}
				for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
					require.True(t, ports[name][at(t, c, probe, "httpGet", "port").(string)], "%s of %s", probe, name)
				}
			}
		}
	}
	require.Len(t, byKind["Deployment"], 2)
	require.Len(t, byKind["Job"], 1)
	for _, d := range byKind["Deployment"] {
		require.Equal(t, labels[at(t, d, "metadata", "name").(string)], at(t, d, "spec", "selector", "matchLabels"))
	}
	selects := func(selector any) string {
		for name, l := range labels {
			if equal(l, selector) {
				return name
			}
		}
		return ""
	}
	for _, s := range byKind["Service"] {
		name := selects(at(t, s, "spec", "selector"))
		require.NotEmpty(t, name, "a Service of nothing")
		for _, p := range at(t, s, "spec", "ports").([]any) {
			require.True(t, ports[name][at(t, p, "targetPort").(string)], "%s has no such port", name)
		}
	}
	for _, b := range byKind["PodDisruptionBudget"] {
		require.Equal(t, at(t, b, "metadata", "name"), selects(at(t, b, "spec", "selector", "matchLabels")))
	}
	require.Len(t, byKind["ScaledObject"], 1)
	scaler := byKind["ScaledObject"][0]
	require.Contains(t, labels, at(t, scaler, "spec", "scaleTargetRef", "name"))
	query := at(t, at(t, scaler, "spec", "triggers").([]any)[0], "metadata", "query").(string)
	require.Contains(t, query, "onward_oldest_available_job_age_seconds")
}

func equal(a, b any) bool {
	x, errX := yaml.Marshal(a)
	y, errY := yaml.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// Prometheus and Alertmanager themselves read what is there for them.
func TestDeploy_prometheusAndAlertmanager(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(root+"/deploy/prometheus")))
	require.NoError(t, os.CopyFS(dir+"/rules", os.DirFS(root+"/dashboards/rules")))
	promtool(t, "check", "config", dir+"/prometheus.yml")

	file := root + "/deploy/alertmanager/alertmanager.yml"
	out, err := exec.CommandContext(t.Context(), "amtool", "check-config", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for label, receiver := range map[string]string{"critical": "critical", "warning": "warning"} {
		out, err := exec.CommandContext(t.Context(), "amtool", "config", "routes", "test", "--config.file="+file, "severity="+label).Output()
		require.NoError(t, err)
		require.Equal(t, receiver, strings.TrimSpace(string(out)))
	}
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
	}
	for _, name := range regexp.MustCompile(`Onward[A-Z]\w+`).FindAllString(read(t, file), -1) {
		require.True(t, known[name], "%s is no alert", name)
	}
}

// Every setting of the services' file is one, and every one that web can't do without is in it.
func TestDeploy_settings(t *testing.T) {
	t.Parallel()
	path, err := onward()
	require.NoError(t, err, path)
	help, err := exec.CommandContext(t.Context(), path, "web", "-h").CombinedOutput()
	require.NoError(t, err, "%s", help)
	var set []string
	for _, line := range strings.Split(read(t, root+"/deploy/systemd/onward.env"), "\n") {
		name, _, ok := strings.Cut(line, "=")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		require.Regexp(t, `(?m)^\s+`+name+`\s`, string(help))
		set = append(set, name)
	}
	for _, name := range []string{"DATABASE_URL", "ONWARD_PUBLIC_URL", "ONWARD_SECRET_KEY"} {
		require.Contains(t, set, name)
	}
}
