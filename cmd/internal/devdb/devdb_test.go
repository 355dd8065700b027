package devdb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// holdServer is the first argument of a test binary that is to be the owner of a server: the tests of what happens when
// an owner is killed, or is another user, need one that is not themselves.
const holdServer = "hold-server"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == holdServer {
		if err := ownServer(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// ownServer starts a server in dir, commits a row, prints the server's process id and waits for the end of its input.
func ownServer(dir string) error {
	ctx := context.Background()

	server, err := Start(ctx, Options{Dir: dir, Fsync: true})
	if err != nil {
		return err
	}
	if err := execute(ctx, server.DSN("postgres"), "CREATE TABLE kept AS SELECT 'committed' AS what"); err != nil {
		return err
	}
	fmt.Println(server.PID())

	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return server.Stop(ctx)
}

// owner is a process that runs ownServer.
type owner struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	serverPID int
}

func startOwner(t *testing.T, dir string, attr *syscall.SysProcAttr) owner {
	t.Helper()

	// Not by its name, which another user might not be able to reach.
	program := "/proc/self/exe"
	if _, err := os.Stat(program); err != nil {
		program, err = os.Executable()
		require.NoError(t, err)
	}

	var stderr bytes.Buffer
	cmd := exec.Command(program, holdServer, dir)
	cmd.Dir = "/"
	cmd.Stderr = &stderr
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the owner says: %s", &stderr)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)

	return owner{cmd: cmd, stdin: stdin, serverPID: pid}
}

// testDir returns a folder that the server's user can enter, unlike t.TempDir as root.
func testDir(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp(tempParents(false)[0], "devdb-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()

	server, err := Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop(context.Background())) })
	return server
}

func execute(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()

	_, err = conn.Exec(ctx, sql)
	return err
}

func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()

	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}

func TestStop_leavesNothing(t *testing.T) {
	t.Parallel()

	server, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	pid := server.PID()
	require.DirExists(t, server.Dir())

	require.NoError(t, server.Stop(t.Context()))
	require.False(t, alive(pid))
	require.Zero(t, server.PID())
	require.NoDirExists(t, server.Dir())

	require.NoError(t, server.Stop(t.Context()), "a second Stop has nothing to do")
	require.ErrorContains(t, server.Restart(t.Context()), "was stopped")
}

func TestStop_whenTheContextEnds_kills(t *testing.T) {
	t.Parallel()

	server, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	pid := server.PID()

	// Held, it can't shut down by itself.
	require.NoError(t, signal(pid, syscall.SIGSTOP))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("no patience"))

	require.ErrorContains(t, server.Stop(ctx), "no patience")
	require.False(t, alive(pid))
	require.NoDirExists(t, server.Dir())
}

func TestStart_keepsTheDataOfItsFolder(t *testing.T) {
	t.Parallel()

	opts := Options{Dir: filepath.Join(testDir(t), "made", "by", "Start"), Fsync: true}
	server := start(t, opts)
	require.NoError(t, server.EnsureDatabase(t.Context(), "onward"))
	require.NoError(t, server.EnsureDatabase(t.Context(), "onward"), "it is there already")
	require.NoError(t, execute(t.Context(), server.DSN("onward"), "CREATE TABLE kept AS SELECT 42 AS n"))
	require.NoError(t, server.Stop(t.Context()))

	server = start(t, opts)
	require.EqualValues(t, 42, query[int32](t, server.DSN("onward"), "SELECT n FROM kept"))
}

func TestStart_runsAsAnotherUserThanRoot(t *testing.T) {
	t.Parallel()

	server := start(t, Options{})

	// The server writes this file itself.
	uid, ok := ownerOf(pidFilePath(server.folder.data))
	require.True(t, ok)
	require.NotZero(t, uid)
	if os.Geteuid() != 0 {
		require.Equal(t, os.Geteuid(), uid)
	}
}

func TestStart_byAnOrdinaryUser(t *testing.T) {
	t.Parallel()

	dir := testDir(t)
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		account, err := accountFor("")
		require.NoError(t, err)
		require.NoError(t, account.own(dir))
		attr.Credential = account.credential
	}

	owner := startOwner(t, dir, attr)
	require.NoError(t, owner.stdin.Close())
	require.NoError(t, owner.cmd.Wait())
	require.False(t, alive(owner.serverPID))

	// Root takes the folder over, for the user that it belongs to.
	server := start(t, Options{Dir: dir, Fsync: true})
	require.Equal(t, "committed", query[string](t, server.DSN("postgres"), "SELECT what FROM kept"))
}

