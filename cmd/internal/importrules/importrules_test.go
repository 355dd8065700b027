// Package importrules checks, as a test, that the packages of Onward lean on each other only the way the design says:
// which package may import which, who reads the environment, and what no package may do at all. It holds no other code.
//
// .golangci.yml says the same of the arrows to an editor (depguard); change both.
package importrules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "onward"

// rule says what the packages that a pattern matches may import. A pattern is a path below the module; "x/..." is x and
// all below it. What holds for a package is the rule of its own, or else that of the nearest package above it. A package
// without any breaks the rules, since the top level is given.
type rule struct {
	packages string
	ours     []string // patterns of our own packages
	theirs   []string // prefixes of other modules' packages; nil means any, empty means the standard library alone
}

// rules bind what ships. Tests may import any package of ours but those of cmd, where they may import cmd/pgtest.
func rules() []rule {
	stdlibAlone := []string{}
	store := []string{"lifecycle", "lifecycle/pgstore", "lifecycle/pgstore/analytics"}
	// Small packages that know nobody, for those who need the same thing on both sides of a job or a page.
	small := []string{"jobs/messagetext", "jobs/recipienttime", "jobs/segments", "jobs/tracktoken", "web/apitoken", "web/csvtable"}

	return []rule{
		{packages: "lifecycle", theirs: stdlibAlone},
		{
			packages: "lifecycle/pgstore/...",
			ours:     []string{"lifecycle", "lifecycle/pgstore/..."},
			theirs:   []string{"github.com/jackc/", "github.com/google/uuid", "github.com/nyaruka/phonenumbers"},
		},

		{packages: "jobs", theirs: []string{"github.com/riverqueue/river"}},
		{packages: "jobs/..."},
		{packages: "jobs/jobwatch", ours: []string{"jobs/jobtrace"}},
		// A simulator bills as its provider does.
		{packages: "jobs/provider/...", ours: []string{"jobs/provider/...", "jobs/segments"}},
		{packages: "jobs/worker/...", ours: slices.Concat(store, []string{"jobs/..."})},

		{packages: "web", ours: []string{"web/..."}},
		{packages: "web/..."},
		{packages: "web/plainhttp", theirs: stdlibAlone},
		{packages: "web/webhook/...", ours: []string{"web/webhook/...", "web/inbox", "web/plainhttp", "jobs", "jobs/jobtrace"}},
		{packages: "web/inbox/...", ours: []string{"web/inbox/...", "jobs", "jobs/jobtrace", "jobs/pipeline"}},
		{packages: "web/track/...", ours: []string{"web/track/...", "web/inbox", "jobs", "jobs/tracktoken"}},
		{packages: "web/crmapi/...", ours: slices.Concat(store, small, []string{"web/crmapi/...", "jobs", "jobs/jobadmin"})},
		{packages: "web/console/...", ours: slices.Concat(store, small, []string{"web/console/...", "jobs", "jobs/jobadmin"})},
		{packages: "web/jobsui/...", ours: []string{"web/apitoken", "jobs/jobadmin"}},
		// Metrics are told by cmd what others did, and know of those only the closed sets of their labels.
		{packages: "web/metrics/...", ours: []string{"web", "web/webhook", "jobs", "jobs/provider", "lifecycle"}},

		// Writes docs/lifecycle.md from the rules.
		{packages: "lifecycle/gendocs", ours: []string{"lifecycle"}},

		{packages: "migrations/..."},
		{packages: "dashboards/...", ours: []string{"dashboards/..."}},

		{packages: "cmd/...", ours: []string{"..."}},
		{packages: "cmd/internal/devdb/...", ours: []string{"cmd/internal/devdb/..."}},
	}
}

const (
	// environmentReader is the one package that reads settings.
	environmentReader = "cmd/internal/app"

	// twilioPackage wraps Twilio's client. Of that, only two packages are worth their time in the compiler: the root
	// package costs as much as all the rest of Onward.
	twilioPackage = "jobs/provider/twilio"
	twilioModule  = "github.com/twilio/twilio-go"

	devdb     = "cmd/internal/devdb"
	devdbTest = "cmd/pgtest"
)

// nameless are names that say nothing about what a package holds.
func nameless() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "models", "types"}
}

// file is what the rules look at in a source file.
type file struct {
	name    string // for the reader of a violation
	pkg     string // path below the module
	test    bool
	imports []string
	// environment lists the calls that read the environment; inits counts the init functions.
	environment []string
	inits       int
	packageName string
}

// check returns a sentence for everything in a file that breaks a rule.
func check(rules []rule, f file) []string {
	var violations []string
	report := func(format string, args ...any) {
		violations = append(violations, f.name+": "+fmt.Sprintf(format, args...))
	}

	ruling, ok := rulingFor(rules, f.pkg)
	if !ok {
		report("no rule covers package %s", f.pkg)
	}
	if slices.Contains(nameless(), strings.TrimSuffix(f.packageName, "_test")) || slices.Contains(nameless(), path.Base(f.pkg)) {
		report("the package's name says nothing: %s", f.pkg)
	}

	for _, imported := range f.imports {
		if reason := refuse(ruling, f, imported); reason != "" {
			report("imports %s: %s", imported, reason)
		}
	}

	if f.test {
		return violations
	}
	if f.inits > 0 {
		report("has an init function")
	}
	if f.pkg != environmentReader {
		for _, call := range f.environment {
			report("%s: only %s reads the environment", call, environmentReader)
		}
	}
	return violations
}

