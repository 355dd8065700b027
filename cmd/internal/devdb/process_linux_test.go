package devdb

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestServer_stopsWhenItsOwnerIsKilled(t *testing.T) {
	t.Parallel()

	owner := startOwner(t, testDir(t), nil)
	require.True(t, running(owner.serverPID))

	require.NoError(t, owner.cmd.Process.Kill())
	require.Error(t, owner.cmd.Wait())

	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	require.NoError(t, waitUntil(ctx, func() bool { return !running(owner.serverPID) }))
}

func TestKill_leavesNoProcessAndNoMemory(t *testing.T) {
	t.Parallel()

	server := start(t, Options{Fsync: true})
	children, err := childrenOf(server.PID())
	require.NoError(t, err)
	require.NotEmpty(t, children)

	require.NoError(t, server.Kill())
	for _, pid := range children {
		require.False(t, running(pid))
	}

	file, err := readPIDFile(server.folder.data)
	require.NoError(t, err)
	_, err = unix.SysvShmCtl(file.sharedMemory, unix.IPC_STAT, &unix.SysvShmDesc{})
	require.NoError(t, err)

	require.NoError(t, server.Stop(t.Context()))
	_, err = unix.SysvShmCtl(file.sharedMemory, unix.IPC_STAT, &unix.SysvShmDesc{})
	require.ErrorIs(t, err, unix.EINVAL, "the shared memory is freed")
}

func TestIsServer(t *testing.T) {
	t.Parallel()

	server := start(t, Options{})
	require.True(t, isServer(server.PID(), server.folder.data))
	require.False(t, isServer(server.PID(), "/another/cluster"))
	require.False(t, isServer(os.Getpid(), server.folder.data))

	children, err := childrenOf(server.PID())
	require.NoError(t, err)
	require.NotEmpty(t, children)
	// For a moment after its fork a child still has the postmaster's command line.
	require.Eventually(t, func() bool { return !isServer(children[0], server.folder.data) }, 30*time.Second, time.Millisecond, "only the postmaster counts")
}
