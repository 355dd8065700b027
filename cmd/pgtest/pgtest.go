// Package pgtest gives tests real PostgreSQL databases. Only test files may import it; it imports devdb,
// migrations, pgx and goleak.
//
// A test binary starts one server, when the first test asks for a database. The schema is made once, in a template, and
// every test gets a copy of that, so a test may commit, listen and truncate as it likes, beside other tests. A package
// that uses it needs
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// and a test begins with
//
//	db := pgtest.New(t, pgtest.Schema)
//
// Commits are not durable here. A test that kills the server starts one of its own, with NewServer.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"onward/cmd/internal/devdb"
	"onward/migrations"
)

const (
	// setupTimeout bounds what happens before a test: starting the server, migrating, copying. The copies of a package
	// whose tests run in parallel queue behind each other.
	setupTimeout = 2 * time.Minute

	// cleanupTimeout bounds dropping a database and stopping a server.
	cleanupTimeout = 30 * time.Second

	// releaseTimeout is how long a finished test may hold on to a connection. One that failed in a transaction holds it for
	// ever, and must not hide its failure behind the time-out of the whole binary.
	releaseTimeout = 5 * time.Second

	// maxConns leaves room for twenty tests at a time on a server with devdb's 200 connections.
	maxConns = 8
)

// DB is a database that belongs to one test.
type DB struct {
	Pool   *pgxpool.Pool
	DSN    string
	Server *devdb.Server // shared with the other tests of the binary: not to be killed
}

// Main runs the tests of a package and stops the server that they used. It fails when a goroutine is left then, unless
// an option says that it may be. It returns the exit code.
func Main(m interface{ Run() int }, options ...goleak.Option) int {
	shared.inMain = true

	code := m.Run()

	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()

	if err := shared.stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	if code != 0 {
		// A failed test leaves goroutines behind, which would only hide the failure.
		return code
	}
	if err := goleak.Find(options...); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	return 0
}

// New returns a new database, made from a template that migrate has been run on, or an empty one when migrate is nil.
// Pass the same function everywhere in a package, since each different one costs a template; it must close what it
// opens. The database is dropped when the test ends.
func New(t testing.TB, migrate func(ctx context.Context, dsn string) error) *DB {
	t.Helper()

	ctx, cancel := context.WithTimeoutCause(t.Context(), setupTimeout, fmt.Errorf("no database within the set-up time-out of %s", setupTimeout))
	defer cancel()

	server, name, err := shared.newDatabase(ctx, migrate)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		require.NoError(t, shared.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"))
	})

	dsn := server.DSN(name)
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.MaxConns = maxConns

	pool, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closePool(pool, releaseTimeout)) })

	return &DB{Pool: pool, DSN: dsn, Server: server}
}

// Schema brings a new database to Onward's current schema; it is what most packages pass to New.
func Schema(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return fmt.Errorf("pgtest: open a pool: %w", err)
	}
	defer pool.Close()
	_, err = migrations.Up(ctx, pool, slog.New(slog.DiscardHandler))
	return err
}

// ServerOptions configure a server of a test's own.
type ServerOptions = devdb.Options

// closePool closes a pool, or gives up on it when a connection is not released in time.
func closePool(pool *pgxpool.Pool, patience time.Duration) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()

	select {
	case <-closed:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("pgtest: %d connections were not released within %s of the test's end", pool.Stat().AcquiredConns(), patience)
	}
}

// NewServer starts a server of the test's own, which it may kill, and stops it when the test ends. What was committed
// survives a Kill only with Options.Fsync.
func NewServer(t testing.TB, opts ServerOptions) *devdb.Server {
	t.Helper()

	server, err := devdb.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
	})
	return server
}

// shared is the server of this test binary. The tests of a package have no place in common but package variables, and one
// here is better than one in each of them.
var shared = &sharedServer{templates: map[uintptr]*template{}}

type sharedServer struct {
	inMain bool

	mu        sync.Mutex
	server    *devdb.Server
	admin     *pgxpool.Pool // makes and drops databases
	copying   string        // how, at the end of CREATE DATABASE
	err       error
	databases int
	templates map[uintptr]*template
}

// template is a database that others are copied from.
type template struct {
	name  string
	ready sync.Once
	err   error
}

// start starts the server at the first call. A start that failed is not tried again: it would fail again, once for every
// test.
func (s *sharedServer) start(ctx context.Context) (*devdb.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.inMain {
		return nil, errors.New("pgtest: this package needs func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }")
	}
	if s.server == nil && s.err == nil {
		if s.server, s.err = devdb.Start(ctx, devdb.Options{}); s.err == nil {
			s.err = s.connect(ctx)
		}
	}
	return s.server, s.err
}

func (s *sharedServer) connect(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(s.server.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	config.MaxConns = 2
	if s.admin, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return fmt.Errorf("pgtest: connect: %w", err)
	}
	// From PostgreSQL 15 on, a copy goes through the log unless told otherwise, which takes twice as long.
	err = s.admin.QueryRow(ctx, `
		SELECT CASE WHEN current_setting('server_version_num')::int >= 150000 THEN ' STRATEGY file_copy' ELSE '' END`).Scan(&s.copying)
	if err != nil {
		return fmt.Errorf("pgtest: ask for the version: %w", err)
	}
	return nil
}

func (s *sharedServer) stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.admin != nil {
		s.admin.Close()
	}
	if s.server == nil {
		return nil
	}
	return s.server.Stop(ctx)
}

// newDatabase copies the template that belongs to migrate.
func (s *sharedServer) newDatabase(ctx context.Context, migrate func(context.Context, string) error) (*devdb.Server, string, error) {
	server, err := s.start(ctx)
	if err != nil {
		return nil, "", err
	}

	name, source := s.allot(migrate)
	source.ready.Do(func() { source.err = s.create(ctx, source.name, migrate) })
	if source.err != nil {
		return nil, "", source.err
	}

	return server, name, s.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+source.name+s.copying)
}

// allot returns a name for a new database and the template to copy.
func (s *sharedServer) allot(migrate func(context.Context, string) error) (string, *template) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.databases++
	key := reflect.ValueOf(migrate).Pointer()
	if s.templates[key] == nil {
		s.templates[key] = &template{name: fmt.Sprintf("template_%d", len(s.templates)+2)} // template0 and template1 are PostgreSQL's
	}
	return fmt.Sprintf("test_%d", s.databases), s.templates[key]
}

// create makes a template.
func (s *sharedServer) create(ctx context.Context, name string, migrate func(context.Context, string) error) error {
	if err := s.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	if migrate != nil {
		if err := migrate(ctx, s.server.DSN(name)); err != nil {
			return fmt.Errorf("pgtest: migrate: %w", err)
		}
	}
	// A database with a client can't be copied, so none may come back.
	return s.exec(ctx, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
}

// exec runs a statement about databases, which none of them may be in a transaction for.
func (s *sharedServer) exec(ctx context.Context, sql string) error {
	if _, err := s.admin.Exec(ctx, sql); err != nil {
		return fmt.Errorf("pgtest: %s: %w", sql, err)
	}
	return nil
}