// refuse returns why a file may not import a package, or nothing.
func refuse(ruling rule, f file, imported string) string {
	if strings.HasPrefix(imported, twilioModule) {
		if imported != twilioModule+"/client" && imported != twilioModule+"/rest/api/v2010" {
			return "of Twilio's packages only client and rest/api/v2010 are worth their build time"
		}
		if !f.test && !matches(twilioPackage+"/...", f.pkg) {
			return "only " + twilioPackage + " talks to Twilio"
		}
	}

	pkg, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case !ours:
		standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
		if f.test || standard || ruling.theirs == nil ||
			slices.ContainsFunc(ruling.theirs, func(prefix string) bool { return strings.HasPrefix(imported, prefix) }) {
			return ""
		}
		return "not one of the modules that this package may use"

	case pkg == devdbTest && !f.test:
		return "it is for tests"
	case pkg == devdb && f.test, pkg == devdbTest:
		return ""
	case matches("cmd/...", pkg) && !matches("cmd/...", f.pkg):
		return "nothing outside cmd imports what wires it"

	case pkg == f.pkg, f.test, matchesAny(ruling.ours, pkg):
		return ""
	}
	return "no arrow of the design leads there"
}

func rulingFor(rules []rule, pkg string) (rule, bool) {
	var found rule
	for _, r := range rules {
		if r.packages == pkg {
			return r, true
		}
		if matches(r.packages, pkg) && len(r.packages) > len(found.packages) {
			found = r
		}
	}
	return found, found.packages != ""
}

func matches(pattern, pkg string) bool {
	if parent, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(pkg+"/", parent)
	}
	return pattern == pkg
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, pkg) })
}

// parse reads a source file.
func parse(name, pkg string, src any) (file, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}

	f := file{name: name, pkg: pkg, test: strings.HasSuffix(name, "_test.go"), packageName: parsed.Name.Name}
	readers := map[string]bool{} // the local names of the packages that give access to the environment
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, imported)

		switch {
		case strings.HasPrefix(imported, "github.com/caarlos0/env/"):
			f.environment = append(f.environment, "import of "+imported)
		case (imported == "os" || imported == "syscall") && spec.Name != nil:
			readers[spec.Name.Name] = true
		case imported == "os" || imported == "syscall":
			readers[imported] = true
		}
	}

	for _, decl := range parsed.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.inits++
		}
	}

	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := selector.X.(*ast.Ident)
		if ok && readers[from.Name] && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, selector.Sel.Name) {
			f.environment = append(f.environment, from.Name+"."+selector.Sel.Name)
		}
		return true
	})
	return f, nil
}

// sources parses every Go file of the module. It walks the folders instead of asking `go list`, which would hide the files
// of other systems, and which the cache of `go test` could not see to find new packages.
func sources(t *testing.T) []file {
	t.Helper()

	root, err := filepath.Abs("../../..")
	require.NoError(t, err)

	var files []file
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && isForeign(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}

		pkg, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		f, err := parse(name, filepath.ToSlash(pkg), nil)
		files = append(files, f)
		return err
	}))
	return files
}

// isForeign reports whether a folder holds none of the module's packages, by the rules of the go command.
func isForeign(dir string) bool {
	base := filepath.Base(dir)
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil || base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}

func TestImportRules(t *testing.T) {
	t.Parallel()

	files := sources(t)
	require.NotEmpty(t, files)

	var violations []string
	for _, f := range files {
		violations = append(violations, check(rules(), f)...)
	}
	require.Empty(t, violations, "%s", strings.Join(violations, "\n"))
}

