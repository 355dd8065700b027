package devdb

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMajor is the oldest PostgreSQL that Onward works with.
const oldestMajor = 14

// binaries are the server programs of one PostgreSQL installation.
type binaries struct {
	postgres, initdb string
	major            int
}

// FindBinaries returns the folder of the PostgreSQL server programs: the one on the PATH, the one that pg_config names,
// or else the newest where Debian, Red Hat and Homebrew put them. The error is one line that says what to install.
func FindBinaries() (dir string, err error) {
	for _, dir := range candidateDirs() {
		if isProgram(filepath.Join(dir, "postgres")) && isProgram(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL's server programs (postgres, initdb) are not installed: install PostgreSQL %d or newer "+
		"(Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql)", oldestMajor)
}

func candidateDirs() []string {
	var dirs []string

	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}

	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		slices.SortFunc(found, func(a, b string) int { return versionInPath(b) - versionInPath(a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

// versionInPath returns the number in a path such as /usr/lib/postgresql/15/bin, or 0.
func versionInPath(path string) int {
	n, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(path))
	return n
}

func isProgram(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// findServer finds the server programs and asks them for their version.
func findServer(ctx context.Context) (binaries, error) {
	dir, err := FindBinaries()
	if err != nil {
		return binaries{}, err
	}

	b := binaries{postgres: filepath.Join(dir, "postgres"), initdb: filepath.Join(dir, "initdb")}

	out, err := exec.CommandContext(ctx, b.postgres, "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("devdb: %s --version: %w", b.postgres, err)
	}

	// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
	match := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if match == nil {
		return binaries{}, fmt.Errorf("devdb: %s --version says %q", b.postgres, out)
	}
	b.major, err = strconv.Atoi(string(match[1]))
	if err != nil {
		return binaries{}, errors.New("devdb: unreadable PostgreSQL version")
	}

	if b.major < oldestMajor {
		return binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old: install PostgreSQL %d or newer", b.major, dir, oldestMajor)
	}
	return b, nil
}
