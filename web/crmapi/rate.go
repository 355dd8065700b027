package crmapi

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"onward/web/apitoken"
)

// maxLimiters bounds the memory of a limiter: only tokens that exist have one, so it takes that many to fill it.
const maxLimiters = 1000

// limiter keeps the pace of each token in this process; any number of processes multiply it.
type limiter struct {
	perSecond float64
	burst     int
	clock     func() time.Time

	mu    sync.Mutex
	known map[int64]*rate.Limiter
}

func newLimiter(perSecond float64, clock func() time.Time) *limiter {
	return &limiter{perSecond: perSecond, burst: max(1, int(math.Ceil(4*perSecond))), clock: clock, known: map[int64]*rate.Limiter{}}
}

func (l *limiter) of(token int64) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.known[token]
	if !ok {
		if len(l.known) >= maxLimiters {
			clear(l.known)
		}
		one = rate.NewLimiter(rate.Limit(l.perSecond), l.burst)
		l.known[token] = one
	}
	return one
}

// limit answers 429 to a token that asks faster than its pace. What is left is in the headers of
// draft-ietf-httpapi-ratelimit-headers.
func (l *limiter) limit(next http.Handler) http.Handler {
	policy := fmt.Sprintf(`"token";q=%d;w=%d`, l.burst, int(math.Ceil(float64(l.burst)/l.perSecond)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := apitoken.FromContext(r.Context())
		one, now := l.of(token.ID), l.clock()
		ok := one.AllowN(now, 1)
		left := max(0, one.TokensAt(now))
		w.Header().Set("RateLimit-Policy", policy)
		w.Header().Set("RateLimit", fmt.Sprintf(`"token";r=%d;t=%d`, int(left), int(math.Ceil((float64(l.burst)-left)/l.perSecond))))
		if !ok {
			w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil((1-left)/l.perSecond)))))
			writeProblem(w, http.StatusTooManyRequests, fmt.Sprintf("more than %g requests a second by this token: wait as Retry-After says", l.perSecond))
			return
		}
		next.ServeHTTP(w, r)
	})
}
