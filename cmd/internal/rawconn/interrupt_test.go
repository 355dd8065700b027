package rawconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/rawconn"
)

// computing is in the environment of the process that computes, with the address of the test that watches it.
const computing = "ONWARD_TEST_COMPUTE_FOR"

// A process on one Go processor, idle but for a timer, is woken by a raw read, and then computes until that timer was heard: it
// must be interrupted for it, also though no system call told the scheduler that there is something to watch over.
func TestOf_computingIsInterrupted(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	program := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestComputing$")
	program.Env = append(os.Environ(), computing+"="+l.Addr().String())
	program.Stdout, program.Stderr = os.Stderr, os.Stderr
	require.NoError(t, program.Start())
	c, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = c.Close() }()

	b := make([]byte, 1)
	for range 5 {
		_, err = io.ReadFull(c, b) // it is about to wait
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond) // and the monitor to sleep, or else the test is weaker
		_, err = c.Write(b)
		require.NoError(t, err)
	}
	require.NoError(t, c.Close())
	require.NoError(t, program.Wait())
}

// TestComputing is that process.
func TestComputing(t *testing.T) {
	watcher := os.Getenv(computing)
	if watcher == "" {
		t.Skip("part of TestOf_computingIsInterrupted")
	}
	runtime.GOMAXPROCS(1)
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", watcher)
	require.NoError(t, err)
	c := rawconn.Of(plain)
	var heard atomic.Int64
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			heard.Add(1)
		}
	}()
	b := make([]byte, 1)
	for {
		_, err = c.Write(b)
		require.NoError(t, err)
		if _, err = c.Read(b); errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		for before := heard.Load(); heard.Load() == before; { //nolint:revive // it computes
		}
	}
}
