package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/web/apitoken"
)

// How long a session lives, and how often its cookie changes.
const (
	sessionIdle     = 12 * time.Hour
	sessionAbsolute = 7 * 24 * time.Hour
	sessionRotate   = time.Hour
	// rotateGrace is how long the cookie of before a rotation is still good: for what was under way in other tabs.
	rotateGrace = time.Minute
)

// Names of the cookie. The prefix makes a browser refuse it from anywhere but this host, over TLS.
const (
	cookieName       = "onward_session"
	secureCookieName = "__Host-onward_session"
)

// liveHeader marks a page's own questions for news: they keep no session alive.
const liveHeader = "X-Live"

// Sessions finds out whose browser a request comes from. They are kept in the database, so that any web process
// knows them and a revoked token ends them at once.
type Sessions struct {
	pool   *pgxpool.Pool
	logger *slog.Logger
	origin *http.CrossOriginProtection
}

// NewSessions returns the sessions of a database.
func NewSessions(pool *pgxpool.Pool, logger *slog.Logger) *Sessions {
	return &Sessions{pool: pool, logger: logger, origin: http.NewCrossOriginProtection()}
}

type session struct {
	id      int64
	token   apitoken.Token
	rotated time.Time
	seen    time.Time
	now     time.Time // the database's clock, which all of these are by
	flash   []Flash
}

type sessionKey struct{}

func sessionOf(ctx context.Context) (*session, bool) {
	s, ok := ctx.Value(sessionKey{}).(*session)
	return s, ok
}

// Middleware puts the token of a session into the context of its requests, so that API, River UI and console know who
// acts. A browser sends its cookie along whoever makes it ask: what changes something must come from a page of ours
// (Sec-Fetch-Site, or else Origin). A request that brings a token of its own is left to those who check that.
func (s *Sessions) Middleware(next http.Handler) http.Handler {
	sameOrigin := s.origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret := sessionCookie(r)
		if secret == "" || r.Header.Get("Authorization") != "" || strings.HasPrefix(r.URL.Path, staticPrefix) {
			next.ServeHTTP(w, r)
			return
		}
		found, err := s.find(r.Context(), secret)
		if errors.Is(err, pgx.ErrNoRows) {
			next.ServeHTTP(w, r)
			return
		}
		if err != nil {
			s.logger.LogAttrs(r.Context(), slog.LevelError, "find a session", slog.Any("error", err))
			w.Header().Set("Retry-After", "1")
			http.Error(w, "Sessions cannot be checked right now: try again.", http.StatusServiceUnavailable)
			return
		}
		if err := s.keep(w, r, found); err != nil {
			s.logger.LogAttrs(r.Context(), slog.LevelWarn, "keep a session", slog.Any("error", err)) // it lives on as it was
		}
		ctx := context.WithValue(apitoken.WithToken(r.Context(), found.token), sessionKey{}, found)
		sameOrigin.ServeHTTP(w, r.WithContext(ctx))
	})
}

func sessionCookie(r *http.Request) string {
	for _, name := range []string{secureCookieName, cookieName} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return c.Value
		}
	}
	return ""
}

func (s *Sessions) find(ctx context.Context, secret string) (*session, error) {
	f := &session{}
	t := &f.token
	var flash []byte
	err := s.pool.QueryRow(ctx, `
		SELECT s.id, s.rotated_at, s.seen_at, now(), s.flash, t.id, t.public_id, t.name, t.role, t.created_at, t.last_used_at
		FROM console_sessions s
		JOIN api_tokens t ON t.id = s.token_id
		WHERE (s.secret_hash = $1 OR s.previous_hash = $1 AND s.rotated_at > now() - $2::interval)
			AND s.seen_at > now() - $3::interval AND s.created_at > now() - $4::interval AND t.revoked_at IS NULL`,
		hashed(secret), rotateGrace, sessionIdle, sessionAbsolute,
	).Scan(&f.id, &f.rotated, &f.seen, &f.now, &flash, &t.ID, &t.PublicID, &t.Name, &t.Role, &t.CreatedAt, &t.LastUsedAt)
	if err != nil {
		return nil, err
	}
	if flash != nil {
		err = json.Unmarshal(flash, &f.flash)
	}
	return f, err
}

