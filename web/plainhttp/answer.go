package plainhttp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Answer is the answer to a request.
type Answer struct {
	Status int // 0: 200
	Header []Field
	Body   string // with a Content-Type in Header
}

// appendTo appends an answer as it goes over the wire, with its length and the date. The last one says so.
func (a *Answer) appendTo(to []byte, date string, last bool) []byte {
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	to = appendStatus(to, status)
	for _, f := range a.Header {
		to = appendField(to, f.Name, f.Value)
	}
	if status != http.StatusNoContent {
		to = strconv.AppendInt(append(to, "Content-Length: "...), int64(len(a.Body)), 10)
		to = append(to, "\r\n"...)
	}
	if last {
		to = appendField(to, "Connection", "close")
	}
	to = appendEnd(to, date)
	return append(to, a.Body...)
}

func appendStatus(to []byte, status int) []byte {
	to = append(to, "HTTP/1.1 "...)
	to = strconv.AppendInt(to, int64(status), 10)
	to = append(to, ' ')
	to = append(to, http.StatusText(status)...)
	return append(to, "\r\n"...)
}

// appendField appends a header. A line's end in its value becomes a space, as in net/http.
func appendField(to []byte, name, value string) []byte {
	to = append(append(to, name...), ": "...)
	from := len(to)
	to = append(to, value...)
	for n := from; n < len(to); n++ {
		if to[n] == '\r' || to[n] == '\n' {
			to[n] = ' '
		}
	}
	return append(to, "\r\n"...)
}

func appendEnd(to []byte, date string) []byte {
	to = append(to, "Date: "...)
	to = append(to, date...)
	return append(to, "\r\n\r\n"...)
}

// clock formats the date of answers once a second.
type clock struct{ last atomic.Pointer[stamp] }

type stamp struct {
	second int64
	text   string
}

func (c *clock) date(now time.Time) string {
	if s := c.last.Load(); s != nil && s.second == now.Unix() {
		return s.text
	}
	s := &stamp{now.Unix(), now.UTC().Format(http.TimeFormat)}
	c.last.Store(s)
	return s.text
}

// response is the answer of an [http.Handler] to a plain request, which is sent when the handler returns: no page of the
// public listener is larger than a few kilobytes.
type response struct {
	header http.Header
	status int
	body   []byte
}

// Header returns the answer's headers.
func (w *response) Header() http.Header { return w.header }

// WriteHeader sets the status, the first time.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

// Write appends to the body.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !hasBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

func hasBody(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// appendTo appends the answer to a request of this method, and reports whether the connection ends with it. It completes
// the headers as net/http does.
func (w *response) appendTo(to []byte, method, date string) (out []byte, last bool) {
	w.WriteHeader(http.StatusOK)
	h := w.header
	if len(w.body) > 0 && h["Content-Type"] == nil && h.Get("Content-Encoding") == "" {
		h.Set("Content-Type", http.DetectContentType(w.body))
	}
	if hasBody(w.status) && h.Get("Content-Length") == "" && (method != http.MethodHead || len(w.body) > 0) {
		h.Set("Content-Length", strconv.Itoa(len(w.body)))
	}
	names := make([]string, 0, len(h))
	for name := range h {
		if name != "Date" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	to = appendStatus(to, w.status)
	for _, name := range names {
		for _, value := range h[name] {
			to = appendField(to, name, value)
		}
	}
	to = appendEnd(to, date)
	if method != http.MethodHead {
		to = append(to, w.body...)
	}
	return to, strings.EqualFold(h.Get("Connection"), "close")
}
