//go:build !linux

package rawconn

import "net"

func of(c net.Conn) net.Conn { return c }
