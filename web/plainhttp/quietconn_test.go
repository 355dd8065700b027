package plainhttp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// quietListener has net/http serve quiet connections from their first byte on.
type quietListener struct{ *net.TCPListener }

func (l quietListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &quietConn{TCPConn: c}, nil
}

// serveQuietly serves on a quietListener and returns its address.
func serveQuietly(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(quietListener{ln.(*net.TCPListener)}) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx), "connections that wait for a request are closed")
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return ln.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %d %s %v", r.Method, len(r.Header.Get("X-Long")), body, err)
}

func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn, bufio.NewReader(conn)
}

func answer(t *testing.T, from *bufio.Reader) string {
	t.Helper()
	res, err := http.ReadResponse(from, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	return string(body)
}

func post(long int, body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nX-Long: %s\r\nContent-Length: %d\r\n\r\n%s", strings.Repeat("x", long), len(body), body)
}

// Requests of one connection, one after another, whatever part of a buffer they fill: reads of the buffer's last byte are
// reads like any other.
func TestQuietConn_readsEveryRequest(t *testing.T) {
	t.Parallel()
	conn, from := dial(t, serveQuietly(t, echo))
	for long := range 96 {
		long += 4096 - 80 // net/http's buffer has 4,096 bytes: header and body end before it, at it and after it
		_, err := io.WriteString(conn, post(long, "body"))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("POST %d body <nil>", long), answer(t, from))
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, "GET 0  <nil>", answer(t, from))
	}
}

// A first line of which all but the buffer's last byte has come: the rest is read a byte at a time, too.
func TestQuietConn_readsIntoTheLastByte(t *testing.T) {
	t.Parallel()
	conn, from := dial(t, serveQuietly(t, echo))
	for range 3 {
		line := "GET /" + strings.Repeat("x", 4095-5) // of net/http's 4,096
		_, err := io.WriteString(conn, line)
		require.NoError(t, err)
		time.Sleep(50 * time.Millisecond) // so that the server reads it alone; if it does not, less is tested and nothing fails
		_, err = io.WriteString(conn, "xxx HTTP/1.1\r\nHost: h\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, "GET 0  <nil>", answer(t, from))
	}
}

// A request that comes in single bytes, and requests that come before the answer to the first.
func TestQuietConn_readsBytesAndPipelines(t *testing.T) {
	t.Parallel()
	conn, from := dial(t, serveQuietly(t, echo))
	for _, b := range []byte(post(1, "slow")) {
		_, err := conn.Write([]byte{b})
		require.NoError(t, err)
	}
	require.Equal(t, "POST 1 slow <nil>", answer(t, from))
	_, err := io.WriteString(conn, post(1, "one")+post(2, "two")+post(4_000, "three")+post(3, "four"))
	require.NoError(t, err)
	for _, want := range []string{"POST 1 one <nil>", "POST 2 two <nil>", "POST 4000 three <nil>", "POST 3 four <nil>"} {
		require.Equal(t, want, answer(t, from))
	}
}

// A body that never comes is still an error, and a client that leaves does not end what was begun for it.
func TestQuietConn_whoLeavesCancelsNothing(t *testing.T) {
	t.Parallel()
	type seen struct{ body, ctx error }
	began, left, told := make(chan struct{}, 1), make(chan struct{}), make(chan seen, 2)
	addr := serveQuietly(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		began <- struct{}{}
		<-left
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond): // net/http's read ahead would end it at once
		}
		told <- seen{err, r.Context().Err()}
	})
	conn, _ := dial(t, addr)
	_, err := io.WriteString(conn, post(1, "whole"))
	require.NoError(t, err)
	<-began
	require.NoError(t, conn.Close())
	close(left)
	require.Equal(t, seen{}, <-told)

	conn, _ = dial(t, addr)
	_, err = io.WriteString(conn, strings.TrimSuffix(post(1, "half"), "lf"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-began
	require.ErrorIs(t, (<-told).body, io.ErrUnexpectedEOF)
}
