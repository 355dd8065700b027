package devdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// stopWithParent makes the kernel ask the server for a fast shutdown when this process dies. The server gets a process
// group of its own, since Ctrl-C in a terminal goes to the whole group, and the database must outlive those who use it.
func stopWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
}

// isServer reports whether pid is the postmaster of the cluster in data. A zombie has no command line, so it is none.
func isServer(pid int, data string) bool {
	cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := bytes.Split(cmdline, []byte{0})
	return filepath.Base(string(args[0])) == "postgres" &&
		slices.ContainsFunc(args[1:], func(arg []byte) bool { return string(arg) == data })
}

// killServer kills a postmaster and its children and waits until they are gone. All of them must go at the same moment:
// a child that finds its postmaster dead first would say so to its client.
func killServer(postmaster int) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), stopTimeout, fmt.Errorf("killed processes still there after %s", stopTimeout))
	defer cancel()

	// Stopped, it can't start another child between the look and the kill.
	errs := []error{
		signal(postmaster, syscall.SIGSTOP),
		waitUntil(ctx, func() bool { return !running(postmaster) || stopped(postmaster) }),
	}
	children, err := childrenOf(postmaster)
	errs = append(errs, err)

	all := append(children, postmaster)
	for _, pid := range all {
		errs = append(errs, signal(pid, syscall.SIGKILL))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}

	return waitUntil(ctx, func() bool { return !slices.ContainsFunc(all, running) })
}

// childrenOf lists the processes whose parent is the given one.
func childrenOf(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}

	var children []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if stat, ok := readStat(pid); ok && stat.parent == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}

// running reports whether a process still holds memory and files; a zombie does not.
func running(pid int) bool {
	stat, ok := readStat(pid)
	return ok && stat.state != 'Z' && stat.state != 'X'
}

func stopped(pid int) bool {
	stat, ok := readStat(pid)
	return ok && stat.state == 'T'
}

type procStat struct {
	state  byte
	parent int
}

// readStat reads /proc/PID/stat, which, unlike most of /proc, everybody may read, also in a container without
// CAP_SYS_PTRACE.
func readStat(pid int) (procStat, bool) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return procStat{}, false
	}
	// "PID (COMMAND) STATE PARENT …", where COMMAND may hold blanks and brackets.
	_, rest, ok := bytes.Cut(content[max(bytes.LastIndexByte(content, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 2 {
		return procStat{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return procStat{state: fields[0][0], parent: parent}, err == nil
}

// memoryFolders returns /dev/shm when there is room for a few servers. In a container it often has 64 MiB.
func memoryFolders() []string {
	const dir, enough = "/dev/shm", 2 << 30

	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < enough {
		return nil
	}
	return []string{dir}
}
