package devdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a postmaster that this process started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the postmaster is gone and reaped
	err  error         // how it ended; valid once done is closed
}

// startProcess starts cmd and reaps it when it ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)

	go func() {
		defer close(p.done)

		// On Linux the server is told of the death of the thread that started it, not of the process. So the thread must
		// live as long as the server, and only a goroutine that is locked to it can promise that.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil

		p.err = cmd.Wait()
	}()

	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// waitReady returns once the postmaster has written into its pid file that it accepts connections.
func (p *process) waitReady(ctx context.Context, data string) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()

	for {
		if file, err := readPIDFile(data); err == nil && file.pid == p.pid() && file.ready {
			return nil
		}

		select {
		case <-p.done:
			return fmt.Errorf("it ended: %w", p.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
}

// pidFile is what a postmaster says about itself in postmaster.pid.
type pidFile struct {
	pid          int
	ready        bool
	sharedMemory int // id of the System V segment that guards the cluster; 0 until it is known
}

func pidFilePath(data string) string { return filepath.Join(data, "postmaster.pid") }

func readPIDFile(data string) (pidFile, error) {
	content, err := os.ReadFile(pidFilePath(data))
	if err != nil {
		return pidFile{}, err
	}

	// The order of the lines is PostgreSQL's (miscadmin.h, LOCK_FILE_LINE_*). They are written one after the other.
	const pidLine, sharedMemoryLine, statusLine, count = 0, 6, 7, 8

	lines := append(strings.Split(string(content), "\n"), make([]string, count)...)
	var file pidFile

	file.pid, err = strconv.Atoi(strings.TrimSpace(lines[pidLine]))
	if err != nil {
		return pidFile{}, fmt.Errorf("first line of %s: %w", pidFilePath(data), err)
	}
	if keyAndID := strings.Fields(lines[sharedMemoryLine]); len(keyAndID) == 2 {
		file.sharedMemory, _ = strconv.Atoi(keyAndID[1]) // 0 when it is no number
	}
	file.ready = strings.TrimSpace(lines[statusLine]) == "ready"
	return file, nil
}

// alive reports whether a process with that id exists, whoever owns it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// signal sends sig to a process that need not be a child, and need not exist any more.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", sig, pid, err)
	}
	return nil
}

// waitUntil polls until done reports true or ctx ends.
func waitUntil(ctx context.Context, done func() bool) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()

	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
	return nil
}
