package app_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"onward/cmd/internal/app"
)

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", req.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range export.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				r.spans = append(r.spans, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// span is a span as a test reads it.
type span struct {
	name, id, parent, trace string
	attributes              map[string]string
}

func (r *receiver) all() (list []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		one := span{
			name: s.GetName(), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
			trace: hex.EncodeToString(s.GetTraceId()), attributes: map[string]string{},
		}
		for _, a := range s.GetAttributes() {
			one.attributes[a.GetKey()] = a.GetValue().GetStringValue()
		}
		list = append(list, one)
	}
	return list
}

// below finds a span of this name beneath another, however deep.
func below(list []span, top span, name string) (found []span) {
	parents := map[string]string{}
	for _, s := range list {
		parents[s.id] = s.parent
	}
	for _, s := range list {
		if s.name != name || s.trace != top.trace {
			continue
		}
		for at := s.parent; at != ""; at = parents[at] {
			if at == top.id {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

// traceTo starts a stack that is traced, and returns what ends it and delivers every span.
func traceTo(t *testing.T, r *receiver) (*stack, *logBuffer, func() []span) {
	t.Helper()
	s, out := logged(t, func(o *app.Options) { o.Config.OTLPEndpoint = r.URL }, nil)
	return s, out, func() []span {
		require.NoError(t, s.app.Stop(t.Context()))
		return r.all()
	}
}

func one(t *testing.T, list []span) span {
	t.Helper()
	require.Len(t, list, 1)
	return list[0]
}

func named(list []span, name string) (found []span) {
	for _, s := range list {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}

// One trace leads from a webhook through its job to the commit of its effect.
func TestTracing_fromWebhookToCommit(t *testing.T) {
	t.Parallel()
	s, out, end := traceTo(t, newReceiver(t))
	id, phone, _ := s.business("")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Where is Chimaltenango?"))
	s.awaitStatus(id, "contact_status", "replied")
	s.eventually("the attempt is logged", func() bool { return len(out.lines(t, "job")) > 0 })
	spans := end()

	webhook := one(t, named(spans, "POST /webhooks/twilio/inbound"))
	require.Empty(t, webhook.parent, "a stranger decides about no trace of ours")
	job := one(t, below(spans, webhook, "job reply"))
	require.Equal(t, webhook.id, job.parent)
	var committed bool
	for _, q := range spans {
		committed = committed || q.parent == job.id && strings.EqualFold(q.attributes["db.operation.name"], "commit")
	}
	require.True(t, committed, "the commit is in the trace: %v", spans)

	// Logs and measurements name the trace.
	for _, msg := range []string{"request", "job", "status"} {
		var traces []string
		for _, l := range out.lines(t, msg) {
			traces = append(traces, l.str("trace_id"))
		}
		require.Contains(t, traces, webhook.trace, msg)
	}
	for _, span := range spans {
		for key, value := range span.attributes {
			require.NotContains(t, value, phone, key)
			require.NotContains(t, value, "Chimaltenango", key)
		}
	}
}

// One trace leads from a campaign through its fan-out and its sends to the callbacks, and to what those did.
func TestTracing_fromCampaignToCallback(t *testing.T) {
	t.Parallel()
	s, _, end := traceTo(t, newReceiver(t))
	id, _, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.NoError(t, s.sim.Drain(t.Context()))
	s.awaitApplied()
	s.eventually("no job is left", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE state <> 'completed' AND kind IN ('status_callback', 'send', 'campaign_fan_out')`) == 0
	})
	spans := end()

	sent := one(t, named(spans, "POST /api/v1/campaigns/{id}/send"))
	fanOut := one(t, below(spans, sent, "job campaign_fan_out"))
	send := below(spans, fanOut, "job send")
	require.NotEmpty(t, send)
	one(t, below(spans, fanOut, "send sms"))
	callbacks := below(spans, sent, "POST /webhooks/twilio/status")
	require.Len(t, callbacks, len(named(spans, "POST /webhooks/twilio/status")), "every callback is in the send's trace")
	require.NotEmpty(t, callbacks)
	require.NotEmpty(t, below(spans, sent, "job status_callback"))
}

// Off, there is nothing of it: in no job, no callback's address and no line.
func TestTracing_off(t *testing.T) {
	t.Parallel()
	s, out := logged(t, nil, nil)
	id, _, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.NotContains(t, out.String(), "trace_id")
	require.Zero(t, s.count(`SELECT count(*) FROM river_job WHERE metadata ? 'traceparent'`))
	require.Zero(t, s.count(`SELECT count(*) FROM webhook_events WHERE query LIKE '%t=%'`))
}
