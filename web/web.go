// Package web holds what every listener shares: the order of middleware, the canonical log line, health. Its
// sub-packages serve: webhook and track in public, crmapi and metrics in private. It imports plainhttp, nothing else of ours.
package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"onward/web/plainhttp"
)

// Request is one answered request, for metrics. Route is the pattern, not the path.
type Request struct {
	Route, Method string
	Code          int
	Took          time.Duration
	TraceID       string // "" where there is no trace
}

// Options are what every listener needs. Logger is required.
type Options struct {
	Logger  *slog.Logger
	Observe func(Request) // told of each answered request; may be nil

	// Tracer makes a span of each request; nil: none. Parent returns the context of the span that a request is to be a
	// child of, from what it carries; nil: requests begin traces of their own.
	Tracer trace.Tracer
	Parent func(*http.Request) context.Context
}

// Headers that join a request with its log lines. A handler names the receipt that it made in the second.
const (
	requestIDHeader = "X-Request-Id"
	receiptIDHeader = "X-Receipt-Id"
)

// Common puts the middleware of every listener on a router: a request id, one canonical log line, one observation and
// one span a request, and 500 for a panic. What is logged never includes a query, a body or an address.
func Common(r chi.Router, o Options) {
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			start := time.Now()
			id := requestID(req.Header.Get(requestIDHeader))
			w.Header().Set(requestIDHeader, id)
			ww := middleware.NewWrapResponseWriter(w, req.ProtoMajor)
			req, span := o.trace(req, id)
			defer func() {
				if p := recover(); p != nil {
					if p == http.ErrAbortHandler { //nolint:errorlint,err113 // compared as net/http does
						panic(p)
					}
					o.panicked(req.Context(), id, p)
					if ww.Status() == 0 {
						ww.WriteHeader(http.StatusInternalServerError)
					}
				}
				o.done(req.Context(), span, answered{
					id: id, method: req.Method, route: chi.RouteContext(req.Context()).RoutePattern(), code: ww.Status(),
					receipt: ww.Header().Get(receiptIDHeader), took: time.Since(start),
				})
			}()
			next.ServeHTTP(ww, req)
		})
	})
}

// quiet are the paths that machines ask for all the time: they are logged at debug and not traced.
func quiet(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }

// trace begins a request's span; nil where there is none.
func (o *Options) trace(req *http.Request, id string) (*http.Request, trace.Span) {
	if o.Tracer == nil || quiet(req.URL.Path) {
		return req, nil
	}
	ctx := req.Context()
	if o.Parent != nil {
		ctx = o.Parent(req)
	}
	ctx, span := o.Tracer.Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", req.Method), attribute.String("request.id", id)))
	return req.WithContext(ctx), span
}

// Plain does the same for a handler of plain requests on one route.
func Plain(o Options, route string, next plainhttp.Handler) plainhttp.Handler {
	return func(ctx context.Context, r *plainhttp.Request) (a plainhttp.Answer) {
		start := time.Now()
		id := requestID(r.Header.Get(requestIDHeader))
		var span trace.Span
		if o.Tracer != nil {
			var req *http.Request
			req, span = o.trace((&http.Request{Method: r.Method, URL: &url.URL{Path: r.Path, RawQuery: r.Query}}).WithContext(ctx), id)
			ctx = req.Context()
		}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint,err113 // compared as net/http does
					panic(p)
				}
				o.panicked(ctx, id, p)
				a = plainhttp.Answer{Status: http.StatusInternalServerError}
			}
			o.done(ctx, span, answered{
				id: id, method: r.Method, route: route, code: a.Status, receipt: plainhttp.Header(a.Header).Get(receiptIDHeader),
				took: time.Since(start),
			})
			a.Header = append(a.Header, plainhttp.Field{Name: requestIDHeader, Value: id})
		}()
		return next(ctx, r)
	}
}

// requestID is the one that a request brings, or a new one: what is from outside ends up in logs.
func requestID(brought string) string {
	if brought == "" || uuid.Validate(brought) != nil {
		return uuid.NewString()
	}
	return brought
}

func (o *Options) panicked(ctx context.Context, id string, p any) {
	o.Logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("request_id", id),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

// answered is what is told of a request.
type answered struct {
	id, method, route string
	code              int
	receipt           string // "" for none
	took              time.Duration
}

// done tells of an answered request.
func (o *Options) done(ctx context.Context, span trace.Span, a answered) {
	code, route := a.code, a.route
	if code == 0 {
		code = http.StatusOK
	}
	if route == "" || code == http.StatusNotFound {
		route = "(none)" // whatever strangers ask for must not become a label
	}
	level := slog.LevelInfo
	if quiet(route) {
		level = slog.LevelDebug
	}
	attrs := [6]slog.Attr{
		slog.String("request_id", a.id), slog.String("method", a.method),
		slog.String("route", route), slog.Int("code", code), slog.Duration("took", a.took),
	}
	n := 5
	if a.receipt != "" {
		attrs[n] = slog.String("receipt_id", a.receipt)
		n++
	}
	// By hand, since LogAttrs looks up who called it, for a line that says it anyway.
	if h := o.Logger.Handler(); h.Enabled(ctx, level) {
		line := slog.NewRecord(time.Now(), level, "request", 0)
		line.AddAttrs(attrs[:n]...)
		_ = h.Handle(ctx, line)
	}
	traceID := ""
	if span != nil {
		if sc := span.SpanContext(); sc.IsSampled() {
			traceID = sc.TraceID().String()
		}
		span.SetName(a.method + " " + route)
		span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", code), attribute.String("receipt.id", a.receipt))
		if code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(code))
		}
		span.End()
	}
	if o.Observe != nil {
		o.Observe(Request{Route: route, Method: a.method, Code: code, Took: a.took, TraceID: traceID})
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
