// Package devdb runs a PostgreSQL server of its own, for `onward up` and for tests, from the server programs that are
// installed on the machine. Nothing has to be started or configured by hand, and nothing is left running.
//
// It may import the standard library and pgx. Only package cmd/internal/app and tests may import it: see
// docs/decisions/0001-devdb-outside-internal.md.
//
// A server belongs to one folder and to one process. On Linux it stops when that process dies, however it dies;
// elsewhere the next Start on the folder stops what was left. The folder holds:
//
//	data/            the cluster, readable by the server's user alone
//	run/             the Unix socket, unless its path would be too long for one
//	postgresql.conf  the settings, written anew at each start
//	postgres.log     what the server says
//	password         of the superuser, for connections over TCP
//	lock             held while a process owns the folder
package devdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// superuser is the role that initdb creates and that DSN names.
	superuser = "postgres"

	// startTimeout leaves room for crash recovery, which is the slowest start; a clean one takes a tenth of a second.
	startTimeout = time.Minute

	// stopTimeout bounds a fast shutdown, which waits for a checkpoint and for nobody's transaction.
	stopTimeout = 30 * time.Second

	// pollInterval is how often the state of a server process is looked at. PostgreSQL announces itself in a file, so
	// there is nothing to wait on.
	pollInterval = 5 * time.Millisecond
)

// Options say where a server lives and how durable it is. The zero value is a throw-away server for tests.
type Options struct {
	// Dir holds the cluster from one start to the next. Empty means a temporary folder that Stop removes. As root the
	// server runs as another user; where that user can't reach Dir, a folder in /var/tmp stands in for it, always the same
	// one for the same Dir, and the Logger says so.
	Dir string

	// Logger gets the few things that a user should know. Nil discards them.
	Logger *slog.Logger

	// Fsync makes commits durable: they survive Kill and a power cut. Without it the last few hundred milliseconds of
	// commits are lost when the server is killed, and a temporary folder may stand in memory, which is right for tests that
	// kill nothing.
	Fsync bool

	// Settings are further lines for postgresql.conf. They override the ones that this package chooses.
	Settings map[string]string
}

// Server is a running PostgreSQL server. Its methods are safe for concurrent use.
type Server struct {
	opts   Options
	bins   binaries
	folder folder
	owner  account
	port   int
	lock   *os.File

	mu      sync.Mutex
	proc    *process
	stopped bool
}

// Start starts a server, creating its cluster if Dir holds none, and returns once it accepts connections. It fails when
// another process owns Dir, and ends a server that an earlier owner left behind.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}

	bins, err := findServer(ctx)
	if err != nil {
		return nil, err
	}

	if opts.Dir == "" {
		sweepTempFolders(ctx)
	}

	folder, owner, err := openFolder(ctx, opts, bins)
	if err != nil {
		return nil, err
	}

	lock, err := acquireLock(folder)
	if err != nil {
		return nil, err
	}

	s := &Server{opts: opts, bins: bins, folder: folder, owner: owner, lock: lock}

	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within the start time-out of %s", startTimeout))
	defer cancel()

	if err := s.startAnew(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}

	return s, nil
}

// startAnew brings the folder into a state in which a server can start, and starts one.
func (s *Server) startAnew(ctx context.Context) error {
	if err := stopLeftover(ctx, s.folder.data, s.opts.Logger); err != nil {
		return err
	}
	if err := s.createCluster(ctx); err != nil {
		return err
	}
	if err := s.folder.prepareRuntime(s.owner); err != nil {
		return err
	}

	// Somebody else may take the port between the look and the bind, so a second look is worth it.
	for attempt := 1; ; attempt++ {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		s.port = port

		err = s.launch(ctx)
		if errors.Is(err, errPortTaken) && attempt < 5 {
			continue
		}
		return err
	}
}

// DSN returns a connection string for pgx and psql to the named database, as superuser, over the Unix socket. Only the
// server's own user and root can reach that.
func (s *Server) DSN(dbname string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.User(superuser),
		Path:   "/" + dbname,
		RawQuery: url.Values{
			"host":    {s.folder.socketDir},
			"port":    {strconv.Itoa(s.port)},
			"sslmode": {"disable"},
		}.Encode(),
	}
	return u.String()
}

// TCPDSN is like DSN, over TCP on 127.0.0.1, for what stands between a client and the server. It contains a password:
// every user of the machine can reach a TCP port, and a superuser of PostgreSQL can run programs.
func (s *Server) TCPDSN(dbname string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.folder.readPassword()),
		Host:     "127.0.0.1:" + strconv.Itoa(s.port),
		Path:     "/" + dbname,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Dir returns the folder that the server really uses.
func (s *Server) Dir() string { return s.folder.root }

// PID returns the process id of the postmaster, or 0 when none runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil || s.proc.exited() {
		return 0
	}
	return s.proc.pid()
}

