package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"onward/jobs/jobtrace"
	"onward/jobs/worker"
)

// tracing is what a process that is traced has; nil in one that is not, which then pays nothing for it.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// newTracing sends spans where OTEL_EXPORTER_OTLP_ENDPOINT says; nil where it is not set. OpenTelemetry's other
// variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, …) hold as its SDK has them.
func newTracing(ctx context.Context, o Options, logger *slog.Logger) (*tracing, error) {
	endpoint := o.Config.OTLPEndpoint
	if endpoint == "" {
		return nil, nil //nolint:nilnil // off is no error
	}
	address, err := url.JoinPath(endpoint, "v1", "traces")
	if err != nil {
		return nil, &ConfigError{Problems: []string{"OTEL_EXPORTER_OTLP_ENDPOINT: not an address"}}
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(address))
	if err != nil {
		return nil, fmt.Errorf("configure tracing: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "onward"), attribute.String("service.version", o.Version), attribute.String("onward.role", string(o.Role))),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("configure tracing: %w", err)
	}
	// Where spans cannot be delivered: OpenTelemetry knows one place for that, for all of a process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("tracing", "error", err)
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	return &tracing{provider: provider, tracer: provider.Tracer("onward")}, nil
}

// stop delivers what is left.
func (t *tracing) stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// stopTracing bounds the delivery of the last spans.
const stopTracing = 3 * time.Second

// queries makes a span of each query within a span: its text, never its arguments.
func (t *tracing) queries() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider), otelpgx.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelpgx.WithDisableAcquireTracer(), otelpgx.WithDisableConnectionDetailsInAttributes())
}

// requests is the tracer of HTTP requests; nil for none.
func (t *tracing) requests() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// publicParent joins a status callback to the send that asked for it, by what we wrote into its address. Strangers
// decide about no other trace.
func publicParent(r *http.Request) context.Context {
	if r.URL.Path != worker.StatusCallbackPath {
		return r.Context()
	}
	return jobtrace.WithParent(r.Context(), r.URL.Query().Get(worker.CallbackTrace))
}

// privateParent joins a request to the caller's trace.
func privateParent(r *http.Request) context.Context {
	return propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

// logger names the trace in every line that belongs to one.
func (t *tracing) logger(l *slog.Logger) *slog.Logger {
	if t == nil {
		return l
	}
	return slog.New(traced{l.Handler()})
}

type traced struct{ slog.Handler }

// Handle adds the trace's id.
func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if id := jobtrace.TraceID(ctx); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps adding.
func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

// WithGroup keeps adding.
func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
