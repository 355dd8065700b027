package plainhttp

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"
)

const (
	// firstBuffer is a connection's, and how long the first line and the headers may be: Twilio's have 0.5 KiB, a browser's
	// with its cookies 2.
	firstBuffer = 4 << 10

	// maxRequest is how long a plain request may be with its body. Longer ones are net/http's.
	maxRequest = 16 << 10

	maxFields = 64
)

// Field is a header's name, in canonical form, and its value.
type Field struct{ Name, Value string }

// Header is a request's, in the order in which it came. Host is not in it.
type Header []Field

// Get returns the first value of a name, which must be in canonical form, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Request is a request in plain form. It is valid until it is answered; its strings and its body remain.
type Request struct {
	Method string // GET, HEAD or POST
	Target string // as it was sent: path and query
	Path   string // needs no decoding
	Query  string // raw, without the question mark
	Host   string
	Header Header
	Body   []byte

	length int // of the body, as the head says
}

// verdict is what can be said of the bytes at hand.
type verdict int

const (
	whole      verdict = iota // a request
	unfinished                // one whose body is still to come
	odd                       // not plain: net/http's
)

// parse reads the request that b begins with, without its body, and returns how many bytes it takes with it. Each form
// that it does not know is odd, one that is not whole yet, too: only net/http may say that a request is wrong.
func (r *Request) parse(b []byte) (size int, v verdict) {
	*r = Request{Header: r.Header[:0]}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 || end > firstBuffer {
		return 0, odd
	}
	line, fields, _ := strings.Cut(string(b[:end+2]), "\r\n")
	if !r.parseLine(line) || !r.parseFields(fields) {
		return 0, odd
	}
	size = end + 4 + r.length
	switch {
	case size > maxRequest:
		return 0, odd
	case size > len(b):
		return size, unfinished
	}
	return size, whole
}

// parseLine reads the first line.
func (r *Request) parseLine(line string) bool {
	var ok bool
	if line, ok = strings.CutSuffix(line, " HTTP/1.1"); !ok {
		return false
	}
	r.Method, r.Target, _ = strings.Cut(line, " ")
	if r.Method != http.MethodPost && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	var query bool
	r.Path, r.Query, query = strings.Cut(r.Target, "?")
	if query && r.Query == "" || !strings.HasPrefix(r.Path, "/") || strings.HasPrefix(r.Path, "//") {
		return false
	}
	return only(r.Path, inPath) && only(r.Query, inQuery)
}

// parseFields reads the headers, each with the line's end.
func (r *Request) parseFields(fields string) bool {
	host, length := false, false
	for fields != "" {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || !only(name, inName) || !only(value, inValue) || len(r.Header) == maxFields {
			return false
		}
		if !canonical(name) {
			name = textproto.CanonicalMIMEHeaderKey(name)
		}
		value = strings.Trim(value, " ")

		switch name {
		case "Host":
			if host || value == "" || !only(value, inHost) {
				return false
			}
			host, r.Host = true, value
			continue
		case "Content-Length":
			if length || !r.parseLength(value) {
				return false
			}
			length = true
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return false
			}
		case "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Expect", "Http2-Settings", "Proxy-Connection", "Pragma":
			return false // each changes how a request is read, or what net/http makes of it
		}
		r.Header = append(r.Header, Field{name, value})
	}
	// Without a length a POST has no body, as a GET; with one, a GET has one.
	return host && length == (r.Method == http.MethodPost)
}

// parseLength reads a Content-Length.
func (r *Request) parseLength(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	for n := range len(s) {
		if s[n] < '0' || s[n] > '9' {
			return false
		}
		r.length = 10*r.length + int(s[n]-'0')
	}
	return true
}

// canonical reports whether a name is spelled as [textproto.CanonicalMIMEHeaderKey] does.
func canonical(name string) bool {
	first := true
	for n := range len(name) {
		c := name[n]
		if first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return false
		}
		first = c == '-'
	}
	return true
}

// Where a byte may stand.
const (
	inPath uint8 = 1 << iota
	inQuery
	inName
	inValue
	inHost
)

// only reports whether each byte of s may stand there.
func only(s string, where uint8) bool {
	for n := range len(s) {
		if places[s[n]]&where == 0 {
			return false
		}
	}
	return true
}

// places is where each byte may stand.
var places = func() (list [256]uint8) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for c := byte(' '); c <= '~'; c++ {
		list[c] |= inValue
		if c != ' ' && c != '#' {
			list[c] |= inQuery
		}
	}
	for places, bytes := range map[uint8]string{
		inPath: letters + "/-_.~", inName: letters + "-_", inHost: letters + ".-:[]",
	} {
		for n := range len(bytes) {
			list[bytes[n]] |= places
		}
	}
	return list
}()
