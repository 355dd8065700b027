package plainhttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Handler answers a plain request. It must not keep the request.
type Handler func(ctx context.Context, r *Request) Answer

// Options configure a Server. HTTP is required.
type Options struct {
	// HTTP has the handler of every request without a route, and the time-outs of all; it serves what is not plain.
	HTTP *http.Server

	// Routes are paths whose plain POSTs are answered here. HTTP's handler must answer the others, those that are not plain.
	Routes map[string]Handler

	// Conn returns what a connection is read and written by; default: the connection itself. Deadlines and Close are the
	// connection's own, and so are the reads and writes of net/http.
	Conn func(net.Conn) net.Conn

	Logger *slog.Logger // default: discard
}

// Server serves one listener.
type Server struct {
	http   *http.Server
	routes map[string]Handler
	stream func(net.Conn) net.Conn
	logger *slog.Logger
	clock  clock

	listener net.Listener
	rest     *handedOver
	loops    sync.WaitGroup // accepting, and net/http
	stopping atomic.Bool

	mu      sync.Mutex
	conns   map[*conn]struct{}
	serving sync.WaitGroup // conns
}

// noDeadline is that of a connection without one.
var noDeadline time.Time

// New returns a server that serves once Start was called.
func New(o Options) (*Server, error) {
	switch {
	case o.HTTP == nil || o.HTTP.Handler == nil:
		return nil, errors.New("plainhttp: Options.HTTP or its Handler is missing")
	case o.HTTP.ReadHeaderTimeout <= 0 || o.HTTP.IdleTimeout <= 0 || o.HTTP.ReadTimeout <= 0 || o.HTTP.WriteTimeout <= 0:
		return nil, errors.New("plainhttp: a time-out of Options.HTTP is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Conn == nil {
		o.Conn = func(c net.Conn) net.Conn { return c }
	}
	s := &Server{http: o.HTTP, routes: o.Routes, stream: o.Conn, logger: o.Logger, conns: map[*conn]struct{}{}}
	return s, nil
}

// Start serves a listener until Shutdown.
func (s *Server) Start(l *net.TCPListener) {
	s.listener, s.rest = l, newHandedOver(l.Addr())
	s.loops.Go(func() { s.accept(l) })
	s.loops.Go(s.serveRest)
}

// accept begins connections. Where the process has no descriptors left it tries again, as net/http does.
func (s *Server) accept(l *net.TCPListener) {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		tcp, err := l.AcceptTCP()
		if err == nil {
			pause = 0
			s.begin(tcp)
			continue
		}
		if s.stopping.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), longest)
		s.logger.Warn("accept a connection", "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-s.rest.done:
			return
		}
	}
}

// begin serves a connection on a goroutine of its own.
func (s *Server) begin(tcp *net.TCPConn) {
	c := &conn{server: s, tcp: tcp, stream: s.stream(tcp), remote: tcp.RemoteAddr().String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		_ = tcp.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Go(func() {
		defer s.forget(c)
		defer func() {
			if p := recover(); p != nil {
				_ = c.tcp.Close()
				if p != http.ErrAbortHandler { //nolint:errorlint,err113 // compared as net/http does
					s.logger.Error("panic", "panic", p, "stack", string(debug.Stack()))
				}
			}
		}()
		c.serve()
	})
}

// forget takes a connection off the list: it ended, or is net/http's.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Shutdown takes no more connections and no more requests, and returns when those that had begun are answered. When ctx
// ends first, they are cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	_ = s.listener.Close()
	s.each(func(c *conn) {
		if c.state.CompareAndSwap(idle, closing) {
			_ = c.tcp.Close()
		}
	})
	served := make(chan struct{})
	go func() {
		s.serving.Wait() // before net/http stops: the last of them may be handed over
		close(served)
	}()
	var err error
	select {
	case <-served:
		err = s.http.Shutdown(ctx)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.each(func(c *conn) { _ = c.tcp.Close() }) // a handler that still runs finds that out when it answers
		err = errors.Join(err, s.http.Close())
	}
	_ = s.rest.Close()
	s.loops.Wait()
	return err
}

func (s *Server) each(do func(c *conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}
