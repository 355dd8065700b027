package jobtrace_test

import (
	"context"
	"testing"

	"github.com/riverqueue/river/rivertype"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"onward/jobs/jobtrace"
)

// BenchmarkAttempt is what tracing adds to an attempt of a job: nothing without it; with it off, what stays in the code (no
// plugin, a tracer that does nothing, looks for a trace that is not there); with it on, but this trace not sampled; and on.
func BenchmarkAttempt(b *testing.B) {
	job := &rivertype.JobRow{ID: 1, Kind: "send", Queue: "send_sms", Attempt: 1, Metadata: []byte(`{}`)}
	send := func(ctx context.Context, tracer trace.Tracer) {
		ctx, span := tracer.Start(ctx, "send sms", trace.WithSpanKind(trace.SpanKindClient))
		_ = jobtrace.Traceparent(ctx)
		_ = jobtrace.TraceID(ctx)
		span.End()
	}
	b.Run("absent", func(b *testing.B) {
		work := func(context.Context) error { return nil }
		for b.Loop() {
			_ = work(b.Context())
		}
	})
	b.Run("off", func(b *testing.B) {
		tracer := noop.NewTracerProvider().Tracer("")
		work := func(ctx context.Context) error { send(ctx, tracer); return nil }
		b.ReportAllocs()
		for b.Loop() {
			_ = work(b.Context())
		}
	})
	for name, sampler := range map[string]sdktrace.Sampler{"not sampled": sdktrace.NeverSample(), "on": sdktrace.AlwaysSample()} {
		b.Run(name, func(b *testing.B) {
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler)).Tracer("test")
			plugin := &jobtrace.Plugin{Tracer: tracer}
			work := func(ctx context.Context) error { send(ctx, tracer); return nil }
			b.ReportAllocs()
			for b.Loop() {
				_ = plugin.Work(b.Context(), job, work)
			}
		})
	}
}
