package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// operatorPages are what an operator follows: every command in them must exist.
func operatorPages(t *testing.T) []string {
	t.Helper()
	return append(glob(t, "dashboards/runbooks/*.md"), glob(t, "docs/operating.md")[0], glob(t, "deploy/README.md")[0])
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// A page for each alert, an alert for each page, and the same way through each.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	byPage := map[string]rule{}
	for _, a := range alerts(t) {
		byPage[page(a.Alert)] = a
	}
	for _, f := range glob(t, "dashboards/runbooks/*.md") {
		text, name := read(t, f), filepath.Base(f)
		alert, ok := byPage[name]
		require.True(t, ok, "%s: no alert leads here", name)
		require.True(t, strings.HasPrefix(text, "# "+alert.Alert+"\n\n**"+alert.Labels["severity"]+"** · "), "%s: title and severity", name)
		at := 0
		for _, heading := range []string{"Symptom", "What it means", "Look", "Fix", "Prevent"} {
			_, body, found := strings.Cut(text[at:], "\n## "+heading+"\n")
			require.True(t, found, "%s: ## %s, in its place", name, heading)
			at = len(text) - len(body)
			body, _, _ = strings.Cut(body, "\n## ")
			require.Greater(t, len(strings.TrimSpace(body)), 40, "%s: ## %s says nothing", name, heading)
			if heading == "Look" {
				require.Contains(t, body, "```", "%s: nothing to look at", name)
			}
		}
	}
}

// Every link between our own pages leads somewhere.
func TestPages_links(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#]+)\)`)
	for _, f := range operatorPages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, f), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(f), m[1]))
			require.NoError(t, err, "%s links to %s", f, m[1])
		}
	}
}

// The operators' page names every alert, each with its runbook.
func TestOperatingNamesEveryAlert(t *testing.T) {
	t.Parallel()
	text := read(t, root+"/docs/operating.md")
	for _, a := range alerts(t) {
		require.Contains(t, text, "| ["+a.Alert+"](../dashboards/runbooks/"+page(a.Alert)+") | "+a.Labels["severity"]+" |")
	}
}

// built is where onward builds to; TestMain makes and removes it.
var built string

// onward builds the command once. What it returns with an error is the compiler's output.
var onward = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "onward")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/onward")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return path, nil
})

// Each `onward …` that a page tells an operator to type exists, with its flags.
func TestPages_commandsExist(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile("(?m)(?:^|`|\\$\\(|\\| )onward ([a-z]+(?: [a-z]+)?)([^`\n|#]*)")
	flag := regexp.MustCompile(`--([a-z][a-z-]*)`)
	path, err := onward()
	require.NoError(t, err, path)

	help := map[string]string{}
	for _, f := range operatorPages(t) {
		for _, m := range command.FindAllStringSubmatch(read(t, f), -1) {
			words := strings.Fields(m[1])
			key := strings.Join(words, " ")
			if _, ok := help[key]; !ok {
				out, err := exec.CommandContext(t.Context(), path, append(words, "-h")...).CombinedOutput()
				require.NoError(t, err, "%s: onward %s -h: %s", f, key, out)
				help[key] = string(out)
			}
			for _, fl := range flag.FindAllStringSubmatch(m[2], -1) {
				require.Regexp(t, `(?m)^\s+--?`+fl[1]+`\b`, help[key], "%s: onward %s --%s", f, key, fl[1])
			}
		}
	}
}
