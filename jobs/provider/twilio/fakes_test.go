package twilio_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
)

// hang blocks a handler until its client is gone.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then does the server watch the connection
	<-r.Context().Done()
}

// staleConn fails every write, before its first byte, from the moment that
// *stale is set.
type staleConn struct {
	net.Conn
	stale *bool
}

func (c *staleConn) Write(p []byte) (int, error) {
	if *c.stale {
		return 0, errors.New("broken pipe")
	}
	return c.Conn.Write(p)
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
