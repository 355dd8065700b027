package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from here on are given to outgoing connections by Linux; macOS and Windows begin higher up.
const (
	firstFreePort = 20_000
	endFreePorts  = 32_768
)

// FreePort finds a port that is free now on the loopback, and that no outgoing connection takes before it is used.
func FreePort(ctx context.Context) (port int, err error) {
	var lc net.ListenConfig
	for range 100 {
		port = firstFreePort + rand.IntN(endFreePorts-firstFreePort) //nolint:gosec // a port is no secret
		var l net.Listener
		if l, err = lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
