package jobtrace_test

import (
	"context"
	"errors"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"onward/jobs/jobtrace"
)

func setup(t *testing.T, sampler sdktrace.Sampler) (trace.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(spans))
	return provider.Tracer("test"), spans
}

// enqueue inserts jobs with this metadata and returns what is stored.
func enqueue(t *testing.T, ctx context.Context, p *jobtrace.Plugin, metadata ...string) (stored []string) {
	t.Helper()
	var params []*rivertype.JobInsertParams
	for _, m := range metadata {
		params = append(params, &rivertype.JobInsertParams{Metadata: []byte(m)})
	}
	_, err := p.InsertMany(ctx, params, func(context.Context) ([]*rivertype.JobInsertResult, error) { return nil, nil })
	require.NoError(t, err)
	for _, job := range params {
		stored = append(stored, string(job.Metadata))
	}
	return stored
}

func TestPlugin_carriesTheTraceAcrossTheQueue(t *testing.T) {
	t.Parallel()
	tracer, spans := setup(t, sdktrace.AlwaysSample())
	p := &jobtrace.Plugin{Tracer: tracer}
	ctx, top := tracer.Start(t.Context(), "request")
	parent := jobtrace.Traceparent(ctx)
	require.Regexp(t, `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`, parent)
	require.Equal(t, top.SpanContext().TraceID().String(), jobtrace.TraceID(ctx))

	stored := enqueue(t, ctx, p, "", `{}`, `{"kept":1}`, `{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`)
	require.JSONEq(t, `{"traceparent":"`+parent+`"}`, stored[0])
	require.Equal(t, stored[0], stored[1])
	require.JSONEq(t, `{"kept":1,"traceparent":"`+parent+`"}`, stored[2])
	require.Contains(t, stored[3], "0af7651916cd43dd8448eb211c80319c", "a job that brings one keeps it")

	job := &rivertype.JobRow{ID: 7, Kind: "send", Queue: "send_sms", Attempt: 2, Metadata: []byte(stored[2])}
	for _, result := range []error{nil, river.JobSnooze(1), errors.New("+12025550100 did not answer")} {
		require.Equal(t, result, p.Work(t.Context(), job, func(ctx context.Context) error {
			require.Equal(t, top.SpanContext().TraceID().String(), jobtrace.TraceID(ctx))
			return result
		}))
	}
	ended := spans.Ended()
	require.Len(t, ended, 3)
	for i, s := range ended {
		require.Equal(t, "job send", s.Name())
		require.Equal(t, top.SpanContext().SpanID(), s.Parent().SpanID())
		require.Equal(t, i == 2, s.Status().Code == codes.Error, "a snooze is no error")
		require.NotContains(t, s.Status().Description, "+1202")
	}
}

// Where nothing is recorded, nothing is carried; and what is carried may be anything.
func TestPlugin_withoutATrace(t *testing.T) {
	t.Parallel()
	tracer, _ := setup(t, sdktrace.NeverSample())
	p := &jobtrace.Plugin{Tracer: tracer}
	ctx, _ := tracer.Start(t.Context(), "request")
	require.Empty(t, jobtrace.Traceparent(ctx))
	require.Empty(t, jobtrace.TraceID(ctx))
	require.Equal(t, []string{`{}`}, enqueue(t, ctx, p, `{}`))
	require.Nil(t, jobtrace.Metadata(""))
	for _, odd := range []string{``, `[]`, `{"traceparent":1}`, `{"traceparent":"nonsense"}`} {
		ctx := jobtrace.WithParent(t.Context(), jobtrace.Of([]byte(odd)))
		require.False(t, trace.SpanContextFromContext(ctx).IsValid(), odd)
	}
}
