package smtp_test

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/smtp"
)

// script is a server that answers each command by its verb ("." is the closing
// dot, "" the greeting). A missing entry is a 250; an empty one says nothing and
// waits; "close" closes the connection.
type script map[string]string

// serveScript runs a script on every connection until the test ends.
func serveScript(t *testing.T, s script) smtp.Options {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.run(conn)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return options(t, listener)
}

func (s script) run(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if !s.say(conn, "", "220 ready") {
		return
	}
	lines := bufio.NewScanner(conn)
	data := false
	for lines.Scan() {
		line := lines.Text()
		if data && line != "." {
			if s["content"] == "close" {
				return
			}
			continue
		}
		verb, _, _ := strings.Cut(line, " ")
		otherwise := "250 fine"
		if verb == "DATA" {
			otherwise = "354 go on"
		}
		data = verb == "DATA"
		if !s.say(conn, verb, otherwise) {
			return
		}
	}
}

func (s script) say(conn net.Conn, verb, otherwise string) bool {
	answer, scripted := s[verb]
	if !scripted {
		answer = otherwise
	}
	switch answer {
	case "close":
		return false
	case "":
		return true
	}
	_, err := conn.Write([]byte(answer + "\r\n"))
	return err == nil
}
