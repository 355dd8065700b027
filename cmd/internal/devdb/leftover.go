package devdb

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// leftoverTimeout is how long a server that lost its owner may take to shut down before it is killed. What it committed
// is safe either way.
const leftoverTimeout = 10 * time.Second

// stopLeftover ends the server that a killed process left behind in data: on Linux it is already shutting down,
// elsewhere it runs on. It also removes the pid file of a server that is long gone when its id belongs to another process
// by now, which PostgreSQL would take for a running server. The caller holds the folder's lock.
func stopLeftover(ctx context.Context, data string, logger *slog.Logger) error {
	file, err := readPIDFile(data)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		// PostgreSQL writes the file in one piece before it does anything, so this one is of no server.
		return removePIDFile(data)
	}

	if !isServer(file.pid, data) {
		// The file of a dead process stays: PostgreSQL finds in it which shared memory to look for.
		if alive(file.pid) {
			return removePIDFile(data)
		}
		return nil
	}

	logger.LogAttrs(ctx, slog.LevelInfo, "stopping the database server that a killed process left behind",
		slog.Int("pid", file.pid), slog.String("dir", data))

	if err := signal(file.pid, syscall.SIGINT); err != nil {
		return fmt.Errorf("devdb: stop the server left in %s: %w", data, err)
	}

	patience, cancel := context.WithTimeout(ctx, leftoverTimeout)
	defer cancel()

	if waitUntil(patience, func() bool { return !isServer(file.pid, data) }) == nil {
		return nil
	}
	if err := killServer(file.pid); err != nil {
		return fmt.Errorf("devdb: kill the server left in %s: %w", data, err)
	}
	return nil
}

func removePIDFile(data string) error {
	if err := os.Remove(pidFilePath(data)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("devdb: remove stale pid file: %w", err)
	}
	return nil
}
