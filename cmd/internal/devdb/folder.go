package devdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tempPrefix names the temporary folders, so that the ones of killed processes can be found.
	tempPrefix = "onward-devdb-"

	// maxSocketPath is what fits into sockaddr_un everywhere: 104 bytes on macOS, 108 on Linux, with a final zero.
	maxSocketPath = 103

	// maxLogSize is where the log starts anew. It is for people to look at, not for keeping.
	maxLogSize = 16 << 20
)

// folder is where a server lives.
type folder struct {
	root      string
	data      string
	socketDir string
	config    string
	log       string
	lock      string
	password  string
	temp      bool // remove root at the end
}

// openFolder settles which folder the server uses and which user owns it, and creates the folder.
func openFolder(ctx context.Context, opts Options, bins binaries) (folder, account, error) {
	if opts.Dir == "" {
		return openTempFolder(ctx, opts, bins)
	}

	root, err := makeDir(opts.Dir)
	if err != nil {
		return folder{}, account{}, err
	}

	owner, err := accountFor(filepath.Join(root, "data"))
	if err != nil {
		return folder{}, account{}, err
	}

	if !owner.canEnter(ctx, bins.postgres, root) {
		inaccessible := root
		root = filepath.Join("/var/tmp", "onward-"+hashOf(inaccessible))
		if err := makePrivateDir(root, 0o711); err != nil {
			return folder{}, account{}, err
		}
		if owner, err = accountFor(filepath.Join(root, "data")); err != nil {
			return folder{}, account{}, err
		}
		if !owner.canEnter(ctx, bins.postgres, root) {
			return folder{}, account{}, fmt.Errorf("devdb: user %s can run no server: it can't reach %s, or not %s", owner.name, root, bins.postgres)
		}
		opts.Logger.LogAttrs(ctx, slog.LevelInfo, "the database's user can't reach its folder, so the data is kept elsewhere",
			slog.String("user", owner.name), slog.String("dir", inaccessible), slog.String("used", root))
	}

	return newFolder(root), owner, nil
}

func openTempFolder(ctx context.Context, opts Options, bins binaries) (folder, account, error) {
	owner, err := accountFor("")
	if err != nil {
		return folder{}, account{}, err
	}

	for _, parent := range tempParents(opts.Fsync) {
		root, err := os.MkdirTemp(parent, tempPrefix)
		if err != nil {
			continue
		}
		if owner.credential != nil {
			err = os.Chmod(root, 0o711) // the server's user must pass through; what is inside is its own
		}
		if err == nil && owner.canEnter(ctx, bins.postgres, root) {
			f := newFolder(root)
			f.temp = true
			return f, owner, nil
		}
		_ = os.RemoveAll(root)
	}
	return folder{}, account{}, fmt.Errorf("devdb: no temporary folder for the database: neither %s nor /var/tmp will do for user %q", os.TempDir(), owner.name)
}

// tempParents returns where temporary folders may stand, best first. What need not be durable goes to memory where there
// is plenty: creating a database writes some three hundred files, which takes 15 ms there and up to 300 ms on a disk.
func tempParents(durable bool) []string {
	parents := []string{os.TempDir(), "/var/tmp"}
	if os.TempDir() == "/tmp" && !durable { // else $TMPDIR says where
		parents = append(memoryFolders(), parents...)
	}
	return parents
}

func newFolder(root string) folder {
	f := folder{
		root:      root,
		data:      filepath.Join(root, "data"),
		socketDir: filepath.Join(root, "run"),
		config:    filepath.Join(root, "postgresql.conf"),
		log:       filepath.Join(root, "postgres.log"),
		lock:      filepath.Join(root, "lock"),
		password:  filepath.Join(root, "password"),
	}
	if len(filepath.Join(f.socketDir, ".s.PGSQL.65535")) > maxSocketPath {
		f.socketDir = filepath.Join("/tmp", "onward-"+hashOf(root))
	}
	return f
}

// makeDir creates dir and returns its one true path, so that two names of one folder give one lock and one stand-in.
func makeDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("devdb: %w", err)
	}

	if _, err := os.Stat(abs); os.IsNotExist(err) {
		if err := os.MkdirAll(abs, 0o755); err != nil {
			return "", fmt.Errorf("devdb: create the database's folder: %w", err)
		}
		// A strict umask would shut out the server's user when that is another one; what is inside is protected by itself.
		if os.Geteuid() == 0 {
			if err := os.Chmod(abs, 0o755); err != nil {
				return "", fmt.Errorf("devdb: create the database's folder: %w", err)
			}
		}
	}

	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("devdb: %w", err)
	}
	return real, nil
}

