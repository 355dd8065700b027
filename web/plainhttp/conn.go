package plainhttp

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// The states of a connection.
const (
	idle    int32 = iota // between requests, where a stop may close it
	busy                 // a request has begun
	closing              // a stop has closed it
)

// conn is a connection that has sent plain requests so far.
type conn struct {
	server *Server
	tcp    *net.TCPConn
	stream net.Conn // tcp, to read from and write to
	remote string
	state  atomic.Int32

	in  []byte // what came and is not answered yet
	out []byte
	req Request

	// Deadlines are a lock and a timer each, so they are set well before they are due, and not for each request.
	readBy, writeBy time.Time
}

// serve answers requests until the connection ends, or is net/http's.
func (c *conn) serve() {
	c.in = make([]byte, 0, firstBuffer)
	for {
		if len(c.in) == 0 && !c.await() {
			return
		}
		size, v := c.req.parse(c.in)
		if v == unfinished && !c.read(size) || v == odd {
			c.server.handOver(c)
			return
		}
		c.req.Body = bytes.Clone(c.in[size-c.req.length : size])
		last, err := c.answer(context.Background())
		if err != nil || last {
			_ = c.tcp.Close()
			return
		}
		c.in = append(c.in[:0], c.in[size:]...) // a pipelined one may have come with it
	}
}

// await waits for a request to begin; false ends the connection.
func (c *conn) await() bool {
	if cap(c.in) > firstBuffer {
		c.in = make([]byte, 0, firstBuffer) // a longer one is rare, and idle connections are many
	}
	patience := c.server.http.IdleTimeout
	if c.readBy.IsZero() {
		patience = c.server.http.ReadHeaderTimeout // of a connection's first request
	}
	if now := time.Now(); c.readBy.Sub(now) < patience*3/4 {
		c.readBy = now.Add(patience)
		_ = c.tcp.SetReadDeadline(c.readBy)
	}
	c.state.Store(idle)
	if c.server.stopping.Load() {
		_ = c.tcp.Close()
		return false
	}
	n, err := c.stream.Read(c.in[:firstBuffer])
	if !c.state.CompareAndSwap(idle, busy) {
		return false // closed by a stop: nothing of it was looked at
	}
	if n == 0 || err != nil {
		_ = c.tcp.Close()
		return false
	}
	c.in = c.in[:n]
	return true
}

// read reads the rest of a request of this size. Where that fails, what came is net/http's to judge.
func (c *conn) read(size int) bool {
	if size > cap(c.in) {
		c.in = append(make([]byte, 0, size), c.in...)
	}
	have := len(c.in)
	c.readBy = time.Now().Add(c.server.http.ReadTimeout)
	_ = c.tcp.SetReadDeadline(c.readBy)
	n, err := io.ReadAtLeast(c.stream, c.in[have:cap(c.in)], size-have)
	c.in = c.in[:have+n]
	return err == nil
}

// answer has the request answered and sends that. Its context does not end with the connection (docs/decisions/0014).
func (c *conn) answer(ctx context.Context) (last bool, err error) {
	if route := c.server.routes[c.req.Path]; route != nil && c.req.Method == http.MethodPost {
		a := route(ctx, &c.req)
		last = c.server.stopping.Load()
		c.out = a.appendTo(c.out[:0], c.server.clock.date(time.Now()), last)
	} else {
		w := &response{header: http.Header{}}
		c.server.http.Handler.ServeHTTP(w, c.request(ctx))
		if c.server.stopping.Load() {
			w.header.Set("Connection", "close")
		}
		c.out, last = w.appendTo(c.out[:0], c.req.Method, c.server.clock.date(time.Now()))
	}
	if now, patience := time.Now(), c.server.http.WriteTimeout; c.writeBy.Sub(now) < patience/2 {
		c.writeBy = now.Add(patience)
		_ = c.tcp.SetWriteDeadline(c.writeBy)
	}
	_, err = c.stream.Write(c.out)
	if cap(c.out) > firstBuffer {
		c.out = nil
	}
	return last, err
}

// request is the request as an [http.Handler] takes it.
func (c *conn) request(ctx context.Context) *http.Request {
	r := &http.Request{
		Method: c.req.Method, URL: &url.URL{Path: c.req.Path, RawQuery: c.req.Query}, RequestURI: c.req.Target,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: c.req.Host, RemoteAddr: c.remote,
		Header: make(http.Header, len(c.req.Header)), ContentLength: int64(c.req.length), Body: http.NoBody,
	}
	for _, f := range c.req.Header {
		r.Header[f.Name] = append(r.Header[f.Name], f.Value)
	}
	if c.req.length > 0 {
		r.Body = io.NopCloser(bytes.NewReader(c.req.Body))
	}
	return r.WithContext(ctx)
}
