// Package web holds what every listener shares: the order of middleware, the canonical log line, health. Its
// sub-packages serve: webhook and track in public, crmapi and metrics in private. It imports nothing of ours.
package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
)

// Request is one answered request, for metrics. Route is the pattern, not the path.
type Request struct {
	Route, Method string
	Code          int
	Took          time.Duration
}

// requestIDHeader joins a request with its log lines.
const requestIDHeader = "X-Request-Id"

// Common puts the middleware of every listener on a router: a request id, one canonical log line and one
// observation a request, and 500 for a panic. What is logged never includes a query, a body or an address.
func Common(r chi.Router, logger *slog.Logger, observe func(Request)) {
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			start := time.Now()
			id := req.Header.Get(requestIDHeader)
			if _, err := uuid.Parse(id); err != nil {
				id = uuid.NewString() // not from outside: it ends up in logs
			}
			w.Header().Set(requestIDHeader, id)
			ww := middleware.NewWrapResponseWriter(w, req.ProtoMajor)
			defer func() {
				if p := recover(); p != nil {
					if p == http.ErrAbortHandler { //nolint:errorlint,err113 // compared as net/http does
						panic(p)
					}
					logger.LogAttrs(req.Context(), slog.LevelError, "panic", slog.String("request_id", id),
						slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
					if ww.Status() == 0 {
						ww.WriteHeader(http.StatusInternalServerError)
					}
				}
				done(req, logger, observe, id, ww.Status(), time.Since(start))
			}()
			next.ServeHTTP(ww, req)
		})
	})
}

func done(req *http.Request, logger *slog.Logger, observe func(Request), id string, code int, took time.Duration) {
	if code == 0 {
		code = http.StatusOK
	}
	route := chi.RouteContext(req.Context()).RoutePattern()
	if route == "" || code == http.StatusNotFound {
		route = "(none)" // whatever strangers ask for must not become a label
	}
	level := slog.LevelInfo
	if route == "/healthz" || route == "/readyz" || route == "/metrics" {
		level = slog.LevelDebug
	}
	logger.LogAttrs(req.Context(), level, "request", slog.String("request_id", id), slog.String("method", req.Method),
		slog.String("route", route), slog.Int("code", code), slog.Duration("took", took))
	if observe != nil {
		observe(Request{Route: route, Method: req.Method, Code: code, Took: took})
	}
}

// Healthz answers while the process lives.
func Healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// Readyz answers 200 when check finds nothing, else 503 with the reasons as JSON.
func Readyz(check func(context.Context) map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reasons := check(r.Context())
		w.Header().Set("Content-Type", "application/json")
		if len(reasons) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(reasons) == 0, "reasons": reasons})
	}
}
