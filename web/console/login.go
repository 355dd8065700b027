package console

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"onward/web/apitoken"
)

// A token can't be guessed; the limits keep the guessing from the database. Bursts are a person's mistakes.
const (
	loginsPerMinute = 10
	loginBurst      = 10
	// maxLoginAddresses bounds what is remembered of those who try.
	maxLoginAddresses = 10_000
)

// throttle limits how often an address may try to log in.
type throttle struct {
	mu   sync.Mutex
	from map[string]*rate.Limiter
}

func newThrottle() *throttle { return &throttle{from: map[string]*rate.Limiter{}} }

func (t *throttle) allow(r *http.Request, now time.Time) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.from[host]
	if !ok {
		if len(t.from) >= maxLoginAddresses {
			clear(t.from)
		}
		l = rate.NewLimiter(rate.Every(time.Minute/loginsPerMinute), loginBurst)
		t.from[host] = l
	}
	return l.AllowN(now, 1)
}

type loginPage struct {
	Next, Error string
}

func (c *Console) loginForm(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, ok := apitoken.FromContext(r.Context()); ok {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	c.showLogin(w, r, http.StatusOK, loginPage{Next: next})
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request, status int, p loginPage) {
	v := &visit{console: c, w: w, r: r}
	if err := v.write(status, "login", "page", view{visit: v, Title: "Log in", Data: p}); err != nil {
		c.fail(v, err)
	}
}

// maxForm is what a form may hold: a campaign's text and filters are far below.
const maxForm = 256 << 10

// maxUpload is what a form with a file may hold.
const maxUpload = 2 << 20

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p := loginPage{Next: localPath(r.PostFormValue("next"))}
	if !c.logins.allow(r, c.opts.Clock()) {
		w.Header().Set("Retry-After", "60")
		p.Error = "Too many tries: wait a minute."
		c.showLogin(w, r, http.StatusTooManyRequests, p)
		return
	}
	token, err := c.opts.Tokens.Authenticate(r.Context(), strings.TrimSpace(r.PostFormValue("token")))
	switch {
	case errors.Is(err, apitoken.ErrUnknown):
		p.Error = "No such token, or it is revoked. onward token create makes one."
		c.showLogin(w, r, http.StatusUnauthorized, p)
		return
	case err == nil:
		err = c.opts.Sessions.begin(w, r, token)
	}
	if err != nil {
		c.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "log in", slog.Any("error", err))
		w.Header().Set("Retry-After", "1")
		p.Error = "Tokens cannot be checked right now: try again."
		c.showLogin(w, r, http.StatusServiceUnavailable, p)
		return
	}
	http.Redirect(w, r, p.Next, http.StatusSeeOther)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if err := c.opts.Sessions.end(w, r); err != nil {
		c.fail(&visit{console: c, w: w, r: r}, err)
		return
	}
	// What pages showed is not for whoever sits there next.
	w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// localPath is a path of this host to go to, or else the first page: no login leads elsewhere.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || u.Path == loginPath {
		return "/"
	}
	return next
}

const loginPath = "/login"

// loginTo sends a browser to the login, from where it comes back; a script of a page is told to go there as a whole.
func loginTo(w http.ResponseWriter, r *http.Request) {
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead || isPartial(r) {
		next = "/"
		if u, err := url.Parse(r.Header.Get("Hx-Current-Url")); err == nil && u.Path != "" {
			next = u.RequestURI()
		}
	}
	to := loginPath + "?next=" + url.QueryEscape(next)
	if isPartial(r) {
		w.Header().Set("Hx-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// RequireSession sends browsers without a session to the login; whoever has a token of another kind is let through to
// where it is checked.
func RequireSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, in := apitoken.FromContext(r.Context())
		page := r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
		if !in && page && r.Header.Get("Authorization") == "" {
			loginTo(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