// keep notes that a session is in use, and gives it a new cookie every hour: with a page, whose answer a browser
// surely takes, not with an answer to a script that may be gone.
func (s *Sessions) keep(w http.ResponseWriter, r *http.Request, f *session) error {
	if r.Header.Get(liveHeader) != "" {
		return nil
	}
	page := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	if page && f.now.Sub(f.rotated) > sessionRotate {
		secret, err := newSecret()
		if err != nil {
			return err
		}
		tag, err := s.pool.Exec(r.Context(), `
			UPDATE console_sessions
			SET previous_hash = secret_hash, secret_hash = $2, rotated_at = now(), seen_at = now()
			WHERE id = $1 AND rotated_at = $3`, f.id, hashed(secret), f.rotated)
		if err == nil && tag.RowsAffected() == 1 {
			setSessionCookie(w, r, secret)
		}
		return err
	}
	if f.now.Sub(f.seen) < time.Minute {
		return nil
	}
	_, err := s.pool.Exec(r.Context(), `UPDATE console_sessions SET seen_at = now() WHERE id = $1`, f.id)
	return err
}

// begin logs a browser in: under a new cookie, whatever it had before.
func (s *Sessions) begin(w http.ResponseWriter, r *http.Request, t apitoken.Token) error {
	secret, err := newSecret()
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(r.Context(), s.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`DELETE FROM console_sessions WHERE secret_hash = $1 OR seen_at < now() - $2::interval OR created_at < now() - $3::interval`,
			hashed(sessionCookie(r)), sessionIdle, sessionAbsolute)
		batch.Queue(`INSERT INTO console_sessions (secret_hash, token_id) VALUES ($1, $2)`, hashed(secret), t.ID)
		return tx.SendBatch(r.Context(), batch).Close()
	})
	if err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	setSessionCookie(w, r, secret)
	return nil
}

// end logs a browser out.
func (s *Sessions) end(w http.ResponseWriter, r *http.Request) error {
	if f, ok := sessionOf(r.Context()); ok {
		if _, err := s.pool.Exec(r.Context(), `DELETE FROM console_sessions WHERE id = $1`, f.id); err != nil {
			return fmt.Errorf("end a session: %w", err)
		}
	}
	for _, name := range []string{secureCookieName, cookieName} {
		http.SetCookie(w, &http.Cookie{
			Name: name, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: name == secureCookieName,
		})
	}
	return nil
}

// setFlash keeps what the next page is to tell; none takes it away.
func (s *Sessions) setFlash(ctx context.Context, id int64, list []Flash) error {
	var value []byte
	if len(list) > 0 {
		var err error
		if value, err = json.Marshal(list); err != nil {
			return err
		}
	}
	_, err := s.pool.Exec(ctx, `UPDATE console_sessions SET flash = $2 WHERE id = $1`, id, value)
	return err
}

func setSessionCookie(w http.ResponseWriter, r *http.Request, secret string) {
	c := &http.Cookie{
		Name: cookieName, Value: secret, Path: "/", HttpOnly: true, MaxAge: int(sessionAbsolute.Seconds()),
		// Not strict: a link to the console in an alert must lead past the login.
		SameSite: http.SameSiteLaxMode,
	}
	if secure(r) {
		c.Name, c.Secure = secureCookieName, true
	}
	http.SetCookie(w, c)
}

// secure reports whether a request came over TLS, here or at a proxy in front. Whoever claims so falsely only makes a
// browser keep its own cookie closer.
func secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

func newSecret() (string, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(random), nil
}

func hashed(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
