package bench

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"onward/cmd/internal/devdb"
)

// The floors: what the product writes, spelled out for pgbench.
//
//go:embed floor/*.sql
var floors embed.FS

// findPgbench finds the program beside the server's, else on the PATH.
func findPgbench(ctx context.Context) (string, error) {
	var path string
	if dir, err := devdb.FindBinaries(); err == nil {
		path, _ = exec.LookPath(filepath.Join(dir, "pgbench"))
	}
	if path == "" {
		path, _ = exec.LookPath("pgbench")
	}
	if path == "" {
		return "", errors.New("pgbench is not installed, and the floors are measured with it: it comes with PostgreSQL's server " +
			"(Debian, Ubuntu: apt-get install postgresql; Red Hat: postgresql-contrib; macOS: brew install postgresql)")
	}
	if out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", path, err, bytes.TrimSpace(out))
	}
	return path, nil
}

// pgbench runs floors against one database.
type pgbench struct {
	path, dsn string
	server    cpuMeter
}

// floorRun is one run of a floor.
type floorRun struct {
	script  string // in floor/
	clients int
	// Either for so long, or so many transactions of each client.
	lasts        time.Duration
	transactions int
	variables    map[string]string
}

// floorResult is what pgbench said.
type floorResult struct {
	transactions          int
	perSecond             float64
	serverCPU, pgbenchCPU float64 // µs a transaction, NaN where not known
	averageLatency        time.Duration
}

// grace is how long a floor may take beyond its time, or in all where it is bounded by transactions.
const grace = 2 * time.Minute

func (p pgbench) run(ctx context.Context, r floorRun) (floorResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.lasts+grace, errors.New("time-out of pgbench"))
	defer cancel()
	script, err := floors.ReadFile("floor/" + r.script + ".sql")
	if err != nil {
		return floorResult{}, fmt.Errorf("read the floor %s: %w", r.script, err)
	}
	// "-" would read it from stdin, once; several threads need a file.
	file, err := os.CreateTemp("", "onward-floor-*.sql")
	if err != nil {
		return floorResult{}, fmt.Errorf("write the floor %s: %w", r.script, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(script)
	if err = errors.Join(err, file.Close()); err != nil {
		return floorResult{}, fmt.Errorf("write the floor %s: %w", r.script, err)
	}

	dsn, password := withoutPassword(p.dsn)
	args := []string{"-n", "-M", "prepared", "-c", strconv.Itoa(r.clients), "-f", file.Name(), "-D", "clients=" + strconv.Itoa(r.clients)}
	if r.lasts > 0 {
		args = append(args, "-T", strconv.Itoa(max(int(r.lasts.Round(time.Second).Seconds()), 1)))
	} else {
		args = append(args, "-t", strconv.Itoa(r.transactions))
	}
	for name, value := range r.variables {
		args = append(args, "-D", name+"="+value)
	}
	cmd := exec.CommandContext(ctx, p.path, append(args, dsn)...)
	// Nothing of our own environment: settings of somebody else's PostgreSQL must not reach it.
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}
	if password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	used := startUsage(p.server)
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return floorResult{}, fmt.Errorf("pgbench %s: %w: %s", r.script, err, firstLine(stderr.String()))
	}
	res, err := parsePgbench(stdout.String())
	if err != nil {
		return res, fmt.Errorf("pgbench %s: %w", r.script, err)
	}
	res.serverCPU = used.since(res.transactions)[0]
	res.pgbenchCPU = perUnit(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), true, res.transactions)
	return res, nil
}

// parsePgbench reads pgbench's report, as of PostgreSQL 14.
func parsePgbench(out string) (floorResult, error) {
	var r floorResult
	find := func(pattern string) (float64, bool) {
		m := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if m == nil {
			return 0, false
		}
		v, err := strconv.ParseFloat(m[1], 64)
		return v, err == nil
	}
	n, ok := find(`number of transactions actually processed: (\d+)`)
	rate, ok2 := find(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
	if !ok || !ok2 {
		return r, fmt.Errorf("its report can't be read: %q", strings.TrimSpace(out))
	}
	if failed, ok := find(`number of failed transactions: (\d+)`); ok && failed > 0 {
		return r, fmt.Errorf("%.0f transactions failed", failed)
	}
	if n == 0 {
		return r, errors.New("it processed no transaction")
	}
	ms, _ := find(`latency average = ([0-9.]+) ms`)
	r.transactions, r.perSecond, r.averageLatency = int(n), rate, time.Duration(ms*float64(time.Millisecond))
	return r, nil
}

// withoutPassword takes the password out of a URL, so that it does not stand in the list of processes.
func withoutPassword(dsn string) (without, password string) {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return dsn, ""
	}
	password, _ = u.User.Password()
	u.User = url.User(u.User.Username())
	query := u.Query()
	for name := range query {
		// pgx's own, which libpq refuses.
		if strings.HasPrefix(name, "pool_") || slices.Contains([]string{"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity"}, name) {
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), password
}

// firstLine is why pgbench gave up; every client repeats it.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// addTo puts a floor's figures in its line.
func (r floorResult) addTo(l *Line) {
	l.add(perSecond, r.perSecond)
	l.add(postgresCPU, r.serverCPU)
	l.add(driverCPU, r.pgbenchCPU)
}