func TestStart_afterTheOwnerWasKilled(t *testing.T) {
	t.Parallel()

	dir := testDir(t)
	owner := startOwner(t, dir, nil)

	require.NoError(t, owner.cmd.Process.Kill())
	require.Error(t, owner.cmd.Wait())

	server := start(t, Options{Dir: dir, Fsync: true})
	require.NotEqual(t, owner.serverPID, server.PID())
	require.Equal(t, "committed", query[string](t, server.DSN("postgres"), "SELECT what FROM kept"))
}

// On systems other than Linux a server outlives its owner.
func TestStart_stopsAServerWithoutOwner(t *testing.T) {
	t.Parallel()

	opts := Options{Dir: testDir(t), Fsync: true}
	lost, err := Start(t.Context(), opts)
	require.NoError(t, err)
	pid := lost.PID()
	require.NoError(t, execute(t.Context(), lost.DSN("postgres"), "CREATE TABLE kept AS SELECT 42 AS n"))
	require.NoError(t, releaseLock(lost.lock))

	server := start(t, opts)
	require.False(t, alive(pid))
	require.EqualValues(t, 42, query[int32](t, server.DSN("postgres"), "SELECT n FROM kept"))
}

func TestStart_withAStalePIDFile(t *testing.T) {
	t.Parallel()

	gone := exec.Command("true")
	require.NoError(t, gone.Run())

	for name, content := range map[string]string{
		"of a process that is gone":    strconv.Itoa(gone.Process.Pid) + "\n/somewhere\n",
		"whose id is another's by now": "1\n/somewhere\n",
		"without content":              "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			opts := Options{Dir: testDir(t)}
			server := start(t, opts)
			require.NoError(t, server.Stop(t.Context()))
			require.NoError(t, os.WriteFile(pidFilePath(server.folder.data), []byte(content), 0o600))
			require.NoError(t, server.owner.own(pidFilePath(server.folder.data)))

			require.NotZero(t, start(t, opts).PID())
		})
	}
}

func TestStart_afterAnInitdbThatWasKilled(t *testing.T) {
	t.Parallel()

	dir := testDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700))

	require.NotZero(t, start(t, Options{Dir: dir}).PID())
}

func TestStart_twiceOnOneFolder(t *testing.T) {
	t.Parallel()

	dir := testDir(t)
	first := start(t, Options{Dir: dir})
	link := filepath.Join(testDir(t), "another-name")
	require.NoError(t, os.Symlink(dir, link))

	for _, name := range []string{dir, link} {
		_, err := Start(t.Context(), Options{Dir: name})
		require.ErrorContains(t, err, fmt.Sprintf("in use by another process (%d)", os.Getpid()))
		require.NotContains(t, err.Error(), "\n")
	}
	require.EqualValues(t, 1, query[int32](t, first.DSN("postgres"), "SELECT 1"), "the first one is not disturbed")
}

func TestStart_sideBySide(t *testing.T) {
	t.Parallel()

	one, two := start(t, Options{Dir: testDir(t)}), start(t, Options{Dir: testDir(t)})

	require.NoError(t, one.EnsureDatabase(t.Context(), "only_in_one"))
	require.False(t, query[bool](t, two.DSN("postgres"), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'only_in_one')"))
}

func TestStart_whenTheServerRefuses_saysWhatItSaid(t *testing.T) {
	t.Parallel()

	_, err := Start(t.Context(), Options{Settings: map[string]string{"work_mem": "it's plenty"}})
	require.ErrorContains(t, err, `invalid value for parameter "work_mem": "it's plenty"`)
}

func TestStart_whenTheVersionDiffers(t *testing.T) {
	t.Parallel()

	opts := Options{Dir: testDir(t)}
	server := start(t, opts)
	require.NoError(t, server.Stop(t.Context()))
	require.NoError(t, os.WriteFile(filepath.Join(server.folder.data, "PG_VERSION"), []byte("9\n"), 0o600))

	_, err := Start(t.Context(), opts)
	require.ErrorContains(t, err, "was made by PostgreSQL 9")
}

// The server's user can't pass a folder that is root's alone.
func TestStart_whereTheServersUserCannotGo(t *testing.T) {
	t.Parallel()

	private := testDir(t)
	require.NoError(t, os.Chmod(private, 0o700))
	dir := filepath.Join(private, "database")

	var logged bytes.Buffer
	opts := Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	server := start(t, opts)
	if os.Geteuid() != 0 {
		require.Equal(t, dir, server.Dir())
		return
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(server.Dir())) })

	require.Equal(t, "/var/tmp", filepath.Dir(server.Dir()))
	require.Equal(t, 1, strings.Count(logged.String(), server.Dir()))
	require.EqualValues(t, 1, query[int32](t, server.DSN("postgres"), "SELECT 1"))

	require.NoError(t, server.Stop(t.Context()))
	require.Equal(t, server.Dir(), start(t, opts).Dir(), "the data is found again")
}

