// Command onward carries a lead from first message to paying subscriber. Run `onward -h` for the commands.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"onward/cmd/internal/app"
)

// version is set by the linker (see Makefile).
var version = "dev" //nolint:gochecknoglobals // the linker's -X sets nothing else

// Exit codes, as documented in the README.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one sub-command: a file of its own.
type command struct {
	name    string
	args    string // what follows the name in the usage line
	summary string
	run     func(ctx context.Context, t *terminal, args []string) error
}

func commands() []command {
	return []command{
		{"up", "[flags]", "everything in one process, on an embedded PostgreSQL; --demo plays a lead's whole life", runUp},
		{"web", "", "public and private HTTP; no job is worked", runWeb},
		{"worker", "[flags]", "works jobs; private HTTP for health and metrics", runWorker},
		{"migrate", "up|status|down", "brings the database's schema up to date", runMigrate},
		{"token", "create|list|revoke", "API tokens", runToken},
		{"verify", "[flags]", "recomputes every status from its facts and checks the invariants; --repair with a reason", runVerify},
		{"analytics", "status|rebuild|verify|measure", "looks after the sums behind analytics", runAnalytics},
		{"seed", "[flags]", "fills a database with made-up businesses and facts, for benchmarks and demos", runSeed},
		{"jobs", "list|show|retry|cancel", "looks at jobs and why they fail; puts back, ends", runJobs},
		{"simulate", "[flags]", "the providers' simulator: Twilio, Recurrente, an SMTP sink", runSimulate},
		{"webhooks", "list|show|replay", "the raw requests of providers, what came of each, and their replay", runWebhooks},
		{"subscriptions", "import", "compares an export of Recurrente's subscriptions with ours", runSubscriptions},
		{"erase", "[flags] BUSINESS_ID", "erases a contact's personal data; suppressions still block", runErase},
		{"bench", "[flags]", "the benchmarks that the README quotes, on a database of its own", runBench},
		{"import", "businesses [flags] FILE.csv|-", "creates and updates businesses from CSV, with a report of refused rows", runImport},
		{"suppressions", "list|add|lift|import|export", "addresses that must not be written to", runSuppressions},
		{"version", "[flags]", "prints the version", runVersion},
	}
}

// terminal is the process's outside.
type terminal struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// errUsage is a wrong call: exit 2. An empty one has been explained already.
type errUsage struct{ msg string }

func (e errUsage) Error() string { return e.msg }

func usagef(format string, args ...any) error { return errUsage{fmt.Sprintf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, &terminal{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, t *terminal, args []string) int {
	if len(args) == 0 {
		t.usage(t.stderr)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		t.usage(t.stdout)
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return t.exit(c, c.run(ctx, t, args[1:]))
		}
	}
	fmt.Fprintf(t.stderr, "onward: no command %q; `onward -h` lists them\n", args[0])
	return exitUsage
}

// exit maps an error to its line on stderr and the exit code.
func (t *terminal) exit(c command, err error) int {
	var usage errUsage
	var config *app.ConfigError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		if usage.msg != "" {
			fmt.Fprintf(t.stderr, "onward %s: %s (see `onward %s -h`)\n", c.name, usage.msg, c.name)
		}
		return exitUsage
	case errors.As(err, &config):
		for _, p := range config.Problems {
			fmt.Fprintln(t.stderr, p)
		}
		return exitFailed
	}
	fmt.Fprintf(t.stderr, "onward %s: %s%s\n", c.name, strings.ReplaceAll(err.Error(), "\n", "; "), advice(err))
	return exitFailed
}

// advice is what to do about an error that the database gives and whose text does not say it.
func advice(err error) string {
	const duplicateStatement, noStatement = "42P05", "26000"
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == duplicateStatement || pg.Code == noStatement) {
		return "; if DATABASE_URL leads to a pooler, set ONWARD_LISTEN_DATABASE_URL to the database's own address"
	}
	return ""
}

func (t *terminal) usage(w io.Writer) {
	fmt.Fprintf(w, "Onward carries a lead from first message to paying subscriber.\n\nUsage: onward COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-13s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n`onward COMMAND -h` explains one, with examples. Settings come from the environment; `onward web -h` lists them.\n")
}

// flags makes the flag set of a command: -h prints usage, examples and flags on stdout.
func (t *terminal) flags(name, args, about string, examples ...string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are ours to print, in one line
	fs.Usage = func() {
		fmt.Fprintf(t.stdout, "Usage: onward %s\n\n%s\n", strings.TrimSpace(name+" "+args), about)
		if len(examples) > 0 {
			fmt.Fprint(t.stdout, "\nExamples:\n")
			for _, e := range examples {
				fmt.Fprintln(t.stdout, "  "+e)
			}
		}
		any := false
		fs.VisitAll(func(*flag.Flag) { any = true })
		if any {
			fmt.Fprint(t.stdout, "\nFlags:\n")
			fs.SetOutput(t.stdout)
			fs.PrintDefaults()
			fs.SetOutput(io.Discard)
		}
	}
	return fs
}

// parse reads flags; what is wrong with them is a usage error.
func parse(fs *flag.FlagSet, args []string) error {
	usage := fs.Usage
	fs.Usage = func() {} // else a wrong flag prints it, too
	err := fs.Parse(args)
	fs.Usage = usage
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage()
		return err
	case err != nil:
		return usagef("%s", err.Error())
	}
	return nil
}

// settings appends the table of settings to a command's -h.
func (t *terminal) settings(fs *flag.FlagSet) {
	usage := fs.Usage
	fs.Usage = func() {
		usage()
		fmt.Fprint(t.stdout, "\nSettings (environment):\n")
		for _, s := range app.Settings() {
			line := fmt.Sprintf("  %-28s %s", s.Name, s.Description)
			if s.Default != "" {
				line += " (default " + s.Default + ")"
			}
			fmt.Fprintln(t.stdout, line)
		}
	}
}

func runVersion(_ context.Context, t *terminal, args []string) error {
	fs := t.flags("version", "[flags]", "Prints the version of this binary: the commit that it was built from.", "onward version", "onward version --json")
	asJSON := fs.Bool("json", false, "print version, Go's version and platform as JSON")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("takes no arguments")
	}
	if *asJSON {
		return json.NewEncoder(t.stdout).Encode(map[string]string{
			"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
		})
	}
	fmt.Fprintln(t.stdout, version)
	return nil
}
