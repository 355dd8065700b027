package devdb

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// createCluster runs initdb unless the folder holds a cluster.
func (s *Server) createCluster(ctx context.Context) error {
	version, err := os.ReadFile(filepath.Join(s.folder.data, "PG_VERSION"))
	if err == nil {
		return s.checkVersion(strings.TrimSpace(string(version)))
	}
	if !os.IsNotExist(err) {
		return fmt.Errorf("devdb: read the cluster's version: %w", err)
	}

	// Made under another name and renamed when complete, so that an initdb that was killed leaves no half cluster.
	fresh := s.folder.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := s.owner.own(fresh); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := s.folder.createPassword(s.owner); err != nil {
		return err
	}

	args := []string{
		"-D", fresh, "-U", superuser, "-E", "UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile", s.folder.password,
	}
	if !s.opts.Fsync {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := s.owner.command(exec.CommandContext(ctx, s.bins.initdb, args...))
	cmd.Stdout, cmd.Stderr = &out, &out
	stopWithParent(cmd)

	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("devdb: start %s: %w", s.bins.initdb, err)
	}
	if <-proc.done; proc.err != nil {
		return fmt.Errorf("devdb: initdb: %w:\n%s", proc.err, out.Bytes())
	}

	if err := os.Rename(fresh, s.folder.data); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	return nil
}

func (s *Server) checkVersion(version string) error {
	if version == strconv.Itoa(s.bins.major) {
		return nil
	}
	return fmt.Errorf("devdb: %s was made by PostgreSQL %s, and %d is installed: install %s, or move the folder away",
		s.folder.data, version, s.bins.major, version)
}

// writeConfig writes the settings that the server starts with. The file stands outside the cluster, which is not ours to
// write in as root, and includes the one that initdb made. ALTER SYSTEM has the last word over both.
func (s *Server) writeConfig() error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": quoteListItem(s.folder.socketDir),
		"unix_socket_permissions": "0700",
		// Web, worker and simulator in one process, and tests of several pools each; the default of 100 is too few.
		"max_connections": "200",
		"timezone":        "UTC",
		"log_timezone":    "UTC",
	}
	if s.folder.temp {
		// In the folder, and so gone with it, even after a Kill.
		settings["dynamic_shared_memory_type"] = "mmap"
	}
	if !s.opts.Fsync {
		for _, durable := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
			settings[durable] = "off"
		}
		// It may be memory that the log takes; the default is 1 GB.
		settings["max_wal_size"] = "256MB"
	}
	maps.Copy(settings, s.opts.Settings)

	var b strings.Builder
	fmt.Fprintf(&b, "include %s\n", quote(filepath.Join(s.folder.data, "postgresql.conf")))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quote(settings[name]))
	}

	if err := os.WriteFile(s.folder.config, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := s.owner.own(s.folder.config); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	return nil
}

// quote writes a string as postgresql.conf wants it.
func quote(s string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s) + "'"
}

// quoteListItem quotes one item of a setting that is a list, where a path may hold blanks and commas.
func quoteListItem(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// freePort returns a port that nobody listens on. It stays below the ranges from which Linux and macOS take the ports of
// outgoing connections, so that no such connection can hold the port between Kill and Restart.
func freePort(ctx context.Context) (int, error) {
	const lowest, beyond = 20000, 32000

	var lastErr error
	for range 100 {
		port := lowest + rand.IntN(beyond-lowest)
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			lastErr = err
			continue
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("devdb: %w", err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("devdb: no free port from %d to %d: %w", lowest, beyond-1, lastErr)
}
