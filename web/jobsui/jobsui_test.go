package jobsui_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/web/apitoken"
	"onward/web/jobsui"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

type bundle struct {
	*testing.T
	pool   *pgxpool.Pool
	router chi.Router
	tokens map[apitoken.Role]string
	woken  []string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, pool: pgtest.New(t, pgtest.Schema).Pool, router: chi.NewRouter(), tokens: map[apitoken.Role]string{}}
	for _, role := range apitoken.Roles() {
		_, secret, err := apitoken.Create(t.Context(), b.pool, string(role), role)
		require.NoError(t, err)
		b.tokens[role] = secret
	}
	client, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ui, err := jobsui.New(jobsui.Options{
		Pool: b.pool, River: client, Tokens: apitoken.NewAuthenticator(b.pool, nil), Logger: slog.New(slog.DiscardHandler),
		Kinds:  []string{"send", "reply", "purchase"},
		Counts: func() (map[string]int, bool) { return map[string]int{"completed": 10_000_000}, true },
		Wake:   func(queues []string) { b.woken = append(b.woken, queues...) },
	})
	require.NoError(t, err)
	ui.Mount(b.router)
	return b
}

// send makes a request with the token of a role as the password.
func (b *bundle) send(role apitoken.Role, method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if role != "" {
		r.SetBasicAuth("anybody", b.tokens[role])
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

func (b *bundle) job(sql string) {
	b.Helper()
	_, err := b.pool.Exec(b.Context(), sql)
	require.NoError(b, err)
}

func (b *bundle) one(sql string) (s string) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.Context(), sql).Scan(&s))
	return s
}

const failed = `INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, finalized_at) VALUES ('reply', 'inbound', 'discarded', '{}', 25, 25, now())`

func TestMount_asksForAToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/jobs", "/jobs/", "/jobs/api/jobs", "/jobs/api/states", "/jobs/favicon.ico"} {
		w := b.send("", http.MethodGet, path, "")
		require.Equal(t, http.StatusUnauthorized, w.Code, path)
		require.Contains(t, w.Header().Get("WWW-Authenticate"), "Basic ", "so that a browser asks")
		// What its pages fetch by themselves, once a session is over: no window opens over them.
		for _, fetch := range [][]string{{"Sec-Fetch-Mode", "cors"}, {"Sec-Fetch-Mode", "same-origin", "Accept", "text/html"}, {"Accept", "*/*"}, {"Accept", "application/json"}} {
			w = b.send("", http.MethodGet, path, "", fetch...)
			require.Equal(t, http.StatusUnauthorized, w.Code, path)
			require.NotContains(t, w.Header().Get("WWW-Authenticate"), "Basic", "%s %v", path, fetch)
		}
		for _, load := range [][]string{{"Sec-Fetch-Mode", "navigate", "Accept", "*/*"}, {"Accept", "text/html,*/*"}} {
			require.Contains(t, b.send("", http.MethodGet, path, "", load...).Header().Get("WWW-Authenticate"), "Basic ", "%s %v", path, load)
		}
	}
	require.Equal(t, http.StatusUnauthorized, b.send("", http.MethodGet, "/jobs/", "", "Authorization", "Bearer onw_wrong").Code)
	require.Equal(t, http.StatusOK, b.send("", http.MethodGet, "/jobs/", "", "Authorization", "bearer "+b.tokens[apitoken.Viewer]).Code)
	page := b.send(apitoken.Viewer, http.MethodGet, "/jobs/", "")
	require.Equal(t, http.StatusOK, page.Code)
	require.Contains(t, page.Body.String(), "/jobs/assets/")
	require.Equal(t, http.StatusMovedPermanently, b.send(apitoken.Viewer, http.MethodGet, "/jobs", "").Code)
	require.Equal(t, http.StatusOK, b.send(apitoken.Viewer, http.MethodGet, "/jobs/jobs/1", "").Code, "a page's own address")

	// A session that began elsewhere is as good.
	token, err := apitoken.Authenticate(t.Context(), b.pool, b.tokens[apitoken.Viewer])
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/jobs/", nil)
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r.WithContext(apitoken.WithToken(r.Context(), token)))
	require.Equal(t, http.StatusOK, w.Code)
}

