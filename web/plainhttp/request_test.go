package plainhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// aCallback is what Twilio sends.
const aCallback = "POST /webhooks/twilio/status?m=1&a=2 HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: TwilioProxy/1.1\r\n" +
	"Accept: */*\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nx-twilio-signature: RSOYDt4T1cUTdK1PDd93/VVr8B8=\r\n" +
	"Content-Length: 12\r\n\r\nMessageSid=1"

func TestParse(t *testing.T) {
	t.Parallel()
	var r Request
	size, v := r.parse([]byte(aCallback + "GET "))
	require.Equal(t, whole, v)
	require.Len(t, aCallback, size)
	require.Equal(t, Request{
		Method: "POST", Target: "/webhooks/twilio/status?m=1&a=2", Path: "/webhooks/twilio/status", Query: "m=1&a=2", Host: "hooks.example.com",
		Header: Header{
			{"User-Agent", "TwilioProxy/1.1"},
			{"Accept", "*/*"},
			{"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"},
			{"X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
			{"Content-Length", "12"},
		},
		length: 12,
	}, r)

	size, v = r.parse([]byte(aCallback[:len(aCallback)-3]))
	require.Equal(t, unfinished, v)
	require.Len(t, aCallback, size)
}

// odd are requests that two readers could understand differently, or net/http reads in a way of its own. Most of them are
// good HTTP.
func oddRequests() map[string]string {
	with := func(fields string) string {
		return "POST /echo HTTP/1.1\r\nHost: h\r\n" + fields + "Content-Length: 4\r\n\r\nbody"
	}
	long := strings.Repeat("x", firstBuffer)
	list := map[string]string{
		"nothing":                    "",
		"half a line":                "POST /echo HT",
		"a head without its end":     "POST /echo HTTP/1.1\r\nHost: h\r\n",
		"line feeds alone":           "POST /echo HTTP/1.1\nHost: h\nContent-Length: 4\n\nbody",
		"an empty line first":        "\r\n" + with(""),
		"HTTP/1.0":                   "POST /echo HTTP/1.0\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"another protocol":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"another method":             "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"a method in small letters":  "post /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"two spaces":                 "POST  /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"no target":                  "POST HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"the absolute form":          "POST http://h/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"an authority":               "POST //h/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"an escape in the path":      "POST /e%63ho HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"a fragment":                 "POST /echo#x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"a fragment behind a query":  "POST /echo?a#x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"an empty query":             "POST /echo? HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"a control byte":             "POST /echo\x01 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"UTF-8 in the path":          "POST /é HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"no host":                    "POST /echo HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
		"two hosts":                  with("Host: g\r\n"),
		"a host with a path":         "POST /echo HTTP/1.1\r\nHost: h/x\r\nContent-Length: 4\r\n\r\nbody",
		"no length":                  "POST /echo HTTP/1.1\r\nHost: h\r\n\r\n",
		"two lengths":                with("Content-Length: 4\r\n"),
		"a length with a sign":       "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nbody",
		"a list of lengths":          "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nbody",
		"a GET with a body":          "GET /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"chunks":                     "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"chunks and a length":        with("Transfer-Encoding: chunked\r\n"),
		"the last request":           with("Connection: close\r\n"),
		"an upgrade":                 with("Connection: upgrade\r\nUpgrade: websocket\r\n"),
		"an expectation":             with("Expect: 100-continue\r\n"),
		"a folded line":              with("X-A: 1\r\n 2\r\n"),
		"a space before the colon":   with("X-A : 1\r\n"),
		"a space before the name":    with(" X-A: 1\r\n"),
		"no colon":                   with("X-A\r\n"),
		"no name":                    with(": 1\r\n"),
		"a name of other signs":      with("X!A: 1\r\n"),
		"a tab":                      with("X-A:\t1\r\n"),
		"a carriage return":          with("X-A: 1\r2\r\n"),
		"a zero byte":                with("X-A: 1\x002\r\n"),
		"UTF-8 in a value":           with("X-A: é\r\n"),
		"no-cache in an old way":     with("Pragma: no-cache\r\n"),
		"many headers":               with(strings.Repeat("X-A: 1\r\n", maxFields)),
		"a long header":              with("X-A: " + long + "\r\n"),
		"a long target":              "POST /echo?" + long + " HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"a long body":                fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 5*len(long), strings.Repeat(long, 5)),
		"a body over what one takes": "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\nbody",
	}
	return list
}

// plainRequests are those that are read here.
func plainRequests() map[string]string {
	return map[string]string{
		"a callback":                 aCallback,
		"a GET":                      "GET /echo?a=%20b&c HTTP/1.1\r\nHost: h:8080\r\n\r\n",
		"a HEAD":                     "HEAD /echo HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
		"an empty body":              "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
		"repeated headers":           "GET /echo HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:2\r\nX-B:\r\nX-A:  3  \r\n\r\n",
		"headers in small letters":   "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\nconnection: Keep-Alive\r\n\r\nbody",
		"an underscore":              "GET /echo HTTP/1.1\r\nHost: h\r\nx_y-z: 1\r\n\r\n",
		"cookies and forwarded":      "GET /echo HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=\"d\"\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n\r\n",
		"a body of two packets":      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("0123456789", 900),
		"a path that is not found":   "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n",
		"a path with dots":           "GET /a/../echo HTTP/1.1\r\nHost: h\r\n\r\n",
		"one without an answer":      "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n",
		"no content":                 "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
		"a page":                     "GET /page HTTP/1.1\r\nHost: h\r\n\r\n",
		"the head of a page":         "HEAD /page HTTP/1.1\r\nHost: h\r\n\r\n",
		"a redirection":              "GET /moved HTTP/1.1\r\nHost: h\r\n\r\n",
		"an answer that is the last": "GET /last HTTP/1.1\r\nHost: h\r\n\r\n",
	}
}

func TestParse_odd(t *testing.T) {
	t.Parallel()
	for name, raw := range oddRequests() {
		var r Request
		_, v := r.parse([]byte(raw))
		require.Equal(t, odd, v, name)
	}
	for name, raw := range plainRequests() {
		var r Request
		size, v := r.parse([]byte(raw))
		require.Equal(t, whole, v, name)
		require.Len(t, raw, size, name)
	}
}

// What is taken for plain is what net/http would have read, to the byte.
func FuzzParse(f *testing.F) {
	for _, list := range []map[string]string{oddRequests(), plainRequests()} {
		for _, raw := range list {
			f.Add([]byte(raw))
			f.Add([]byte(raw + aCallback))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r Request
		size, v := r.parse(raw)
		if v == odd {
			return
		}
		if v == unfinished {
			require.Greater(t, size, len(raw))
			raw = append(raw, make([]byte, size-len(raw))...)
			again, v := new(Request).parse(raw)
			require.Equal(t, whole, v)
			require.Equal(t, size, again)
		}
		requireAsNetHTTP(t, raw, &r, size)
	})
}

func requireAsNetHTTP(t *testing.T, raw []byte, r *Request, size int) {
	t.Helper()
	from := bufio.NewReaderSize(bytes.NewReader(raw), max(len(raw), 16))
	want, err := http.ReadRequest(from)
	require.NoError(t, err)
	body, err := io.ReadAll(want.Body)
	require.NoError(t, err)
	rest, err := io.ReadAll(from)
	require.NoError(t, err)
	require.Equal(t, string(raw[size:]), string(rest), "where the next request begins")
	require.Equal(t, string(raw[size-r.length:size]), string(body))
	require.EqualValues(t, want.ContentLength, r.length)
	require.False(t, want.Close)
	require.Empty(t, want.TransferEncoding)
	require.Empty(t, want.Trailer)

	got := (&conn{req: *r}).request(t.Context())
	require.Equal(t, want.Method, got.Method)
	require.Equal(t, want.RequestURI, got.RequestURI)
	require.Equal(t, want.URL, got.URL)
	require.Equal(t, want.Host, got.Host)
	require.Equal(t, want.Header, got.Header)
	require.Equal(t, []any{want.Proto, want.ProtoMajor, want.ProtoMinor}, []any{got.Proto, got.ProtoMajor, got.ProtoMinor})
}