// EnsureDatabase creates the named database unless it is there.
func (s *Server) EnsureDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("devdb: connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()

	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())

	const duplicateDatabase = "42P04"
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == duplicateDatabase {
		return nil
	}
	if err != nil {
		return fmt.Errorf("devdb: create database %q: %w", name, err)
	}
	return nil
}

// Kill ends the server as a crash would: without a checkpoint, without a word to its clients. On Linux every process of
// the server gets SIGKILL; elsewhere the postmaster gets SIGQUIT. It returns once all of them are gone.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil || s.proc.exited() {
		return errors.New("devdb: kill: the server does not run")
	}
	if err := killServer(s.proc.pid()); err != nil {
		return fmt.Errorf("devdb: kill: %w", err)
	}
	<-s.proc.done
	return nil
}

// Restart starts a server that was killed, or that died, again: on the same data and at the same address.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.stopped {
		return errors.New("devdb: restart: the server was stopped and its folder given back")
	}
	if s.proc != nil && !s.proc.exited() {
		return errors.New("devdb: restart: the server runs")
	}

	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within the start time-out of %s", startTimeout))
	defer cancel()

	return s.launch(ctx)
}

// Stop disconnects every client, stops the server and gives the folder back. A temporary folder is removed. When ctx or
// the stop time-out ends first, the server is killed and the error says which of them it was; it never runs on.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.stopped {
		return nil
	}
	s.stopped = true

	return errors.Join(s.shutDown(ctx), s.release())
}

func (s *Server) shutDown(ctx context.Context) error {
	if s.proc == nil || s.proc.exited() {
		return nil
	}

	// What is about to be deleted needs no checkpoint.
	mode := syscall.SIGINT
	if s.folder.temp {
		mode = syscall.SIGQUIT
	}
	if err := s.proc.cmd.Process.Signal(mode); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("devdb: stop: %w", err)
	}

	ctx, cancel := context.WithTimeoutCause(ctx, stopTimeout, fmt.Errorf("still running after the stop time-out of %s", stopTimeout))
	defer cancel()

	select {
	case <-s.proc.done:
		return nil
	case <-ctx.Done():
		err := killServer(s.proc.pid())
		<-s.proc.done
		return errors.Join(fmt.Errorf("devdb: stop: killed: %w", context.Cause(ctx)), err)
	}
}

// release gives the folder back; no server may run.
func (s *Server) release() error {
	err := s.folder.remove()
	// The lock goes last.
	return errors.Join(err, releaseLock(s.lock))
}

var (
	errPortTaken   = errors.New("port taken")
	errMemoryInUse = errors.New("shared memory still in use")
)

// launch starts the postmaster on s.port and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	if err := s.writeConfig(); err != nil {
		return err
	}

	for {
		err := s.launchOnce(ctx)
		// Backends of a postmaster that was killed alone go as soon as they look up from their query.
		if !errors.Is(err, errMemoryInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(20 * pollInterval):
		}
	}
}

func (s *Server) launchOnce(ctx context.Context) error {
	log, err := s.folder.openLog()
	if err != nil {
		return err
	}
	// The server has its own descriptor from here on.
	defer func() { _ = log.Close() }()

	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("devdb: seek in %s: %w", s.folder.log, err)
	}

	// Not exec.CommandContext: the server outlives ctx.
	cmd := s.owner.command(exec.Command(s.bins.postgres, "-D", s.folder.data, "-c", "config_file="+s.folder.config))
	cmd.Stdout, cmd.Stderr = log, log
	stopWithParent(cmd)

	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("devdb: start %s: %w", s.bins.postgres, err)
	}

	if err := proc.waitReady(ctx, s.folder.data); err != nil {
		if !proc.exited() {
			err = errors.Join(err, killServer(proc.pid()))
			<-proc.done
		}
		return s.explain(err, from)
	}

	s.proc = proc
	return nil
}

// explain adds the last lines of the server's log, from the given offset on, to an error of a start, and recognises the
// two causes that go away by themselves.
func (s *Server) explain(err error, from int64) error {
	const lines = 12

	said, readErr := readFrom(s.folder.log, from)
	if readErr != nil {
		return fmt.Errorf("devdb: PostgreSQL did not start: %w", errors.Join(err, readErr))
	}

	switch {
	case bytes.Contains(said, []byte("could not create any TCP/IP sockets")):
		err = fmt.Errorf("%w: %w", errPortTaken, err)
	case bytes.Contains(said, []byte("pre-existing shared memory block")):
		err = fmt.Errorf("%w: %w", errMemoryInUse, err)
	}

	tail := strings.Split(strings.TrimSpace(string(said)), "\n")
	if len(tail) > lines {
		tail = tail[len(tail)-lines:]
	}
	return fmt.Errorf("devdb: PostgreSQL did not start: %w; %s ends with:\n%s", err, s.folder.log, strings.Join(tail, "\n"))
}
