//go:build !linux

package devdb

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// stopWithParent gives the server a process group of its own, since Ctrl-C in a terminal goes to the whole group. No
// system but Linux tells a process of its parent's death: here a server whose owner was killed runs on until the next
// Start on its folder.
func stopWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// isServer reports whether pid is the postmaster of the cluster in data.
func isServer(pid int, data string) bool {
	command, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "command=").Output()
	if err != nil {
		return false
	}
	return strings.Contains(string(command), "postgres -D "+data)
}

// killServer makes a postmaster end all its children and itself at once, without a checkpoint.
func killServer(postmaster int) error {
	if err := signal(postmaster, syscall.SIGQUIT); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeoutCause(context.Background(), stopTimeout, fmt.Errorf("still there after %s", stopTimeout))
	defer cancel()

	// A child of ours stays as a zombie until startProcess reaps it, which it does at once.
	return waitUntil(ctx, func() bool { return !alive(postmaster) })
}

// memoryFolders returns no folder: none can be counted on.
func memoryFolders() []string { return nil }
