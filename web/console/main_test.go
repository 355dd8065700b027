package console_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/web/apitoken"
	"onward/web/console"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bundle is the console on a database of its own. The API behind it is a double that notes what it is asked.
type bundle struct {
	*testing.T
	db      *pgtest.DB
	console *console.Console
	router  chi.Router
	tokens  map[apitoken.Role]string
	now     time.Time
	asked   []string
	answers map[string]string // what the API says instead of no, by address
	api     http.HandlerFunc  // instead of the double, where a test sets it
	log     *logged
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, db: pgtest.New(t, pgtest.Schema), router: chi.NewRouter(), tokens: map[apitoken.Role]string{}, now: time.Now(), log: &logged{}}
	for _, role := range apitoken.Roles() {
		_, secret, err := apitoken.Create(t.Context(), b.db.Pool, string(role), role)
		require.NoError(t, err)
		b.tokens[role] = secret
	}
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	sessions := console.NewSessions(b.db.Pool, logger)
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := apitoken.FromContext(r.Context())
		body, _ := io.ReadAll(r.Body)
		b.asked = append(b.asked, strings.TrimSpace(string(token.Role)+" "+r.Method+" "+r.URL.Path+" "+string(body)))
		if b.api != nil {
			b.api(w, r)
			return
		}
		if answer, ok := b.answers[r.URL.RequestURI()]; ok {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]any{"detail": "body.note: <b>too late</b>", "errors": []any{map[string]string{"location": "body.note", "message": "too late"}}})
	})
	var err error
	b.console, err = console.New(console.Options{
		Pool: b.db.Pool, Sessions: sessions, Tokens: apitoken.NewAuthenticator(b.db.Pool, nil), API: api, Logger: logger, Version: "1.2.3",
		Clock: func() time.Time { return b.now },
	})
	require.NoError(t, err)
	b.router.Use(sessions.Middleware)
	b.console.Mount(b.router)
	return b
}

// reply is what came back.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       string
	Cookies    []*http.Cookie
}

// send makes a request with a session's cookie ("" is none).
func (b *bundle) send(cookie, method, path string, form url.Values, header ...string) reply {
	b.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, path, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	res := w.Result()
	defer func() { _ = res.Body.Close() }()
	return reply{StatusCode: res.StatusCode, Header: res.Header, Body: w.Body.String(), Cookies: res.Cookies()}
}

// login begins a session and returns its cookie.
func (b *bundle) login(role apitoken.Role, header ...string) string {
	b.Helper()
	res := b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[role]}, "next": {"/businesses"}}, header...)
	require.Equal(b, http.StatusSeeOther, res.StatusCode)
	require.Equal(b, "/businesses", res.Header.Get("Location"))
	require.Len(b, res.Cookies, 1)
	return res.Cookies[0].Name + "=" + res.Cookies[0].Value
}

// exec changes the database behind the console's back.
func (b *bundle) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.db.Pool.Exec(b.Context(), sql, args...)
	require.NoError(b, err)
}
