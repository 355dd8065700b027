package plainhttp

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tell writes what was read of a request.
func tell(method, target, host string, header http.Header, body string) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s %s of %s\n", method, target, host)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		_, _ = fmt.Fprintf(&b, "%s: %q\n", name, header[name])
	}
	return b.String() + body
}

// pages answer in all the ways that the public listener's handlers do.
func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if len(body) > 100 { // net/http sends a long answer in chunks, and this package never
			body = fmt.Appendf(nil, "%d bytes, %x", len(body), sha256.Sum256(body))
		}
		if target := r.RequestURI; len(target) > 100 {
			r.RequestURI, r.Header = target[:100], nil
		}
		if len(r.Header.Get("X-A")) > 100 {
			r.Header.Del("X-A")
		}
		_, _ = io.WriteString(w, tell(r.Method, r.RequestURI, r.Host, r.Header, string(body)))
	})
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("X-Two", "1")
		w.Header().Add("X-Two", "2\r\nX-Three: 3")
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "<html>")
		_, _ = io.WriteString(w, "</html>")
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) })
	mux.HandleFunc("/last", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "bye")
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return mux
}

// A mux redirects "/a/../echo"; ours does not clean, and net/http does not for it.
func newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
}

// start serves until the test ends.
func start(t *testing.T, tune func(*Options)) (*Server, string) {
	t.Helper()
	o := Options{HTTP: newHTTP(pages())}
	if tune != nil {
		tune(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	s.Start(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s, l.Addr().String()
}

// reply is an answer without what differs from time to time.
type reply struct {
	status int
	header http.Header
	body   string
	err    string // of the connection
}

// ask sends bytes, all at once or in parts, and reads the answer to a request of this method, and whether the connection
// takes another request then.
func ask(t *testing.T, addr, raw string, parts int) (reply, bool) {
	t.Helper()
	c, from := dial(t, addr)
	defer func() { _ = c.Close() }()
	for part := range slices.Chunk([]byte(raw), max(len(raw)/parts, 1)) {
		if _, err := c.Write(part); err != nil {
			break // answered before it was whole
		}
	}
	endless := strings.Contains(raw, "999999") || strings.Contains(raw, "chunked") && !strings.HasSuffix(raw, "0\r\n\r\n")
	if endless || !strings.Contains(raw, "\n\r\n") && !strings.Contains(raw, "\n\n") {
		require.NoError(t, c.(*net.TCPConn).CloseWrite()) // else the server waits for the rest
	}
	method, _, _ := strings.Cut(raw, " ")
	res, err := http.ReadResponse(from, &http.Request{Method: method})
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(from, &http.Request{Method: method})
	}
	if err != nil {
		return reply{err: "none"}, false
	}
	body, err := io.ReadAll(res.Body)
	if !res.Close { // a server that closes with bytes unread resets
		require.NoError(t, err)
	}
	require.NoError(t, res.Body.Close())
	_, err = http.ParseTime(res.Header.Get("Date"))
	if res.StatusCode != http.StatusBadRequest {
		require.NoError(t, err)
	}
	res.Header.Del("Date")
	r := reply{status: res.StatusCode, header: res.Header, body: string(body)}
	if _, err := io.WriteString(c, aCallback); err != nil {
		return r, false
	}
	_ = c.(*net.TCPConn).CloseWrite() // where the first request is not over for the server, it is now
	next, err := http.ReadResponse(from, nil)
	if err != nil {
		return r, false
	}
	require.NoError(t, next.Body.Close())
	return r, true
}

// Whatever comes, and in whichever pieces, is answered as net/http alone answers it.
func TestServer_answersAsNetHTTP(t *testing.T) {
	t.Parallel()
	reference := newHTTP(pages())
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- reference.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, reference.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	_, addr := start(t, nil)

	for _, list := range []map[string]string{oddRequests(), plainRequests()} {
		for name, raw := range list {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				want, kept := ask(t, l.Addr().String(), raw, 1)
				for _, parts := range []int{1, 2, 7} {
					got, open := ask(t, addr, raw, parts)
					require.Equal(t, want, got, "in %d parts", parts)
					require.Equal(t, kept, open, "in %d parts", parts)
				}
			})
		}
	}
	got, open := ask(t, addr, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n", 1)
	require.Equal(t, reply{err: "none"}, got)
	require.False(t, open)
}

// A route has plain POSTs to its path; what is not plain, and other methods, have the handler.
func TestServer_routes(t *testing.T) {
	t.Parallel()
	_, addr := start(t, func(o *Options) {
		o.Routes = map[string]Handler{"/echo": func(_ context.Context, r *Request) Answer {
			return Answer{
				Status: http.StatusAccepted, Header: []Field{{"X-Route", "1\n2"}, {"Content-Type", "text/plain"}},
				Body: r.Method + " " + r.Query + " " + r.Header.Get("X-A") + " " + string(r.Body),
			}
		}}
	})
	plain := "POST /echo?q HTTP/1.1\r\nHost: h\r\nx-a: 1\r\nContent-Length: 4\r\n\r\nbody"
	for _, parts := range []int{1, 2, 7} {
		got, open := ask(t, addr, plain, parts)
		if parts > 1 && got.status == http.StatusOK {
			continue // the head itself was read in parts: net/http's
		}
		require.Equal(t, reply{
			status: http.StatusAccepted, body: "POST q 1 body",
			header: http.Header{"X-Route": {"1 2"}, "Content-Type": {"text/plain"}, "Content-Length": {"13"}},
		}, got)
		require.True(t, open)
	}
	for _, raw := range []string{"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", strings.Replace(plain, "?q", "?", 1)} {
		got, open := ask(t, addr, raw, 1)
		require.Equal(t, http.StatusOK, got.status)
		require.True(t, open)
	}
}

// Requests that come before the answers to those before them are answered in their order, plain ones and others.
func TestServer_pipelines(t *testing.T) {
	t.Parallel()
	_, addr := start(t, nil)
	c, from := dial(t, addr)
	var all strings.Builder
	for n := range 20 {
		body := strings.Repeat("x", n*100)
		_, _ = fmt.Fprintf(&all, "POST /echo?n=%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", n, len(body), body)
	}
	all.WriteString("POST /echo?n=20 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n")
	all.WriteString("POST /echo?n=21 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
	wrote := make(chan error, 1)
	go func() { _, err := io.WriteString(c, all.String()); wrote <- err }()
	for n := range 22 {
		require.True(t, strings.HasPrefix(answer(t, from), fmt.Sprintf("POST /echo?n=%d of h\n", n)), n)
	}
	require.NoError(t, <-wrote)
}

// What a stop finds: a connection that waits for nothing is closed at once, a request that has begun is answered.
func TestServer_stops(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}, 2), make(chan struct{})
	wait := func() { began <- struct{}{}; <-goOn }
	s, addr := start(t, func(o *Options) {
		o.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				wait()
			}
			_, _ = io.WriteString(w, "late")
		})
		o.Routes = map[string]Handler{"/route": func(context.Context, *Request) Answer { wait(); return Answer{Body: "late"} }}
	})
	idleConn, fromIdle := dial(t, addr)
	_, err := io.WriteString(idleConn, "GET /soon HTTP/1.1\r\nHost: h\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, "late", answer(t, fromIdle))
	var busy []*bufio.Reader
	for _, raw := range []string{"POST /route HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"} {
		c, from := dial(t, addr)
		_, err := io.WriteString(c, raw)
		require.NoError(t, err)
		busy = append(busy, from)
		<-began
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	_, err = (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", addr)
	for err == nil {
		_, err = (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", addr)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with two requests under way: %v", err)
	default:
	}
	close(goOn)
	for _, from := range busy {
		res, err := http.ReadResponse(from, nil)
		require.NoError(t, err)
		require.True(t, res.Close)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "late", string(body))
		require.NoError(t, res.Body.Close())
		_, err = from.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	}
	_, err = fromIdle.ReadByte()
	require.Error(t, err)
	require.NoError(t, <-stopped)
}

// A stop that may not wait cuts off what has begun, and says so.
func TestServer_stopsWithoutPatience(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	s, addr := start(t, func(o *Options) {
		o.Routes = map[string]Handler{"/route": func(context.Context, *Request) Answer { close(began); <-goOn; return Answer{} }}
	})
	c, from := dial(t, addr)
	_, err := io.WriteString(c, "POST /route HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	require.NoError(t, err)
	<-began
	oops := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(oops)
	require.ErrorIs(t, s.Shutdown(ctx), oops)
	_, err = from.ReadByte()
	require.Error(t, err)
	close(goOn)
}

// A connection that nothing comes over is closed: soon before its first request, later between two.
func TestServer_timesOut(t *testing.T) {
	t.Parallel()
	_, addr := start(t, func(o *Options) {
		o.HTTP.ReadHeaderTimeout, o.HTTP.ReadTimeout, o.HTTP.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond, 200*time.Millisecond
	})
	for name, raw := range map[string]string{
		"before the first": "", "a head that does not end": "GET /ec", "a body that does not come": strings.TrimSuffix(aCallback, "1"), "after one": aCallback,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, from := dial(t, addr)
			_, err := io.WriteString(c, raw)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, from) // until the server closes; the test's own time-out is 20 s
			require.NoError(t, err)
		})
	}
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no server":    {},
		"no handler":   {HTTP: newHTTP(nil)},
		"no time-outs": {HTTP: &http.Server{Handler: pages()}},
	} {
		_, err := New(o)
		require.Error(t, err, name)
	}
}
