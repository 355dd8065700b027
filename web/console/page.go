package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

//go:embed templates/*.html
var templates embed.FS

// parsePages parses each page once, with the layout and the parts that all share. A page is a file templates/NAME.html
// that defines "content"; what begins with an underscore is shared.
func (c *Console) parsePages() (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(c.functions()).ParseFS(templates, "templates/_*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the shared templates: %w", err)
	}
	files, err := templates.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "_") {
			continue
		}
		t, err := template.Must(base.Clone()).ParseFS(templates, "templates/"+f.Name())
		if err != nil {
			return nil, fmt.Errorf("parse a page: %w", err)
		}
		pages[strings.TrimSuffix(f.Name(), ".html")] = t
	}
	return pages, nil
}

// visit is one request to a page, by somebody who may make it. Templates see it: its exported methods are for them.
type visit struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	Token   apitoken.Token
}

// view is what every template is given.
type view struct {
	*visit
	Title string
	Data  any
	Flash []Flash
}

// Flash is a line that the page after an act shows once.
type Flash struct {
	Tone string `json:"tone"` // good, warn or bad
	Text string `json:"text"`
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// param is a part of the path.
func (v *visit) param(name string) string { return chi.URLParam(v.r, name) }

// id is a part of the path that is an id; what is none is not found.
func (v *visit) id(name string) (uuid.UUID, error) { //nolint:unparam // pages name the part of the path, as param does
	id, err := uuid.Parse(v.param(name))
	if err != nil {
		return id, errNotFound
	}
	return id, nil
}

// query is a value of the address.
func (v *visit) query(name string) string { return strings.TrimSpace(v.r.URL.Query().Get(name)) }

// form is a value of the form that was posted.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// render answers with a whole page.
func (v *visit) render(name, title string, data any) error {
	out := view{visit: v, Title: title, Data: data}
	if s, ok := sessionOf(v.ctx()); ok && len(s.flash) > 0 {
		out.Flash = s.flash
		if err := v.console.opts.Sessions.setFlash(v.ctx(), s.id, nil); err != nil {
			v.console.opts.Logger.LogAttrs(v.ctx(), slog.LevelWarn, "take a flash away", slog.Any("error", err)) // it is shown again
		}
	}
	return v.write(http.StatusOK, name, "page", out)
}

// fragment answers with a part of a page: a template that the page's file defines. A live part that is as the browser
// has it already is not sent again.
func (v *visit) fragment(name, part string, data any) error {
	return v.write(http.StatusOK, name, part, view{visit: v, Data: data})
}

// wholePage answers with a page of what is read.
func wholePage[T any](read func(*visit) (T, error), page string, title func(T) string) func(*visit) error {
	return func(v *visit) error {
		data, err := read(v)
		if err != nil {
			return err
		}
		return v.render(page, title(data), data)
	}
}

// livePart answers with the part of such a page that moves while somebody looks.
func livePart[T any](read func(*visit) (T, error), page, name string) func(*visit) error {
	return func(v *visit) error {
		data, err := read(v)
		if err != nil {
			return err
		}
		return v.fragment(page, name, data)
	}
}

func (v *visit) write(status int, name, part string, data view) error {
	t, ok := v.console.pages[name]
	if !ok {
		return fmt.Errorf("there is no page %q", name)
	}
	var buf bytes.Buffer
	if err := t.ExecuteTemplate(&buf, part, data); err != nil {
		return fmt.Errorf("render %s of %s: %w", part, name, err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// What is shown is of this moment and for this person; the way back asks again.
	h.Set("Cache-Control", "no-store")
	if part != "page" {
		sum := sha256.Sum256(buf.Bytes())
		etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		h.Set("Etag", etag)
		if v.r.Header.Get("If-None-Match") == etag {
			v.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	writeCompressed(v.w, v.r, status, buf.Bytes())
	return nil
}

// isPartial reports whether a script of a page asks, for a part of it.
func isPartial(r *http.Request) bool { return r.Header.Get("Hx-Request") != "" }

// done ends an act: the browser goes on to a page, which tells what came of it.
func (v *visit) done(to, tone, text string) error {
	if s, ok := sessionOf(v.ctx()); ok && text != "" {
		if err := v.console.opts.Sessions.setFlash(v.ctx(), s.id, append(s.flash, Flash{Tone: tone, Text: text})); err != nil {
			v.console.opts.Logger.LogAttrs(v.ctx(), slog.LevelWarn, "keep a flash", slog.Any("error", err)) // the act itself is done
		}
	}
	if isPartial(v.r) {
		v.w.Header().Set("Hx-Redirect", to)
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// back is where a form came from: its field "back", or else a path.
func (v *visit) back(otherwise string) string {
	if b := v.form("back"); b != "" {
		return localPath(b)
	}
	return otherwise
}

// Can reports, to templates, whether the visitor has a role.
func (v *visit) Can(role string) bool { return v.Token.Role.Allows(apitoken.Role(role)) }

// Needs is the attributes of a control that only a role may use: none, or disabled with the reason.
func (v *visit) Needs(role string) template.HTMLAttr {
	if v.Can(role) {
		return ""
	}
	return template.HTMLAttr(`disabled title="` + template.HTMLEscapeString(v.lacks(apitoken.Role(role))) + `"`) //nolint:gosec // escaped
}

// Lacks is why a control is disabled.
func (v *visit) Lacks(role string) string { return v.lacks(apitoken.Role(role)) }

func (v *visit) lacks(role apitoken.Role) string {
	return fmt.Sprintf("This needs the role %s; the token %s is a %s.", role, v.Token.Name, v.Token.Role)
}

// Path is the path of the page, for the navigation.
func (v *visit) Path() string { return v.r.URL.Path }

// Here is the address of the page, for a form's field "back".
func (v *visit) Here() string {
	if isPartial(v.r) {
		if u, err := url.Parse(v.r.Header.Get("Hx-Current-Url")); err == nil && u.Path != "" {
			return u.RequestURI()
		}
	}
	return v.r.URL.RequestURI()
}

// With is the address of the page with some values of its query set, or taken away ("").
func (v *visit) With(pairs ...string) string {
	q := v.r.URL.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Del(pairs[i])
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return v.r.URL.Path
	}
	return v.r.URL.Path + "?" + q.Encode()
}

// Nav are the entries of the navigation.
func (v *visit) Nav() []navItem { return v.console.navigation() }

// On reports whether an entry of the navigation leads to where the visitor is.
func (v *visit) On(n navItem) bool {
	return v.Path() == n.Path || n.Path != "/" && strings.HasPrefix(v.Path(), n.Path+"/")
}

// LoggedIn reports whether the visitor has a session to end.
func (v *visit) LoggedIn() bool {
	_, ok := sessionOf(v.ctx())
	return ok
}

// Theme is what the visitor chose: light, dark, or "" for what the system says.
func (v *visit) Theme() string {
	if c, err := v.r.Cookie("theme"); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// zone is the visitor's time zone, which the page's script keeps in a cookie; UTC until it has.
func (v *visit) zone() *time.Location {
	c, err := v.r.Cookie("zone")
	if err != nil || len(c.Value) > 64 {
		return time.UTC
	}
	name, err := url.QueryUnescape(c.Value)
	if err != nil {
		return time.UTC
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return time.UTC
	}
	return zone
}

// Version and Demo are for the foot of the page.
func (v *visit) Version() string { return v.console.opts.Version }

// Demo reports whether the data is made up.
func (v *visit) Demo() bool { return v.console.opts.Demo }

// refusal is an answer that says no, in words for the visitor.
type refusal struct {
	status int
	text   string
	fields map[string]string // by name: what is wrong with it
}

func (e *refusal) Error() string { return e.text }

func refuse(status int, text string) *refusal { return &refusal{status: status, text: text} }

var errNotFound = refuse(http.StatusNotFound, "There is nothing here by this name. It may have been erased, or be past its retention.")

// field is a refusal that names a field of a form.
func field(name, text string) *refusal {
	return &refusal{status: http.StatusUnprocessableEntity, text: text, fields: map[string]string{name: text}}
}

// asRefusal makes of any error one that may be shown, and reports whether it was expected.
func asRefusal(ctx context.Context, err error) (*refusal, bool) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r, true
	}
	if fields, ok := errors.AsType[pgstore.FieldErrors](err); ok {
		out := &refusal{status: http.StatusUnprocessableEntity, text: fields.Error(), fields: map[string]string{}}
		for _, f := range fields {
			out.fields[f.Field] = f.Message
		}
		return out, true
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "57014" {
		return refuse(http.StatusServiceUnavailable, "The database took too long to answer this and was told to stop. Narrow the filter, or try again."), false
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgstore.ErrNoBusiness), errors.Is(err, pgstore.ErrNoReceipt), errors.Is(err, pgstore.ErrNoMessage):
		return errNotFound, true
	case ctx.Err() != nil:
		return refuse(http.StatusServiceUnavailable, "This took too long. Try again."), false
	}
	return refuse(http.StatusInternalServerError, "An unexpected error, which is in the log."), false
}

// logUnexpected writes down an error of which the reader is told no more than that it is in the log.
func (v *visit) logUnexpected(err error) {
	v.console.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "console", slog.String("path", v.Path()),
		slog.String("request_id", v.w.Header().Get("X-Request-Id")), slog.Any("error", err))
}

// fail answers a request that could not be served: as a page, or to a page's script as a line for its reader.
func (c *Console) fail(v *visit, err error) {
	r, expected := asRefusal(v.ctx(), err)
	if !expected {
		v.logUnexpected(err)
	}
	if isPartial(v.r) {
		v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		v.w.WriteHeader(r.status)
		_, _ = v.w.Write([]byte(r.text)) // the connection: nobody is left to tell
		return
	}
	data := view{visit: v, Title: http.StatusText(r.status), Data: map[string]any{
		"Status": r.status, "Text": r.text, "RequestID": v.w.Header().Get("X-Request-Id"), "Expected": expected,
	}}
	if err := v.write(r.status, "error", "page", data); err != nil {
		c.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "render an error", slog.Any("error", err))
		http.Error(v.w, r.text, r.status)
	}
}

// panel is a part of a page with an error of its own: one query that fails, or takes too long, leaves the others.
type panel[T any] struct {
	Data  T
	Error string
}

// load fills a panel.
func load[T any](v *visit, what string, fn func(ctx context.Context, tx pgx.Tx) (T, error)) panel[T] {
	var p panel[T]
	err := v.console.read(v.ctx(), func(tx pgx.Tx) error {
		var err error
		p.Data, err = fn(v.ctx(), tx)
		return err
	})
	if err != nil {
		r, _ := asRefusal(v.ctx(), err)
		p.Error = r.text
		v.console.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "console", slog.String("panel", what), slog.Any("error", err))
	}
	return p
}

// asset is the address of a static file, for templates.
func (c *Console) asset(name string) string { return c.assets.url(name) }

// hasPage reports whether this console has a page, so that what leads there is a link.
func (c *Console) hasPage(path string) bool {
	return slices.ContainsFunc(c.table, func(r Route) bool { return r.Method == http.MethodGet && r.Path == path })
}

// LifeQuery is the page of a timeline that the visitor is on, for its live part.
func (v *visit) LifeQuery() string {
	if b := v.query("before"); b != "" {
		return url.Values{"before": {b}}.Encode()
	}
	return ""
}

// dict makes a map, to give a shared template more than one value.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict: a key without a value")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no key", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

func (c *Console) functions() template.FuncMap {
	f := template.FuncMap{"asset": c.asset, "dict": dict, "base": path.Base, "hasPage": c.hasPage, "list": func(items ...any) []any { return items }}
	maps.Copy(f, words())
	return f
}

// has reports whether a list has a value, for templates.
func has(list []string, value string) bool { return slices.Contains(list, value) }