func TestMount_viewersRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.job(failed)
	w := b.send(apitoken.Viewer, http.MethodGet, "/jobs/api/jobs?state=discarded", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Contains(t, w.Body.String(), `"kind":"reply"`)
	for _, request := range []string{
		"POST /jobs/api/jobs/retry", "POST /jobs/api/jobs/cancel", "POST /jobs/api/jobs/delete", "PUT /jobs/api/queues/inbound/pause",
		"PUT /jobs/api/queues/inbound/resume",
	} {
		method, path, _ := strings.Cut(request, " ")
		require.Equal(t, http.StatusForbidden, b.send(apitoken.Viewer, method, path, `{"ids":["1"]}`).Code, request)
	}
	// What is not listed does not exist, for nobody: no spelling of an address comes past the rules.
	for _, request := range []string{
		"POST /jobs//api/jobs/retry", "POST /jobs/api/jobs%2Fretry", "POST /jobs/./api/jobs/retry", "PATCH /jobs/api/queues/inbound", "DELETE /jobs/api/jobs/1",
	} {
		method, path, _ := strings.Cut(request, " ")
		require.Contains(t, []int{http.StatusMethodNotAllowed, http.StatusNotFound}, b.send(apitoken.Admin, method, path, `{"ids":["1"]}`).Code, request)
	}
	require.Equal(t, "discarded", b.one(`SELECT state::text FROM river_job`))
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.job(failed)
	require.Equal(t, http.StatusForbidden, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/retry", `{"ids":["1"]}`, "Sec-Fetch-Site", "cross-site").Code)
	w := b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/retry", `{"ids":["1"]}`, "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.JSONEq(t, `{"status":"ok"}`, w.Body.String())
	require.Equal(t, "available", b.one(`SELECT state::text FROM river_job`))
	require.Equal(t, []string{"inbound"}, b.woken)
	require.Equal(t, "operator jobs.retry id=1 (by River UI, which asks for no reason)",
		b.one(`SELECT concat_ws(' ', actor, action, target_id, reason) FROM operator_actions WHERE token_id IS NOT NULL`))
	require.Equal(t, http.StatusBadRequest, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/retry", `{"ids":[]}`).Code)
	require.Equal(t, http.StatusBadRequest, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/retry", `[`).Code)
}

// The pages are no way around the rule: what may have been sent is not put back, and neither is what came with it.
func TestRetry_leavesWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.job(failed)
	b.job(`
		WITH b AS (
			INSERT INTO businesses (public_id, name) VALUES (gen_random_uuid(), 'Test') RETURNING id
		), m AS (
			INSERT INTO messages (public_id, business_id, channel, address, body, state)
			SELECT gen_random_uuid(), id, 'email', 'a@example.test', '', 'held' FROM b RETURNING id
		)
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, finalized_at)
		SELECT 'send', 'send_email', 'discarded', jsonb_build_object('message_id', id, 'channel', 'email'), 25, 25, now() FROM m`)
	w := b.send(apitoken.Admin, http.MethodPost, "/jobs/api/jobs/retry", `{"ids":["1", 2]}`)
	require.Equal(t, http.StatusConflict, w.Code)
	var answer struct{ Message string }
	require.NoError(t, json.NewDecoder(w.Body).Decode(&answer))
	require.Contains(t, answer.Message, "Nothing was done. Job 2: message ")
	require.Contains(t, answer.Message, "Resolve it first")
	require.Equal(t, "2", b.one(`SELECT count(*)::text FROM river_job WHERE state = 'discarded'`))
	require.Equal(t, "0", b.one(`SELECT count(*)::text FROM operator_actions`))
}

func TestCancelDeleteAndPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.job(`INSERT INTO river_job (kind, queue, state, args, max_attempts) VALUES ('reply', 'inbound', 'available', '{}', 25), ('reply', 'inbound', 'running', '{}', 25)`)
	b.job(`INSERT INTO river_queue (name, updated_at) VALUES ('inbound', now())`)
	require.Equal(t, http.StatusOK, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/cancel", `{"ids":["1","2"]}`).Code)
	require.Equal(t, "cancelled", b.one(`SELECT state::text FROM river_job WHERE id = 1`))
	require.Equal(t, http.StatusBadRequest, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/delete", `{"ids":["1","2"]}`).Code, "one of them runs")
	require.Equal(t, http.StatusOK, b.send(apitoken.Operator, http.MethodPost, "/jobs/api/jobs/delete", `{"ids":["1"]}`).Code)
	require.Equal(t, "2", b.one(`SELECT string_agg(id::text, ' ') FROM river_job`))
	require.Equal(t, http.StatusNotFound, b.send(apitoken.Operator, http.MethodPut, "/jobs/api/queues/nowhere/pause", "").Code)
	require.Equal(t, http.StatusOK, b.send(apitoken.Operator, http.MethodPut, "/jobs/api/queues/inbound/pause", "").Code)
	require.Equal(t, "true", b.one(`SELECT (paused_at IS NOT NULL)::text FROM river_queue`))
	require.Equal(t, http.StatusOK, b.send(apitoken.Operator, http.MethodPut, "/jobs/api/queues/inbound/resume", "").Code)
	require.Equal(t, "jobs.cancel jobs.delete queue.pause queue.resume", b.one(`SELECT string_agg(action, ' ' ORDER BY id) FROM operator_actions`))
}

// Neither the badges nor the filter read every job.
func TestCountsAndKinds_comeFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.send(apitoken.Viewer, http.MethodGet, "/jobs/api/states", "")
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"completed": 10000000}`, string(body))
	w = b.send(apitoken.Viewer, http.MethodGet, "/jobs/api/autocomplete?facet=job_kind&match=E&exclude=send", "")
	require.JSONEq(t, `{"data": ["purchase", "reply"]}`, w.Body.String())
	b.job(`INSERT INTO river_queue (name, updated_at) VALUES ('inbound', now())`)
	w = b.send(apitoken.Viewer, http.MethodGet, "/jobs/api/autocomplete?facet=queue_name", "")
	require.JSONEq(t, `{"data": ["inbound"]}`, w.Body.String())
}
