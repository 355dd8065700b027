package providersim

import (
	"net"
	"sync"
)

// trackedListener closes its open connections along with itself, because
// go-smtp's Shutdown waits for clients to leave and its Close does not wait at
// all.
type trackedListener struct {
	net.Listener
	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]bool
}

type trackedConn struct {
	net.Conn
	listener *trackedListener
}

func newTrackedListener(l net.Listener) *trackedListener {
	return &trackedListener{Listener: l, conns: map[*trackedConn]bool{}}
}

// Accept implements net.Listener.
func (l *trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tracked := &trackedConn{Conn: conn, listener: l}
	if l.closed {
		_ = conn.Close() // its handler finds out
		return tracked, nil
	}
	l.conns[tracked] = true
	return tracked, nil
}

// Close implements net.Listener. Only its first call does anything.
func (l *trackedListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	err := l.Listener.Close()
	for conn := range l.conns {
		_ = conn.Conn.Close()
	}
	return err
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