func TestStart_whereASocketsPathWouldBeTooLong(t *testing.T) {
	t.Parallel()

	server := start(t, Options{Dir: filepath.Join(testDir(t), strings.Repeat("long", 25), "it's \"quoted\", with blanks\\")})
	require.EqualValues(t, 1, query[int32](t, server.DSN("postgres"), "SELECT 1"))

	require.NoError(t, server.Stop(t.Context()))
	require.NoDirExists(t, server.folder.socketDir)
}

func TestKill_keepsWhatWasCommitted(t *testing.T) {
	t.Parallel()

	server := start(t, Options{Fsync: true})
	pid, dsn := server.PID(), server.DSN("postgres")
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 42 AS n")
	require.NoError(t, err)

	require.NoError(t, server.Kill())
	require.Zero(t, server.PID())
	require.False(t, alive(pid))
	_, err = conn.Exec(t.Context(), "SELECT 1")
	require.Error(t, err)
	require.Error(t, server.Kill(), "it does not run")

	require.NoError(t, server.Restart(t.Context()))
	require.NotEqual(t, pid, server.PID())
	require.Equal(t, dsn, server.DSN("postgres"))
	require.EqualValues(t, 42, query[int32](t, dsn, "SELECT n FROM kept"))
	require.ErrorContains(t, server.Restart(t.Context()), "runs")
}

func TestDSN_goesOverTheSocket(t *testing.T) {
	t.Parallel()

	server := start(t, Options{})

	require.True(t, query[bool](t, server.DSN("postgres"), "SELECT inet_server_addr() IS NULL"))
	info, err := os.Stat(server.folder.socketDir)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, info.Mode().Perm(), "nobody else's business")
}

func TestTCPDSN_needsThePassword(t *testing.T) {
	t.Parallel()

	server := start(t, Options{})
	dsn := server.TCPDSN("postgres")

	require.Equal(t, "127.0.0.1/32", query[string](t, dsn, "SELECT inet_server_addr()::text"))
	require.ErrorContains(t, execute(t.Context(), strings.Replace(dsn, server.folder.readPassword(), "guess", 1), "SELECT 1"),
		"password authentication failed")
}

func TestSettings(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		name, setting, want string
		opts                Options
	}{
		{"enough connections", "max_connections", "200", Options{}},
		{"fast for tests", "synchronous_commit", "off", Options{}},
		{"durable when asked", "synchronous_commit", "on", Options{Fsync: true}},
		{"really durable", "fsync", "on", Options{Fsync: true}},
		{"ours give way", "max_connections", "20", Options{Settings: map[string]string{"max_connections": "20"}}},
		{"any other", "application_name", `it's a \ test`, Options{Settings: map[string]string{"application_name": `it's a \ test`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, query[string](t, start(t, c.opts).DSN("postgres"), "SELECT current_setting('"+c.setting+"')"))
		})
	}
}

// Ctrl-C in a terminal reaches the whole process group, and the database must outlive those who use it.
func TestServer_hasAProcessGroupOfItsOwn(t *testing.T) {
	t.Parallel()

	group, err := syscall.Getpgid(start(t, Options{}).PID())
	require.NoError(t, err)
	require.NotEqual(t, syscall.Getpgrp(), group)
}

func TestSweep_removesWhatKilledProcessesLeft(t *testing.T) {
	t.Parallel()

	parent := tempParents(false)[0]
	hourAgo := time.Now().Add(-time.Hour)
	make := func() string {
		dir, err := os.MkdirTemp(parent, tempPrefix)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		return dir
	}

	left := make()
	require.NoError(t, os.Chtimes(left, hourAgo, hourAgo))
	fresh := make()
	used := start(t, Options{})
	require.NoError(t, os.Chtimes(used.Dir(), hourAgo, hourAgo))

	sweepTempFolders(t.Context())

	require.NoDirExists(t, left)
	require.DirExists(t, fresh)
	require.DirExists(t, used.Dir())
}

func TestFindBinaries(t *testing.T) {
	t.Parallel()

	dir, err := FindBinaries()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "initdb"))
	require.FileExists(t, filepath.Join(dir, "postgres"))
}

func TestVersionInPath(t *testing.T) {
	t.Parallel()

	require.Equal(t, 15, versionInPath("/usr/lib/postgresql/15/bin"))
	require.Equal(t, 17, versionInPath("/opt/homebrew/opt/postgresql@17/bin"))
	require.Zero(t, versionInPath("/opt/homebrew/opt/postgresql/bin"))
}
