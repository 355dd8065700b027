// Package jobtrace carries a trace across the queue: the span that enqueues a job writes its traceparent into the job's
// metadata, and the span that works the job becomes its child. It imports OpenTelemetry's API and River's types.
//
// River's own contribution (otelriver) starts spans, but does not join them across the queue, and calls a snooze an
// error; so this stands in its place.
package jobtrace

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Key is where a job's metadata holds its W3C traceparent.
const Key = "traceparent"

// Traceparent is the current span in W3C's form; "" where there is none that is recorded.
func Traceparent(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); !sc.IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[Key]
}

// WithParent returns a context in which spans are children of a traceparent; ctx itself where it is none.
func WithParent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Key: traceparent})
}

// TraceID is the id of the current trace; "" where there is none that is recorded.
func TraceID(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsSampled() {
		return ""
	}
	return sc.TraceID().String()
}

// Metadata is a job's metadata that joins it to a traceparent; nil for none.
func Metadata(traceparent string) []byte {
	if traceparent == "" {
		return nil
	}
	// A map of strings can be marshalled.
	b, _ := json.Marshal(map[string]string{Key: traceparent})
	return b
}

// Of reads the traceparent of a job's metadata; "" where there is none.
func Of(metadata []byte) string {
	var m struct {
		Traceparent string `json:"traceparent"`
	}
	if json.Unmarshal(metadata, &m) != nil {
		return ""
	}
	return m.Traceparent
}

// Plugin makes River's clients carry traces. Jobs that bring a traceparent of their own keep it.
type Plugin struct {
	river.PluginDefaults
	Tracer trace.Tracer
}

// InsertMany joins the jobs to the span that enqueues them.
func (p *Plugin) InsertMany(ctx context.Context, params []*rivertype.JobInsertParams, insert func(context.Context) ([]*rivertype.JobInsertResult, error)) ([]*rivertype.JobInsertResult, error) {
	if parent := Traceparent(ctx); parent != "" {
		for _, job := range params {
			job.Metadata = join(job.Metadata, parent)
		}
	}
	return insert(ctx)
}

// join adds a traceparent to metadata that has none.
func join(metadata []byte, traceparent string) []byte {
	if len(metadata) == 0 || string(metadata) == "{}" {
		return Metadata(traceparent)
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(metadata, &m) != nil || m[Key] != nil {
		return metadata
	}
	m[Key], _ = json.Marshal(traceparent) // a string can be marshalled
	joined, err := json.Marshal(m)
	if err != nil {
		return metadata
	}
	return joined
}

// Work makes a span of an attempt.
func (p *Plugin) Work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	ctx, span := p.Tracer.Start(WithParent(ctx, Of(job.Metadata)), "job "+job.Kind, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.Int64("job.id", job.ID), attribute.String("job.kind", job.Kind), attribute.String("job.queue", job.Queue), attribute.Int("job.attempt", job.Attempt),
	))
	defer span.End()
	err := work(ctx)
	var snooze *rivertype.JobSnoozeError
	switch {
	case errors.As(err, &snooze):
		span.SetAttributes(attribute.Bool("job.snoozed", true))
	case err != nil:
		// Not the error's text, which may quote what traces must not hold.
		span.SetStatus(codes.Error, "the attempt failed: see its log line")
	}
	return err
}
