// Package rawconn reads and writes sockets without announcing each system call to the Go scheduler.
//
// The syscall package tells the scheduler of every call, since it may block. A socket of the net package never does. In a
// process that is mostly idle each announcement wakes the scheduler's monitor, a thread that looks after a few tens of
// microseconds whether the call is over, and again; and where a call takes that long, since it wakes up whoever reads at the
// other end, the goroutine has lost its processor to another thread by the time it returns (docs/decisions/0020).
package rawconn

import "net"

// Of returns c with reads and writes of this kind where the system and the connection allow for it, or else c itself.
// Deadlines, Close and errors are those of c.
func Of(c net.Conn) net.Conn { return of(c) }
