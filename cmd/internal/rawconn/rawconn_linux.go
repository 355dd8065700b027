package rawconn

import (
	"io"
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// largest is what one call moves at most: the longer it copies, the longer nothing else runs on its processor.
const largest = 64 << 10

func of(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn: // streams, which never block
	default:
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return c
	}
	r := &conn{Conn: c, raw: raw}
	r.in.step, r.out.step = r.in.read, r.out.write
	return r
}

type conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, errno, err := c.in.run(p, c.raw.Read)
	switch {
	case err != nil || len(p) == 0:
		return n, err
	case errno != 0:
		return n, c.failed("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, errno, err := c.out.run(p, c.raw.Write)
	if err == nil && errno != 0 {
		err = c.failed("write", errno)
	}
	return n, err
}

func (c *conn) failed(op string, errno syscall.Errno) error {
	local := c.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: c.RemoteAddr(), Err: errno}
}

// transfer is one direction of a connection: what it moves at the moment, without a closure for each call.
type transfer struct {
	mu    sync.Mutex
	p     []byte
	n     int // of p, moved
	errno syscall.Errno
	step  func(fd uintptr) (done bool)
}

// run moves p by step, which wait calls whenever the socket may be ready.
func (t *transfer) run(p []byte, wait func(func(fd uintptr) bool) error) (n int, errno syscall.Errno, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.errno = p, 0, 0
	err = wait(t.step)
	t.p = nil
	return t.n, t.errno, err
}

func (t *transfer) read(fd uintptr) (done bool) {
	if len(t.p) == 0 {
		return true
	}
	t.n, t.errno = call(syscall.SYS_READ, fd, t.p)
	return t.errno != syscall.EAGAIN
}

func (t *transfer) write(fd uintptr) (done bool) {
	for t.errno = 0; t.n < len(t.p) && t.errno == 0; {
		var n int
		n, t.errno = call(syscall.SYS_WRITE, fd, t.p[t.n:])
		t.n += n
	}
	return t.errno != syscall.EAGAIN
}

// call reads or writes some of p.
func call(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(min(len(p), largest)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