// makePrivateDir creates a folder with a name that others can guess, in a place where others can write, and refuses one
// that somebody else has put there.
func makePrivateDir(path string, mode os.FileMode) error {
	err := os.Mkdir(path, mode)
	if err == nil {
		return os.Chmod(path, mode) // whatever the umask
	}
	if !os.IsExist(err) {
		return fmt.Errorf("devdb: %w", err)
	}

	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if uid, ok := ownerOf(path); !ok || uid != os.Geteuid() || !info.IsDir() {
		return fmt.Errorf("devdb: %s is not a folder of ours: remove it", path)
	}
	return nil
}

// hashOf names a folder that stands in for another.
func hashOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:6])
}

// acquireLock makes this process the owner of a folder. The lock ends with the process, however it ends.
func acquireLock(f folder) (*os.File, error) {
	if uid, ok := ownerOf(f.data); ok && os.Geteuid() != 0 && uid != os.Geteuid() {
		return nil, fmt.Errorf("devdb: %s belongs to another user (%d): run as that user or as root, or choose another folder", f.data, uid)
	}

	file, err := os.OpenFile(f.lock, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("devdb: lock the database's folder: %w", err)
	}

	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(file)
		_ = file.Close()
		return nil, fmt.Errorf("devdb: %s is in use by another process (%s): stop that one first, or choose another folder",
			f.root, strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("devdb: lock %s: %w", f.root, err)
	}
	return file, nil
}

// releaseLock gives a folder back. To close the file is not enough: a process that is just being started elsewhere in this
// program holds a copy of it until it becomes its own program.
func releaseLock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("devdb: release the lock: %w", err)
	}
	return nil
}

// prepareRuntime makes what a server needs beside its data: a folder for the socket, and a log of bearable size.
func (f folder) prepareRuntime(owner account) error {
	// Sockets of killed servers would name their processes, whose ids may be others' by now.
	if err := os.RemoveAll(f.socketDir); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := makePrivateDir(f.socketDir, 0o700); err != nil {
		return err
	}
	if err := owner.own(f.socketDir); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}

	if info, err := os.Stat(f.log); err == nil && info.Size() > maxLogSize {
		if err := os.Truncate(f.log, 0); err != nil {
			return fmt.Errorf("devdb: %w", err)
		}
	}
	return nil
}

// openLog opens the log for appending. The server inherits it open, so its user needs no right to it.
func (f folder) openLog() (*os.File, error) {
	file, err := os.OpenFile(f.log, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("devdb: open the server's log: %w", err)
	}
	return file, nil
}

func readFrom(path string, offset int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()

	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(file)
}

// createPassword writes a new password for the superuser, readable by the server's user, since initdb reads it there.
func (f folder) createPassword(owner account) error {
	if err := os.WriteFile(f.password, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	if err := owner.own(f.password); err != nil {
		return fmt.Errorf("devdb: %w", err)
	}
	return nil
}

// readPassword returns the superuser's password, or an empty one when the file is gone, which the server will refuse.
func (f folder) readPassword() string {
	content, _ := os.ReadFile(f.password)
	return strings.TrimSpace(string(content))
}

// remove deletes what must not outlive the server.
func (f folder) remove() error {
	err := os.RemoveAll(f.socketDir)
	if f.temp {
		// A server that was killed leaves its pid file, and only a later server of this cluster would free the memory that
		// the file names.
		if file, readErr := readPIDFile(f.data); readErr == nil && file.sharedMemory != 0 {
			if _, freeErr := unix.SysvShmCtl(file.sharedMemory, unix.IPC_RMID, nil); !errors.Is(freeErr, unix.EINVAL) { // gone
				err = errors.Join(err, freeErr)
			}
		}
		err = errors.Join(err, os.RemoveAll(f.root))
	}
	if err != nil {
		return fmt.Errorf("devdb: clean up: %w", err)
	}
	return nil
}

// sweepTempFolders removes the temporary folders of processes that were killed, such as tests that ran into their
// time-out. Whatever can't be removed is left for the next time.
func sweepTempFolders(ctx context.Context) {
	// Younger ones may belong to a Start that has not taken its lock yet.
	const grace = time.Minute

	for _, parent := range tempParents(false) {
		roots, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
		for _, root := range roots {
			info, err := os.Lstat(root)
			if uid, ok := ownerOf(root); err != nil || !ok || uid != os.Geteuid() || time.Since(info.ModTime()) < grace {
				continue
			}
			f := newFolder(root)
			f.temp = true
			lock, err := acquireLock(f)
			if err != nil {
				continue
			}
			if stopLeftover(ctx, f.data, slog.New(slog.DiscardHandler)) == nil {
				_ = f.remove()
			}
			_ = releaseLock(lock)
		}
	}
}
