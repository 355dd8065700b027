package plainhttp

import (
	"errors"
	"net"
	"net/http"
	"sync"
)

// handedOver is the listener from which net/http gets the connections that are not plain.
type handedOver struct {
	addr  net.Addr
	conns chan net.Conn
	close func()
	done  chan struct{}
}

func newHandedOver(addr net.Addr) *handedOver {
	l := &handedOver{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

// Accept waits for the next connection.
func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *handedOver) Close() error {
	l.close()
	return nil
}

// Addr is the address that the connections were made to.
func (l *handedOver) Addr() net.Addr { return l.addr }

// handOver gives a connection to net/http, with what was read of it.
func (s *Server) handOver(c *conn) {
	s.forget(c)
	_ = c.tcp.SetDeadline(noDeadline)
	select {
	case s.rest.conns <- &quietConn{TCPConn: c.tcp, begun: c.in}:
	case <-s.rest.done:
		_ = c.tcp.Close()
	}
}

// serveRest has net/http serve what is handed over.
func (s *Server) serveRest() {
	if err := s.http.Serve(s.rest); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.logger.Error("serve", "error", err)
	}
}

// quietConn is a connection on which nobody watches for a client that leaves while it is being answered.
//
// net/http reads one byte ahead on a second goroutine while a handler runs, to cancel the request's context when the client
// hangs up. A webhook has no use for it: what was handed to the inbox is committed whoever listens (docs/decisions/0014).
// A read of one byte is answered with none, which ends the read ahead. Only the first of a row: a buffer that has room for
// one byte more is read into by the second.
type quietConn struct {
	*net.TCPConn
	begun   []byte // what was read before net/http had it
	skipped bool   // reads of a connection are one after another, on whichever goroutine
}

// Read reads into p.
func (c *quietConn) Read(p []byte) (int, error) {
	if len(p) == 1 && !c.skipped {
		c.skipped = true
		return 0, nil
	}
	c.skipped = false
	if len(c.begun) > 0 {
		n := copy(p, c.begun)
		if c.begun = c.begun[n:]; len(c.begun) == 0 {
			c.begun = nil
		}
		return n, nil
	}
	return c.TCPConn.Read(p)
}
