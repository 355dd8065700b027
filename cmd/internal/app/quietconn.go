package app

import "net"

// quietListener accepts connections on which nobody watches for a client that leaves while it is being answered.
//
// net/http reads one byte ahead on a second goroutine while a handler runs, to cancel the request's context when the client
// hangs up: a goroutine, a system call, two deadlines and two switches a request, a tenth of what a webhook costs. A webhook
// has no use for it: what was handed to the inbox is committed whoever listens (docs/decisions/0014).
type quietListener struct{ *net.TCPListener }

// Accept waits for the next connection.
func (l quietListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &quietConn{TCPConn: c}, nil
}

// quietConn answers a read of one byte with none, which ends net/http's read ahead. Only the first of a row: a buffer that
// has room for one byte more is read into by the second.
type quietConn struct {
	*net.TCPConn
	skipped bool // reads of a connection are one after another, on whichever goroutine
}

// Read reads into p.
func (c *quietConn) Read(p []byte) (int, error) {
	if len(p) == 1 && !c.skipped {
		c.skipped = true
		return 0, nil
	}
	c.skipped = false
	return c.TCPConn.Read(p)
}
