package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"onward/web"
	"onward/web/plainhttp"
)

// bundle is a router with the common middleware, and what it told.
type bundle struct {
	*testing.T
	router chi.Router
	logs   bytes.Buffer
	seen   []web.Request
}

func setup(t *testing.T, tune func(*web.Options)) *bundle {
	t.Helper()
	b := &bundle{T: t, router: chi.NewRouter()}
	o := web.Options{
		Logger:  slog.New(slog.NewJSONHandler(&b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe: func(r web.Request) { b.seen = append(b.seen, r) },
	}
	if tune != nil {
		tune(&o)
	}
	web.Common(b.router, o)
	b.router.Get("/things/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Receipt-Id", "r1")
		w.WriteHeader(http.StatusAccepted)
	})
	b.router.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("oh") })
	b.router.Get("/healthz", web.Healthz)
	return b
}

func (b *bundle) get(path string, header ...string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

// line is the last line that was logged.
func (b *bundle) line() (line map[string]any) {
	b.Helper()
	lines := strings.Split(strings.TrimSpace(b.logs.String()), "\n")
	require.NoError(b, json.Unmarshal([]byte(lines[len(lines)-1]), &line))
	return line
}

func TestCommon_tellsOfEachRequestOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	w := b.get("/things/4711?secret=x")
	id := w.Header().Get("X-Request-Id")
	require.NoError(t, uuid.Validate(id))
	line := b.line()
	require.Equal(t, []any{"request", "INFO", id, "/things/{id}", 202.0, "r1"},
		[]any{line["msg"], line["level"], line["request_id"], line["route"], line["code"], line["receipt_id"]})
	require.NotContains(t, b.logs.String(), "4711")
	require.NotContains(t, b.logs.String(), "secret")
	require.Len(t, b.seen, 1)
	require.Equal(t, []any{"/things/{id}", "GET", 202, ""}, []any{b.seen[0].Route, b.seen[0].Method, b.seen[0].Code, b.seen[0].TraceID})

	mine := uuid.NewString()
	require.Equal(t, mine, b.get("/things/1", "X-Request-Id", mine).Header().Get("X-Request-Id"))
	require.NotEqual(t, "x y", b.get("/things/1", "X-Request-Id", "x y").Header().Get("X-Request-Id"))

	b.get("/whatever/strangers/ask/for")
	require.Equal(t, "(none)", b.line()["route"])
	b.get("/healthz")
	require.Equal(t, "DEBUG", b.line()["level"])
	require.Equal(t, http.StatusInternalServerError, b.get("/panic").Code)
	require.Equal(t, 500.0, b.line()["code"])
	require.Len(t, b.seen, 6)
}

// A handler of plain requests is told of as one behind a router.
func TestPlain_tellsOfEachRequestOnce(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	for name, tune := range map[string]func(*web.Options){
		"untraced": nil,
		"traced": func(o *web.Options) {
			o.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
			o.Parent = func(r *http.Request) context.Context {
				require.Equal(t, "/hook?secret=x", r.URL.String())
				return r.Context()
			}
		},
	} {
		var o web.Options
		b := setup(t, func(given *web.Options) {
			if tune != nil {
				tune(given)
			}
			o = *given
		})
		ask := func(header plainhttp.Header, next plainhttp.Handler) plainhttp.Header {
			r := &plainhttp.Request{Method: http.MethodPost, Target: "/hook?secret=x", Path: "/hook", Query: "secret=x", Header: header}
			return web.Plain(o, "/hook", next)(t.Context(), r).Header
		}
		accepted := func(context.Context, *plainhttp.Request) plainhttp.Answer {
			return plainhttp.Answer{Status: http.StatusAccepted, Header: []plainhttp.Field{{Name: "X-Receipt-Id", Value: "r1"}}}
		}
		id := ask(nil, accepted).Get("X-Request-Id")
		require.NoError(t, uuid.Validate(id), name)
		line := b.line()
		require.Equal(t, []any{"request", "INFO", id, "POST", "/hook", 202.0, "r1"}, []any{
			line["msg"], line["level"], line["request_id"], line["method"], line["route"], line["code"], line["receipt_id"],
		}, name)
		require.NotContains(t, b.logs.String(), "secret", name)
		mine := uuid.NewString()
		require.Equal(t, mine, ask(plainhttp.Header{{Name: "X-Request-Id", Value: mine}}, accepted).Get("X-Request-Id"), name)
		ask(nil, func(context.Context, *plainhttp.Request) plainhttp.Answer { panic("oh") })
		require.Equal(t, 500.0, b.line()["code"], name)
		require.Len(t, b.seen, 3, name)
		require.Equal(t, tune != nil, b.seen[0].TraceID != "", name)
	}
	require.Len(t, spans.Ended(), 3)
	require.Equal(t, "POST /hook", spans.Ended()[0].Name())
}

func TestCommon_traces(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	type key struct{}
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	b := setup(t, func(o *web.Options) {
		o.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		o.Parent = func(r *http.Request) context.Context {
			return trace.ContextWithRemoteSpanContext(context.WithValue(r.Context(), key{}, 1), parent)
		}
	})
	b.get("/things/1")
	b.get("/panic")
	b.get("/healthz")
	ended := spans.Ended()
	require.Len(t, ended, 2, "what machines ask for all the time is not traced")
	require.Equal(t, []string{"GET /things/{id}", "GET /panic"}, []string{ended[0].Name(), ended[1].Name()})
	require.Equal(t, parent.TraceID(), ended[0].SpanContext().TraceID())
	require.Equal(t, parent.TraceID().String(), b.seen[0].TraceID)
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	for _, reasons := range []map[string]string{{}, {"database": "does not answer"}} {
		w := httptest.NewRecorder()
		web.Readyz(func(context.Context) map[string]string { return reasons })(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		var got struct {
			Ready   bool
			Reasons map[string]string
		}
		require.NoError(t, json.NewDecoder(w.Body).Decode(&got))
		require.Equal(t, reasons, got.Reasons)
		require.Equal(t, len(reasons) == 0, got.Ready)
		require.Equal(t, got.Ready, w.Code == http.StatusOK)
	}
}