// A rule that can't fail protects nothing, so here is one violation of each, and what is allowed right beside it.
func TestCheck(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		pkg, file, src string
		want           string // empty: allowed
	}{
		{"lifecycle", "fold.go", `import "time"`, ""},
		{"lifecycle", "fold.go", `import "github.com/jackc/pgx/v5"`, "may use"},
		{"lifecycle", "fold.go", `import "onward/jobs"`, "no arrow"},
		{"lifecycle", "fold_test.go", `import "pgregory.net/rapid"`, ""},
		{"lifecycle/pgstore", "fact.go", `import ("onward/lifecycle"; "github.com/jackc/pgx/v5")`, ""},
		{"lifecycle/pgstore", "fact.go", `import "onward/jobs"`, "no arrow"},
		{"lifecycle/pgstore", "fact.go", `import "github.com/riverqueue/river"`, "may use"},

		{"jobs", "send.go", `import "github.com/riverqueue/river"`, ""},
		{"jobs", "send.go", `import "github.com/jackc/pgx/v5"`, "may use"},
		{"jobs", "send.go", `import "onward/lifecycle"`, "no arrow"},
		{"jobs", "send.go", `import "onward/jobs/worker"`, "no arrow"},
		{"jobs/recipienttime", "zones.go", `import "onward/jobs"`, "no arrow"},
		{"jobs/provider", "sender.go", `import "onward/jobs"`, "no arrow"},
		{"jobs/provider/smtp", "smtp.go", `import "onward/jobs/provider"`, ""},
		{"jobs/provider/smtp", "smtp.go", `import "onward/lifecycle"`, "no arrow"},
		{"jobs/worker", "send.go", `import ("onward/jobs"; "onward/jobs/provider/smtp"; "onward/lifecycle/pgstore")`, ""},
		{"jobs/worker", "send.go", `import "onward/web/inbox"`, "no arrow"},

		{"web/webhook", "twilio.go", `import ("onward/jobs"; "onward/web/inbox")`, ""},
		{"web/webhook", "twilio.go", `import "onward/lifecycle"`, "no arrow"},
		{"web/webhook", "twilio.go", `import "onward/jobs/worker"`, "no arrow"},
		{"web/webhook", "twilio.go", `import "onward/web"`, "no arrow"},
		{"web/inbox", "inbox.go", `import "onward/jobs"`, ""},
		{"web/inbox", "inbox.go", `import "onward/lifecycle/pgstore"`, "no arrow"},
		{"web/crmapi", "business.go", `import ("onward/jobs"; "onward/lifecycle/pgstore")`, ""},
		{"web/crmapi", "business.go", `import "onward/web/console"`, "no arrow"},
		{"web/console", "page.go", `import "onward/jobs/provider"`, "no arrow"},
		{"web/metrics", "metrics.go", `import ("onward/web/webhook"; "onward/jobs/provider")`, ""},
		{"web/metrics", "metrics.go", `import "onward/jobs/worker"`, "no arrow"},
		{"web/metrics", "metrics.go", `import "onward/lifecycle/pgstore"`, "no arrow"},
		{"web/inbox", "inbox.go", `import "onward/web/metrics"`, "no arrow"},
		{"web/apitoken", "token.go", `import "onward/lifecycle/pgstore"`, "no arrow"},

		{"cmd/internal/app", "app.go", `import ("onward/web"; "onward/jobs/worker"; "onward/cmd/internal/devdb")`, ""},
		{"web", "server.go", `import "onward/cmd/internal/app"`, "nothing outside cmd"},
		{"web", "server.go", `import "onward/cmd/internal/devdb"`, "nothing outside cmd"},
		{"web", "server.go", `import "onward/cmd/pgtest"`, "for tests"},
		{"web", "server_test.go", `import ("onward/cmd/internal/devdb"; "onward/cmd/pgtest"; "onward/migrations")`, ""},
		{"web", "server_test.go", `import "onward/cmd/internal/app"`, "nothing outside cmd"},
		{"cmd/internal/app", "app.go", `import "onward/cmd/pgtest"`, "for tests"},

		{"jobs/provider/twilio", "send.go", `import "github.com/twilio/twilio-go/client"`, ""},
		{"jobs/provider/twilio", "send.go", `import "github.com/twilio/twilio-go"`, "build time"},
		{"jobs/provider/twilio", "send_test.go", `import "github.com/twilio/twilio-go/twiml"`, "build time"},
		{"web/webhook", "twilio.go", `import "github.com/twilio/twilio-go/client"`, "talks to Twilio"},
		{"web/webhook", "twilio_test.go", `import "github.com/twilio/twilio-go/client"`, ""},

		{"cmd/internal/app", "config.go", `import "os"; var _ = os.Getenv("A")`, ""},
		{"web", "server.go", `import "os"; var _ = os.Getenv("A")`, "reads the environment"},
		{"web", "server.go", `import system "os"; var _, _ = system.LookupEnv("A")`, "reads the environment"},
		{"cmd/onward", "main.go", `import "os"; func f() { g := os.Environ; g() }`, "reads the environment"},
		{"web", "server.go", `import _ "github.com/caarlos0/env/v11"`, "reads the environment"},
		{"web", "server_test.go", `import "os"; var _ = os.Getenv("A")`, ""},

		{"web", "server.go", `func init() {}`, "init function"},
		{"web", "server.go", `type t struct{}; func (t) init() {}`, ""},

		{"web/console/util", "util.go", ``, "says nothing"},
		{"jobs/provider/helpers", "helpers.go", ``, "says nothing"},
		{"web/console/typeset", "typeset.go", ``, ""},
		{"internal/mail", "mail.go", ``, "no rule covers"},
	} {
		t.Run(c.pkg+" "+c.src, func(t *testing.T) {
			t.Parallel()

			f, err := parse(c.file, c.pkg, "package "+path.Base(c.pkg)+"; "+c.src)
			require.NoError(t, err)

			violations := check(rules(), f)
			if c.want == "" {
				require.Empty(t, violations)
			} else {
				require.Len(t, violations, 1)
				require.Contains(t, violations[0], c.want)
			}
		})
	}
}
