package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/web/inbox"
	"onward/web/webhook"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const (
	publicURL      = "https://hooks.example.com"
	oldToken       = "0123456789abcdef0123456789abcdef"
	token          = "fedcba9876543210fedcba9876543210"
	rcSecret       = "whsec_cmVjdXJyZW50ZS1zZWNyZXQtMDE="
	rsSecret       = "whsec_cmVzZW5kLXNlY3JldC0wMDAwMDE="
	oldSecret      = "whsec_b2xkLXNlY3JldC0wMDAwMDAwMDE="
	foreignSecret  = "whsec_Zm9yZWlnbi1zZWNyZXQtMDAwMDE="
	statusPath     = "/webhooks/twilio/status"
	inboundPath    = "/webhooks/twilio/inbound"
	recurrentePath = "/webhooks/recurrente"
	resendPath     = "/webhooks/resend"

	form = "application/x-www-form-urlencoded"
)

var now = time.Date(2026, 11, 23, 8, 30, 0, 0, time.UTC) // what every test's clock shows; never written

// fakeInbox remembers what it accepted.
type fakeInbox struct {
	mu       sync.Mutex
	receipts []inbox.Receipt
	result   inbox.Result
	err      error
}

func (f *fakeInbox) Accept(_ context.Context, r inbox.Receipt) (uuid.UUID, inbox.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return uuid.Nil, 0, f.err
	}
	f.receipts = append(f.receipts, r)
	return uuid.New(), f.result, nil
}

// observed is one call of Observe.
type observed struct {
	provider, result string
	secret           int
}

type bundle struct {
	http.Handler
	inbox    *fakeInbox
	mu       sync.Mutex
	observed []observed
}

func (b *bundle) observe(a webhook.Answered) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.observed = append(b.observed, observed{a.Provider, a.Result, a.Secret})
}

func options(accepting webhook.Acceptor) webhook.Options {
	return webhook.Options{
		Inbox:             accepting,
		PublicURL:         publicURL,
		TwilioAuthTokens:  []string{oldToken, token},
		RecurrenteSecrets: []string{rcSecret, oldSecret},
		ResendSecrets:     []string{rsSecret},
		Clock:             func() time.Time { return now },
	}
}

// setup returns the endpoints of all providers on an inbox that accepts everything.
func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{inbox: &fakeInbox{result: inbox.Accepted}}
	opts := options(b.inbox)
	opts.Observe = b.observe
	b.Handler = routes(t, opts)
	return b
}

func routes(t testing.TB, opts webhook.Options) http.Handler {
	t.Helper()
	h, err := webhook.New(opts)
	require.NoError(t, err)
	r := chi.NewRouter()
	h.Routes(r)
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func post(target, contentType, body string, header http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	maps.Copy(r.Header, header)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// signTwilio is the plain rule, for parameters that come once.
func signTwilio(token, url string, params url.Values) string {
	signed := url
	for _, key := range slices.Sorted(maps.Keys(params)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(params[key]))) {
			signed += key + value
		}
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(signed))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// twilio is a form POST as Twilio signs it.
func twilio(t testing.TB, target, body string) *http.Request {
	t.Helper()
	params, err := url.ParseQuery(body)
	require.NoError(t, err)
	return post(target, form, body, http.Header{
		"X-Twilio-Signature": {signTwilio(token, publicURL+target, params)},
		"User-Agent":         {"TwilioProxy/1.1"},
	})
}

// twilioJSON is a JSON POST as Twilio signs it.
func twilioJSON(path, body string) *http.Request {
	sum := sha256.Sum256([]byte(body))
	target := path + "?bodySHA256=" + hex.EncodeToString(sum[:])
	return post(target, "application/json", body, http.Header{"X-Twilio-Signature": {signTwilio(token, publicURL+target, nil)}})
}

// svix is a POST as Svix signs it.
func svix(target, secret, id string, at time.Time, body string) *http.Request {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + body))
	return post(target, "application/json", body, http.Header{
		"Svix-Id":        {id},
		"Svix-Timestamp": {timestamp},
		"Svix-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
		"User-Agent":     {"Svix-Webhooks/1.20"},
	})
}

// sample is a body in testdata, with where its shape comes from.
type sample struct {
	Name   string          `json:"name"`
	Source string          `json:"source"`
	Body   json.RawMessage `json:"body"`
}

// text is the body: a JSON string holds a form, anything else is itself.
func (s sample) text(t testing.TB) string {
	t.Helper()
	if !bytes.HasPrefix(s.Body, []byte(`"`)) {
		return string(s.Body)
	}
	var text string
	require.NoError(t, json.Unmarshal(s.Body, &text))
	return text
}

func load[T any](t testing.TB, name string) []T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	var all []T
	require.NoError(t, json.Unmarshal(data, &all))
	require.NotEmpty(t, all)
	return all
}
