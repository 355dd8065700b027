package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// apiPrefix is where the API is, as for everybody.
const apiPrefix = "/api/v1"

// api calls the API, in process, as the visitor. The body and the answer are JSON and may be nil. What the API refuses
// comes back as a [refusal] in its words, with the fields that it names.
func (v *visit) api(method, path string, body, into any) error {
	return v.apiOnce("", method, path, body, into)
}

// apiOnce is api for what a form sends: with the key that the form was given, a second press of its button does nothing.
func (v *visit) apiOnce(key, method, path string, body, into any) error {
	var r io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode a call: %w", err)
		}
		r = bytes.NewReader(b)
	}
	// The router of the page must not be taken for that of the API.
	ctx := context.WithValue(v.ctx(), chi.RouteCtxKey, (*chi.Context)(nil))
	req, err := http.NewRequestWithContext(ctx, method, apiPrefix+path, r)
	if err != nil {
		return fmt.Errorf("make a call: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	req.RemoteAddr, req.Host, req.RequestURI = v.r.RemoteAddr, v.r.Host, req.URL.RequestURI()
	rec := &recorder{header: http.Header{}}
	rec.header.Set("X-Request-Id", v.w.Header().Get("X-Request-Id"))
	v.console.opts.API.ServeHTTP(rec, req)
	if rec.code >= http.StatusBadRequest {
		return problem(rec)
	}
	if into == nil || rec.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(rec.body.Bytes(), into); err != nil {
		return fmt.Errorf("decode the answer of %s %s: %w", method, path, err)
	}
	return nil
}

// problem reads an RFC 9457 error.
func problem(rec *recorder) error {
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(rec.body.Bytes(), &p); err != nil || p.Detail == "" {
		return fmt.Errorf("the API answered %d: %.200s", rec.code, rec.body.String())
	}
	out := &refusal{status: rec.code, text: sentence(plainly(p.Detail)), fields: map[string]string{}}
	for _, e := range p.Errors {
		name := e.Location[strings.LastIndexByte(e.Location, '.')+1:]
		out.fields[name] = plainly(e.Message)
	}
	return out
}

// plainly says in words what a schema's check says in signs.
func plainly(s string) string {
	for _, w := range []struct{ signs, before, after string }{
		{"expected length <= ", "at most ", " characters"},
		{"expected length >= ", "at least ", " characters"},
		{"expected number <= ", "at most ", ""},
		{"expected number >= ", "at least ", ""},
	} {
		if head, n, found := strings.Cut(s, w.signs); found && n != "" && strings.Trim(n, "0123456789.-") == "" {
			if n == "1" {
				w.after = strings.TrimSuffix(w.after, "s")
			}
			return head + w.before + n + w.after
		}
	}
	return s
}

// sentence makes of an error's text one for people.
func sentence(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "body."), "query.")
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}
