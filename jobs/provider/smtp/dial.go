package smtp

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dial opens the connection of one send and ties it to the send's context, since
// go-mail looks at a context only while it dials: the deadline of ctx caps every
// deadline that go-mail sets, and a cancelled ctx closes the connection.
//
// dialCtx is go-mail's own, derived from ctx and shorter-lived.
func dial(ctx, dialCtx context.Context, network, addr string, mode TLSMode, config *tls.Config) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(dialCtx, network, addr)
	if err != nil {
		return nil, err
	}
	// Send always sets a deadline. The second on top lets ctx end first, so that
	// an error at that moment is named after it.
	limit, _ := ctx.Deadline()
	bound := &boundConn{Conn: conn, limit: limit.Add(time.Second)}
	bound.release = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if mode != TLSImplicit {
		return bound, nil
	}
	secure := tls.Client(bound, config)
	if err := secure.HandshakeContext(dialCtx); err != nil {
		_ = bound.Close()
		return nil, err
	}
	return secure, nil
}

type boundConn struct {
	net.Conn
	limit   time.Time
	release func() bool
}

func (c *boundConn) Close() error {
	c.release()
	return c.Conn.Close()
}

func (c *boundConn) SetDeadline(t time.Time) error     { return c.Conn.SetDeadline(c.capped(t)) }
func (c *boundConn) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.capped(t)) }

func (c *boundConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.capped(t)) }

func (c *boundConn) capped(t time.Time) time.Time {
	if t.IsZero() || t.After(c.limit) {
		return c.limit
	}
	return t
}
