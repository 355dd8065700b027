package crmapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
	"onward/web/crmapi"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// newDB is the one place that knows where tests get their database from.
func newDB(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return pgtest.New(t, pgtest.Schema).Pool
}

// now is what the API's clock shows in tests, unless a test moves it.
func now() time.Time { return time.Now() }

// bundle is a running API with a token for each role.
type bundle struct {
	t      *testing.T
	pool   *pgxpool.Pool
	router chi.Router
	server *httptest.Server
	tokens map[apitoken.Role]string
	spec   func() *description

	mu      sync.Mutex
	woken   []string
	settled []pgstore.Address
	moved   []pgstore.Applied
}

func setup(t *testing.T, tune ...func(*crmapi.Options)) *bundle {
	t.Helper()
	return setupOn(t, newDB(t), tune...)
}

func setupOn(t *testing.T, pool *pgxpool.Pool, tune ...func(*crmapi.Options)) *bundle {
	t.Helper()
	b := &bundle{t: t, pool: pool, tokens: map[apitoken.Role]string{}}
	for _, role := range apitoken.Roles() {
		_, secret, err := apitoken.Create(t.Context(), pool, string(role), role)
		require.NoError(t, err)
		b.tokens[role] = secret
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	o := crmapi.Options{
		Pool: pool, River: client, Logger: slog.New(slog.DiscardHandler), Clock: now, SMSFrom: "+15005550001",
		Wake: func(queues []string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.woken = append(b.woken, queues...)
		},
		Settle: func(_ context.Context, addresses []pgstore.Address) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.settled = append(b.settled, addresses...)
			return nil
		},
		Observe: func(applied []pgstore.Applied) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.moved = append(b.moved, applied...)
		},
	}
	for _, f := range tune {
		f(&o)
	}
	api, err := crmapi.New(o)
	require.NoError(t, err)
	b.router = chi.NewRouter()
	api.Mount(b.router)
	b.server = httptest.NewServer(b.router)
	t.Cleanup(b.server.Close)
	b.spec = sync.OnceValue(func() *description {
		w := httptest.NewRecorder()
		ctx := apitoken.WithToken(t.Context(), apitoken.Token{Role: apitoken.Viewer}) // the tokens may be revoked by now
		b.router.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/openapi.json", nil))
		require.Equal(t, http.StatusOK, w.Code)
		return newDescription(t, w.Body.String())
	})
	return b
}

type obj = map[string]any

// reply is an answer; body is its JSON, or nil.
type reply struct {
	status int
	header http.Header
	raw    string
	body   obj
}

func (r reply) items() []any { return r.body["items"].([]any) }

// locations lists the places that a problem names.
func (r reply) locations() []string {
	var list []string
	errs, _ := r.body["errors"].([]any)
	for _, e := range errs {
		list = append(list, e.(obj)["location"].(string))
	}
	return list
}

// send makes a request as a role ("" is nobody). A body that is a string is sent as it is.
func (b *bundle) send(role apitoken.Role, method, path string, body any, header ...string) reply {
	b.t.Helper()
	var sent []byte
	switch v := body.(type) {
	case nil:
	case string:
		sent = []byte(v)
	default:
		var err error
		sent, err = json.Marshal(v)
		require.NoError(b.t, err)
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(sent)
	}
	if len(path) > 0 && path != "/docs" && path != "/openapi.json" {
		path = crmapi.Prefix + path
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, reader)
	require.NoError(b.t, err)
	if role != "" {
		req.Header.Set("Authorization", "Bearer "+b.tokens[role])
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.server.Client().Do(req)
	require.NoError(b.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	r := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &r.body) // a page is no JSON
	if r.status >= 400 {
		require.Equal(b.t, "application/problem+json", res.Header.Get("Content-Type"), r.raw)
		require.EqualValues(b.t, r.status, r.body["status"], r.raw)
		require.NotEmpty(b.t, r.body["title"])
		require.NotEmpty(b.t, r.body["detail"])
	}
	b.described(method, path, string(sent), r)
	return r
}

func (b *bundle) get(path string, status int) reply {
	b.t.Helper()
	r := b.send(apitoken.Viewer, http.MethodGet, path, nil)
	require.Equal(b.t, status, r.status, r.raw)
	return r
}

func (b *bundle) post(path string, body any, status int, header ...string) reply {
	b.t.Helper()
	r := b.send(apitoken.Operator, http.MethodPost, path, body, header...)
	require.Equal(b.t, status, r.status, r.raw)
	return r
}

func (b *bundle) patch(path string, body any, status int) reply {
	b.t.Helper()
	r := b.send(apitoken.Operator, http.MethodPatch, path, body)
	require.Equal(b.t, status, r.status, r.raw)
	return r
}

// business creates one and returns its id.
func (b *bundle) business(body obj) string {
	b.t.Helper()
	return b.post("/crm/businesses", body, http.StatusCreated).body["id"].(string)
}

// jobs lists kind, queue, state and arguments of what is enqueued.
func (b *bundle) jobs() []string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `SELECT kind || ' ' || queue || ' ' || state || ' ' || args::text FROM river_job ORDER BY id`)
	require.NoError(b.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return list
}

// actions lists what the operators' log says of a target, oldest first.
func (b *bundle) actions(targetType, targetID string) []string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `
		SELECT actor || ' ' || action || ' ' || reason
		FROM operator_actions
		WHERE target_type = $1 AND target_id = $2
		ORDER BY id`, targetType, targetID)
	require.NoError(b.t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return list
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

// one reads one value.
func one[T any](b *bundle, sql string, args ...any) T {
	b.t.Helper()
	var v T
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&v))
	return v
}
