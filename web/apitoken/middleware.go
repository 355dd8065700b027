package apitoken

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

type contextKey struct{}

// WithToken puts a token into a context: the holder of a session acts by the token that began it.
func WithToken(ctx context.Context, t Token) context.Context {
	return context.WithValue(ctx, contextKey{}, t)
}

// FromContext returns the token by which a request came.
func FromContext(ctx context.Context) (Token, bool) {
	t, ok := ctx.Value(contextKey{}).(Token)
	return t, ok
}

// Middleware lets only requests with a valid bearer token through, and those that have a token in their context
// already. Others get 401, or 503 while the database cannot be asked.
func (a *Authenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := FromContext(r.Context()); ok {
			next.ServeHTTP(w, r)
			return
		}
		secret, ok := bearer(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="onward"`)
			problem(w, http.StatusUnauthorized, "this needs a token: send Authorization: Bearer TOKEN (onward token create makes one)")
			return
		}
		t, err := a.Authenticate(r.Context(), secret)
		switch {
		case errors.Is(err, ErrUnknown):
			w.Header().Set("WWW-Authenticate", `Bearer realm="onward", error="invalid_token"`)
			problem(w, http.StatusUnauthorized, "the token does not exist or is revoked")
		case err != nil:
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusServiceUnavailable, "tokens cannot be checked right now: try again")
		default:
			next.ServeHTTP(w, r.WithContext(WithToken(r.Context(), t)))
		}
	})
}

// Page is [Authenticator.Middleware] for what people open in a browser: a token is taken as the password that the browser
// asks for, too, with any name. Only for what is read: a browser sends such a password along whoever makes it ask.
func (a *Authenticator) Page(next http.Handler) http.Handler {
	checked := a.Middleware(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, secret, ok := r.BasicAuth(); ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		checked.ServeHTTP(&challenge{ResponseWriter: w, scheme: Challenge(r)}, r)
	})
}

// Challenge is the header WWW-Authenticate of a refusal on a page for people: a browser that loads the page asks for the
// password. What a script of a page fetches names a scheme that browsers do not ask for: the script tells its reader, and
// no window opens over what they do.
func Challenge(r *http.Request) string {
	accept := r.Header.Get("Accept")
	page := accept == "" || strings.Contains(accept, "text/html")
	// Over plain HTTP browsers leave the mode out, except to this machine.
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		page = mode == "navigate"
	}
	if page {
		return `Basic realm="onward: any name, and an API token as the password", charset="UTF-8"`
	}
	return `Bearer realm="onward"`
}

// challenge makes a browser ask for the password that it was refused for want of.
type challenge struct {
	http.ResponseWriter
	scheme string
}

// WriteHeader names the scheme.
func (c *challenge) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", c.scheme)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (c *challenge) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// bearer reads the Authorization header; the scheme's name has no case (RFC 9110, 11.1).
func bearer(r *http.Request) (string, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	secret = strings.TrimSpace(secret)
	return secret, ok && strings.EqualFold(scheme, "Bearer") && secret != ""
}

// problem answers as RFC 9457 says.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is out: an error here is the client's connection, and nobody is left to tell.
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
