package track_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"onward/jobs/tracktoken"
	"onward/web/inbox"
	"onward/web/track"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	messageID = "0197b5c2-7d1e-7c3a-9f00-0123456789ab"
	key       = "a key for tests, which is long enough"
	browser   = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)

// inboxFake keeps receipts, and answers as it is told.
type inboxFake struct {
	mu       sync.Mutex
	receipts []inbox.Receipt

	result inbox.Result
	err    error
	during func(context.Context) // called in Accept; may block
}

func (f *inboxFake) Accept(ctx context.Context, r inbox.Receipt) (uuid.UUID, inbox.Result, error) {
	if f.during != nil {
		f.during(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return uuid.Nil, 0, f.err
	}
	f.receipts = append(f.receipts, r)
	if f.result == 0 {
		return uuid.New(), inbox.Accepted, nil
	}
	return uuid.Nil, f.result, nil
}

// bundle is what a test works with.
type bundle struct {
	t        require.TestingT
	inbox    *inboxFake
	tokens   *tracktoken.Codec
	router   chi.Router
	now      time.Time
	observed []string
}

func setup(t require.TestingT) *bundle {
	tokens, err := tracktoken.New([]string{key})
	require.NoError(t, err)
	b := &bundle{
		t: t, inbox: &inboxFake{}, tokens: tokens, router: chi.NewRouter(),
		now: time.Date(2026, 6, 1, 12, 0, 0, 123456789, time.FixedZone("", -6*3600)),
	}
	pages, err := track.New(track.Options{
		Inbox: b.inbox, Tokens: tokens, Clock: func() time.Time { return b.now },
		Observe: func(kind, result string) { b.observed = append(b.observed, kind+" "+result) },
	})
	require.NoError(t, err)
	pages.Routes(b.router)
	return b
}

func (b *bundle) token(p tracktoken.Purpose, c tracktoken.Claims) string {
	token, err := b.tokens.Seal(p, c)
	require.NoError(b.t, err)
	return token
}

func (b *bundle) request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://internal.example"+path, strings.NewReader(body))
	r.Header.Set("User-Agent", browser)
	return r
}

// do sends a request; headers are pairs of name and value.
func (b *bundle) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := b.request(method, path, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

// watched tells whether anything was answered yet.
type watched struct {
	*httptest.ResponseRecorder
	began bool
}

func newWatched() *watched { return &watched{ResponseRecorder: httptest.NewRecorder()} }

func (w *watched) written() bool { return w.began }

func (w *watched) WriteHeader(code int) {
	w.began = true
	w.ResponseRecorder.WriteHeader(code)
}

func (w *watched) Write(p []byte) (int, error) {
	w.began = true
	return w.ResponseRecorder.Write(p)
}

func openClaims() tracktoken.Claims { return tracktoken.Claims{MessageID: messageID} }

func clickClaims(url string) tracktoken.Claims {
	return tracktoken.Claims{MessageID: messageID, Channel: "email", Address: "ana@example.com", URL: url}
}

func unsubscribeClaims() tracktoken.Claims {
	return tracktoken.Claims{MessageID: messageID, Channel: "email", Address: "ana@example.com"}
}

// guarded checks the headers that every answer bears.
func guarded(t require.TestingT, h http.Header) {
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	require.Contains(t, h.Get("X-Robots-Tag"), "noindex")
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Empty(t, h.Values("Set-Cookie"))
}

func TestNewWantsItsOptions(t *testing.T) {
	t.Parallel()
	_, err := track.New(track.Options{Tokens: setup(t).tokens})
	require.ErrorContains(t, err, "Inbox")
	_, err = track.New(track.Options{Inbox: &inboxFake{}})
	require.ErrorContains(t, err, "Tokens")
}
