package providersim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// draws returns the source of chance for one thing that happens. It depends on
// the seed and the thing alone, so that two runs agree although their requests
// come in another order.
func (s *Sim) draws(thing ...string) *mathrand.Rand {
	h := fnv.New64a()
	for _, part := range thing {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return mathrand.New(mathrand.NewPCG(s.opts.Seed, h.Sum64())) //nolint:gosec // chance that can be repeated is the point
}

// id is 32 hex digits, the same for the same thing within a run.
func (s *Sim) id(thing ...string) string {
	sum := sha256.Sum256([]byte(s.run + "\x00" + strings.Join(thing, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// uuid is id in the form of a UUID.
func (s *Sim) uuid(thing ...string) string {
	h := s.id(thing...)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:]
}

// ordinal counts how often a thing happened before, from 1.
func (s *Sim) ordinal(thing string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[thing]++
	return strconv.Itoa(s.counts[thing])
}

func randomRunID() string { return rand.Text() }

// between draws a duration.
func between(r *mathrand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(r.Int64N(int64(high-low)))
}

func chance(r *mathrand.Rand, p float64) bool { return r.Float64() < p }
