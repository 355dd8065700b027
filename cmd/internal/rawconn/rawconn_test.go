package rawconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"onward/cmd/internal/rawconn"
)

// pair returns both ends of a connection.
func pair(ctx context.Context, network, address string) (a, b net.Conn, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = l.Close() }()
	if a, err = (&net.Dialer{}).DialContext(ctx, network, l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		_ = a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

func networks(t *testing.T) map[string]string {
	t.Helper()
	folder, err := os.MkdirTemp("", "raw") // short: a socket's name has 100 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(folder, "s")}
}

// open returns both ends of a connection, of which the first is raw.
func open(t *testing.T, network, address string) (raw, other net.Conn) {
	t.Helper()
	a, b, err := pair(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return rawconn.Of(a), b
}

// It behaves as net.Conn says.
func TestOf_isAConn(t *testing.T) {
	t.Parallel()
	for network, address := range networks(t) {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b, err := pair(context.Background(), network, address)
				if err != nil {
					return nil, nil, nil, err
				}
				return rawconn.Of(a), rawconn.Of(b), func() { _ = a.Close(); _ = b.Close() }, nil
			})
		})
	}
}

// What fills the socket waits for its reader, and all of it arrives.
func TestOf_moreThanASocketHolds(t *testing.T) {
	t.Parallel()
	for network, address := range networks(t) {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			raw, other := open(t, network, address)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
			written := make(chan error, 1)
			go func() {
				n, err := raw.Write(sent)
				if err == nil && n != len(sent) {
					err = io.ErrShortWrite
				}
				written <- errors.Join(err, raw.Close())
			}()
			got, err := io.ReadAll(other)
			require.NoError(t, err)
			require.NoError(t, <-written)
			require.True(t, bytes.Equal(sent, got))
		})
	}
}

func TestOf_errors(t *testing.T) {
	t.Parallel()
	for network, address := range networks(t) {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			raw, other := open(t, network, address)
			require.NoError(t, raw.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
			_, err := raw.Read(make([]byte, 1))
			var timeout net.Error
			require.ErrorAs(t, err, &timeout)
			require.True(t, timeout.Timeout(), err)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)

			// The deadline is over, the connection is not.
			require.NoError(t, raw.SetReadDeadline(time.Time{}))
			_, err = other.Write([]byte("more"))
			require.NoError(t, err)
			b := make([]byte, 10)
			n, err := raw.Read(b)
			require.NoError(t, err)
			require.Equal(t, "more", string(b[:n]))

			n, err = raw.Read(nil)
			require.NoError(t, err)
			require.Zero(t, n)

			require.NoError(t, other.Close())
			_, err = raw.Read(b)
			require.Equal(t, io.EOF, err)
			require.Eventually(t, func() bool {
				_, err = raw.Write([]byte("to nobody"))
				return err != nil
			}, 10*time.Second, time.Millisecond)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "write", op.Op)
			require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), err)

			require.NoError(t, raw.Close())
			_, err = raw.Read(b)
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = raw.Write(b)
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

// A read that waits ends with its connection.
func TestOf_closedMeanwhile(t *testing.T) {
	t.Parallel()
	for network, address := range networks(t) {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			raw, _ := open(t, network, address)
			ended := make(chan error, 1)
			go func() {
				_, err := raw.Read(make([]byte, 1))
				ended <- err
			}()
			time.Sleep(10 * time.Millisecond) // until it waits, mostly; one that begins later ends as well
			require.NoError(t, raw.Close())
			select {
			case err := <-ended:
				require.ErrorIs(t, err, net.ErrClosed)
			case <-time.After(10 * time.Second):
				require.Fail(t, "still waits")
			}
		})
	}
}

// What is no stream of the net package stays as it is.
func TestOf_others(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	require.Same(t, a, rawconn.Of(a))
}
