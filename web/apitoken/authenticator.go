package apitoken

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// CacheFor is how long a token is accepted without another look at the database: what a revocation may take
	// to be felt. A busy client costs one look in that time.
	CacheFor = 5 * time.Second
	// maxCached bounds the cache. Only tokens that exist are cached, so it takes that many to fill it.
	maxCached = 1000
)

// Authenticator is [Authenticate] with a small memory. It is safe for concurrent use.
type Authenticator struct {
	pool  *pgxpool.Pool
	clock func() time.Time

	mu    sync.Mutex
	known map[[32]byte]seen
}

type seen struct {
	token Token
	until time.Time
}

// NewAuthenticator returns an authenticator over a pool. The clock is nil for the time of day.
func NewAuthenticator(pool *pgxpool.Pool, clock func() time.Time) *Authenticator {
	if clock == nil {
		clock = time.Now
	}
	return &Authenticator{pool: pool, clock: clock, known: map[[32]byte]seen{}}
}

// Authenticate finds the token that a secret belongs to; [ErrUnknown] when there is none, or no longer.
func (a *Authenticator) Authenticate(ctx context.Context, secret string) (Token, error) {
	if !strings.HasPrefix(secret, prefix) {
		return Token{}, ErrUnknown
	}
	key := [32]byte(hash(secret))
	now := a.clock()
	a.mu.Lock()
	s, ok := a.known[key]
	a.mu.Unlock()
	if ok && now.Before(s.until) {
		return s.token, nil
	}
	t, err := authenticate(ctx, a.pool, key[:])
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		delete(a.known, key)
		return Token{}, err
	}
	if len(a.known) >= maxCached {
		clear(a.known)
	}
	a.known[key] = seen{token: t, until: now.Add(CacheFor)}
	return t, nil
}
