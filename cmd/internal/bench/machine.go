package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Machine is where a run was measured, and with what.
type Machine struct {
	OS        string  `json:"os"`
	CPU       string  `json:"cpu,omitempty"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memory_gib,omitempty"`
	Go        string  `json:"go"`

	PostgreSQL string            `json:"postgresql"`
	Settings   map[string]string `json:"settings"`
	Embedded   bool              `json:"embedded"`              // a server of the benchmark's own
	SyncMS     float64           `json:"fsync_ms,omitempty"`    // median of writing 8 KiB and flushing them to the database's disk
	LoadBefore string            `json:"load_before,omitempty"` // 1, 5 and 15 minutes
	LoadAfter  string            `json:"load_after,omitempty"`

	Concurrency int `json:"worker_concurrency"`
}

// settingsThatMatter are those of PostgreSQL that move the figures.
func settingsThatMatter() []string {
	return []string{"fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "checkpoint_timeout", "commit_delay", "jit"}
}

func describeMachine(ctx context.Context, db *database) (Machine, error) {
	m := Machine{
		OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Go: runtime.Version(), Embedded: db.server != nil, LoadBefore: loadAverage(), Settings: map[string]string{},
	}
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.MemoryGiB = kib / (1 << 20)
	}
	if db.server != nil {
		m.SyncMS = milliseconds(syncTime(db.folder))
	}
	rows, err := db.pool.Query(ctx, `
		SELECT name, current_setting(name)
		FROM pg_settings
		WHERE name = ANY($1) OR name = 'server_version'`, settingsThatMatter())
	if err != nil {
		return m, fmt.Errorf("read PostgreSQL's settings: %w", err)
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		m.Settings[name] = value
		return nil
	})
	if err != nil {
		return m, fmt.Errorf("read PostgreSQL's settings: %w", err)
	}
	m.PostgreSQL = m.Settings["server_version"]
	delete(m.Settings, "server_version")
	return m, nil
}

// lines are how a table begins.
func (m Machine) lines() []string {
	hardware := fmt.Sprintf("%s, %d cores", m.OS, m.Cores)
	if m.CPU != "" {
		hardware += " (" + m.CPU + ")"
	}
	if m.MemoryGiB > 0 {
		hardware += fmt.Sprintf(", %.0f GiB", m.MemoryGiB)
	}
	if m.SyncMS > 0 {
		hardware += fmt.Sprintf(", fsync of 8 KiB %s ms", number(m.SyncMS))
	}
	where := "PostgreSQL " + m.PostgreSQL + ", its own server on this machine"
	if !m.Embedded {
		where = "PostgreSQL " + m.PostgreSQL + ", the given database"
	}
	var settings []string
	for _, name := range settingsThatMatter() {
		if v, ok := m.Settings[name]; ok {
			settings = append(settings, name+" "+v)
		}
	}
	lines := []string{
		hardware + ", " + m.Go,
		where + ": " + strings.Join(settings, ", "),
		fmt.Sprintf("worker: %d callbacks at once; pgbench, load generator, web, worker and database share the machine", m.Concurrency),
	}
	if m.LoadBefore != "" {
		lines = append(lines, "load average before "+m.LoadBefore+", after "+m.LoadAfter)
	}
	return lines
}

// field reads the first "name : value" of a file of /proc; "" where there is none.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is that of 1, 5 and 15 minutes; "" where the system does not say.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(b))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// syncTime is what bounds a commit on this disk: the median time of writing a page and flushing it; 0 when it can't be
// measured.
func syncTime(folder string) time.Duration {
	path := filepath.Join(folder, "fsync")
	f, err := os.Create(path)
	if err != nil {
		return 0
	}
	defer func() { _, _ = f.Close(), os.Remove(path) }()
	page := make([]byte, 8192)
	var times []time.Duration
	for range 50 {
		begun := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0
		}
		if err := f.Sync(); err != nil {
			return 0
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return times[len(times)/2]
}
