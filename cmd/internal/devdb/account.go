package devdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that the server runs as. The zero value is the user who runs this process.
type account struct {
	name       string
	credential *syscall.Credential
}

// accountFor returns the account for the cluster in data, which need not exist. PostgreSQL refuses to run as root, so
// root hands it to whom the cluster belongs, and a new one to user postgres, else nobody.
func accountFor(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}

	if uid, ok := ownerOf(data); ok && uid != 0 {
		owner, err := user.LookupId(strconv.Itoa(uid))
		if err != nil {
			return account{}, fmt.Errorf("devdb: owner of %s: %w", data, err)
		}
		return newAccount(owner)
	}

	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return newAccount(u)
		}
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody: run as an ordinary user")
}

func newAccount(u *user.User) (account, error) {
	groups, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("devdb: groups of user %s: %w", u.Username, err)
	}

	credential := &syscall.Credential{}
	for _, id := range []struct {
		text string
		to   *uint32
	}{{u.Uid, &credential.Uid}, {u.Gid, &credential.Gid}} {
		if *id.to, err = parseID(id.text); err != nil {
			return account{}, err
		}
	}
	for _, group := range groups {
		gid, err := parseID(group)
		if err != nil {
			return account{}, err
		}
		credential.Groups = append(credential.Groups, gid)
	}
	return account{name: u.Username, credential: credential}, nil
}

func parseID(s string) (uint32, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("devdb: user or group id: %w", err)
	}
	return uint32(id), nil
}

// command makes cmd run as the account, in a folder that it can enter and with nothing of this process's environment:
// settings of somebody else's PostgreSQL (PGPORT, PGOPTIONS) must not reach ours.
func (a account) command(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin"}
	if a.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	}
	return cmd
}

// own gives a file or folder to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// canEnter reports whether the account can reach a folder. It asks the kernel by going there, since what decides is more
// than the permission bits of the folder and of all above it.
func (a account) canEnter(ctx context.Context, program, dir string) bool {
	if a.credential == nil {
		return true
	}
	cmd := a.command(exec.CommandContext(ctx, program, "--version"))
	cmd.Dir = dir
	return cmd.Run() == nil
}

// ownerOf returns the user id that a file or folder belongs to; it does not follow a link.
func ownerOf(path string) (uid int, ok bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
