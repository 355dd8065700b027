package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// scrape reads a process's metrics: by name and labels, the value, or the count of a histogram.
func (s *stack) scrape() map[string]float64 {
	s.Helper()
	res, err := http.Get("http://" + s.app.PrivateAddr() + "/metrics") //nolint:noctx // a test's own server
	require.NoError(s, err)
	defer func() { _ = res.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	require.NoError(s, err)
	values := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			key := name + "{" + strings.Join(labels, ",") + "}"
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				values[key] = float64(m.GetHistogram().GetSampleCount())
			case dto.MetricType_COUNTER:
				values[key] = m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				values[key] = m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// What a lead's life leaves in the metrics, and that none of it names the lead.
func TestMetrics_ofALife(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) { o.Concurrency = 7 }, nil)
	id, phone, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "STOP"))
	s.awaitStatus(id, "contact_status", "unsubscribed")
	s.awaitCampaign(s.campaign("sms", id), "sent") // which has nobody to write to
	require.Equal(t, 403, s.post("/webhooks/twilio/inbound", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Twilio-Signature": {"x"}}, nil))
	require.NoError(t, s.sim.Drain(t.Context()))
	s.awaitApplied()

	var got map[string]float64
	s.eventually("what the installation holds is read after all this", func() bool {
		got = s.scrape()
		return got[`onward_job_attempts_total{kind="reply",outcome="completed"}`] == 1 && got[`onward_leader{}`] == 1 &&
			got[`onward_verified_timestamp_seconds{}`] > 0
	})
	for series, want := range map[string]float64{
		`onward_job_wait_seconds{queue="inbound"}`:                                                     1,
		`onward_job_duration_seconds{kind="reply",outcome="completed"}`:                                1,
		`onward_jobs_discarded_total{kind="reply"}`:                                                    0,
		`onward_workers_capacity{queue="inbound"}`:                                                     7,
		`onward_workers_busy{queue="inbound"}`:                                                         0,
		`onward_worker_processes{}`:                                                                    1,
		`onward_webhook_requests_total{provider="twilio",result="bad_signature"}`:                      1,
		`onward_sends_total{channel="sms",outcome="accepted"}`:                                         1,
		`onward_provider_request_seconds{outcome="accepted",provider="twilio"}`:                        1,
		`onward_sends_suppressed_total{reason="suppressed"}`:                                           1,
		`onward_transitions_total{axis="contact",from="sms_sent",to="unsubscribed",verdict="applied"}`: 1,
		`onward_queue_paused{queue="inbound"}`:                                                         0,
		`onward_sends_unknown{}`:                                                                       0,
		`onward_drift{}`:                                                                               0,
		`onward_invariant_violations{invariant="send_after_opt_out"}`:                                  0,
		`onward_http_request_seconds{code="403",method="POST",route="/webhooks/twilio/inbound"}`:       1,
		`onward_webhook_to_commit_seconds{provider="onward"}`:                                          0,
		`onward_webhook_secret_used_total{provider="recurrente",secret="0"}`:                           0,
		`onward_jobs{queue="billing",state="discarded"}`:                                               0,
		`onward_db_pool_max_connections{pool="river"}`:                                                 8,
		`onward_db_pool_max_connections{pool="fetch"}`:                                                 2,
		`onward_inbox_queue_length{}`:                                                                  0,
	} {
		value, ok := got[series]
		require.True(t, ok, "%s is missing", series)
		require.InDelta(t, want, value, 0, series)
	}
	accepted := got[`onward_webhook_requests_total{provider="twilio",result="accepted"}`]
	require.Greater(t, accepted, 2.0)
	require.InDelta(t, accepted+got[`onward_webhook_requests_total{provider="twilio",result="duplicate"}`], got[`onward_webhook_ack_seconds{provider="twilio"}`], 0)
	require.InDelta(t, accepted, got[`onward_webhook_secret_used_total{provider="twilio",secret="0"}`], 0)
	require.InDelta(t, accepted, got[`onward_webhook_to_commit_seconds{provider="twilio"}`], 0)

	named := regexp.MustCompile(`\+?\d{7,}|@|[0-9a-f]{8}-[0-9a-f]{4}-|SM[0-9a-f]{32}`)
	for series := range got {
		require.Empty(t, named.FindString(series), series)
	}
}
