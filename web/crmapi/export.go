package crmapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

const (
	// exportTime is what an export may take in all; exportPage is how many rows are read at a time, each time within
	// requestTime and anew, so that a long export holds no snapshot open.
	exportTime = 30 * time.Minute
	exportPage = 500
	// exportWrite is how long a client may take for a page: the listener's own limit is for a whole answer.
	exportWrite = time.Minute
)

var errExportTime = errors.New("the API's export time-out of 30 min")

// wantsCSV reports whether a request asks for CSV, which only lists have.
func wantsCSV(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "csv"
	}
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	media, _, _ := strings.Cut(first, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/csv")
}

// exports answers a list as CSV: it asks for one page after the other and writes them as one table.
func (a *API) exports(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !wantsCSV(r) {
			next.ServeHTTP(w, r)
			return
		}
		match := chi.NewRouteContext()
		if !a.router.Match(match, http.MethodGet, chi.RouteContext(r.Context()).RoutePath) {
			next.ServeHTTP(w, r)
			return
		}
		columns, ok := a.lists[match.RoutePattern()]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		for _, name := range []string{"limit", "cursor"} {
			if r.URL.Query().Has(name) {
				writeInvalid(w, "query."+name, "has no meaning for CSV, which is the whole list")
				return
			}
		}
		e := export{next: next, columns: columns, w: w, r: r, out: csv.NewWriter(w)}
		if err := e.run(); err != nil {
			// The status is out: only a broken connection can still say that this is not all.
			a.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn, "API answer cut off", slog.String("route", match.RoutePattern()),
				slog.String("request_id", requestID(r.Context())), slog.Any("error", err))
			panic(http.ErrAbortHandler)
		}
	})
}

// export is one list on its way out.
type export struct {
	next    http.Handler
	columns []string
	w       http.ResponseWriter
	r       *http.Request
	out     *csv.Writer
}

func (e *export) run() error {
	cursor, begun := "", false
	for {
		page, err := e.page(cursor)
		if err != nil {
			return err
		}
		if page.status != http.StatusOK {
			if begun {
				return fmt.Errorf("a page in the middle answered %d", page.status)
			}
			page.copyTo(e.w)
			return nil
		}
		var list struct {
			Items []map[string]json.RawMessage `json:"items"`
			Next  *string                      `json:"next_cursor"`
		}
		if err := json.Unmarshal(page.body.Bytes(), &list); err != nil {
			return fmt.Errorf("read a page: %w", err)
		}
		if !begun {
			begun = true
			e.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
			e.w.Header().Set("Content-Disposition", `attachment; filename="export.csv"`)
			e.w.Header().Set("Cache-Control", "no-store")
			if err := e.out.Write(e.columns); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		// Not every writer of a test can: then there is no deadline to move.
		_ = http.NewResponseController(e.w).SetWriteDeadline(time.Now().Add(exportWrite))
		if err := e.write(list.Items); err != nil {
			return err
		}
		if list.Next == nil || e.r.Method == http.MethodHead { // what is not sent is not read
			return nil
		}
		cursor = *list.Next
	}
}

// page asks for one page as if it were a request of its own.
func (e *export) page(cursor string) (*captured, error) {
	if err := e.r.Context().Err(); err != nil {
		return nil, context.Cause(e.r.Context())
	}
	ctx, cancel := context.WithTimeoutCause(e.r.Context(), requestTime, errRequestTime)
	defer cancel()
	outer, inner := chi.RouteContext(ctx), chi.NewRouteContext()
	inner.Routes, inner.RoutePath, inner.RouteMethod = outer.Routes, outer.RoutePath, outer.RouteMethod
	r := e.r.Clone(context.WithValue(ctx, chi.RouteCtxKey, inner))
	q := r.URL.Query()
	q.Set("format", "json")
	q.Set("limit", strconv.Itoa(exportPage))
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	r.URL.RawQuery = q.Encode()
	r.Header.Del("If-None-Match")
	r.Header.Set("Accept", "application/json")
	page := &captured{header: http.Header{}, status: http.StatusOK}
	e.next.ServeHTTP(page, r)
	if cursor == "" {
		outer.RoutePatterns = append(outer.RoutePatterns, inner.RoutePatterns...) // for the log line and the metrics
	}
	return page, nil
}

func (e *export) write(items []map[string]json.RawMessage) error {
	row := make([]string, len(e.columns))
	for _, item := range items {
		for i, c := range e.columns {
			cell, err := csvCell(item[c])
			if err != nil {
				return fmt.Errorf("read %s: %w", c, err)
			}
			row[i] = cell
		}
		if err := e.out.Write(row); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if e.out.Flush(); e.out.Error() != nil {
		return fmt.Errorf("write: %w", e.out.Error())
	}
	return nil
}

// csvCell shows a value: null and an empty list as nothing, a list of words with a semicolon between them, other lists and
// objects as JSON.
func csvCell(raw json.RawMessage) (string, error) {
	switch {
	case len(raw) == 0, string(raw) == "null", string(raw) == "[]":
		return "", nil
	case raw[0] == '[':
		var words []string
		if json.Unmarshal(raw, &words) != nil || slices.ContainsFunc(words, func(w string) bool { return w == "" || strings.Contains(w, ";") }) {
			return string(raw), nil // not words, or words that could not be told apart
		}
		return harmless(strings.Join(words, ";")), nil
	case raw[0] != '"':
		return string(raw), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	return harmless(s), nil
}

// number is what a spreadsheet may well read as one: a phone in E.164 begins with a plus and is no formula.
var number = regexp.MustCompile(`^[+-]?[0-9]{1,20}(\.[0-9]{1,20})?$`)

// harmless puts an apostrophe before what a spreadsheet would run as a formula, as OWASP advises, the wide signs of some
// keyboards among them: other people write names and replies.
func harmless(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	if s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) && !number.MatchString(s) {
		return "'" + s
	}
	return s
}

// captured is an answer that was not sent.
type captured struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is the answer's.
func (c *captured) Header() http.Header { return c.header }

// WriteHeader keeps the status.
func (c *captured) WriteHeader(status int) { c.status = status }

// Write keeps a part of the body.
func (c *captured) Write(p []byte) (int, error) { return c.body.Write(p) }

func (c *captured) copyTo(w http.ResponseWriter) {
	for name, values := range c.header {
		w.Header()[name] = values
	}
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes()) // the client's connection: nobody is left to tell
}

// lister is an answer that is a page of a list.
type lister interface{ columns() []string }

// columns are the members of an item, in the order of its type.
func (*pageOutput[T]) columns() []string { return jsonNames(reflect.TypeFor[T]()) }

func jsonNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		tag, ok := f.Tag.Lookup("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !ok:
			names = append(names, jsonNames(f.Type)...)
		case f.IsExported() && name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}
