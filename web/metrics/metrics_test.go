package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/lifecycle"
	"onward/web"
	"onward/web/metrics"
	"onward/web/webhook"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func options() metrics.Options {
	return metrics.Options{
		Version: "test", Queues: jobs.Queues(), Kinds: jobs.Kinds(), Secrets: map[string]int{jobs.ProviderTwilio: 2},
		SendOutcomes: []string{"suppressed", "unsubscribed", "quiet_hours"}, Invariants: []string{"sent_twice"},
	}
}

// names are what dashboards and rules are written against.
func names() []string {
	return []string{
		"onward_jobs", "onward_oldest_available_job_age_seconds", "onward_job_wait_seconds", "onward_job_duration_seconds",
		"onward_job_attempts_total", "onward_jobs_discarded_total", "onward_longest_running_job_seconds", "onward_workers_busy",
		"onward_workers_capacity", "onward_queue_paused", "onward_leader", "onward_webhook_requests_total", "onward_webhook_ack_seconds",
		"onward_webhook_last_accepted_timestamp_seconds", "onward_webhook_secret_used_total", "onward_webhook_to_commit_seconds",
		"onward_receipts", "onward_inbox_batch_size", "onward_inbox_queue_length", "onward_transitions_total", "onward_sends_total",
		"onward_sends_unknown", "onward_oldest_unknown_send_age_seconds", "onward_sends_suppressed_total", "onward_provider_request_seconds",
		"onward_drift", "onward_invariant_violations", "onward_db_pool_connections", "onward_db_oldest_transaction_age_seconds",
		"onward_build_info", "go_goroutines", "process_cpu_seconds_total",
	}
}

func gather(t *testing.T, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := m.Registry().Gather()
	require.NoError(t, err)
	families := map[string]*dto.MetricFamily{}
	for _, f := range list {
		families[f.GetName()] = f
	}
	return families
}

// Every name is there from the start, each with the zeroes of its closed set.
func TestNew_showsEverythingFromTheStart(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	db := pgtest.New(t, pgtest.Schema)
	m.WatchPools(metrics.Pool{Name: "onward", Stat: db.Pool.Stat})
	require.NoError(t, m.ReadClusterOnce(t.Context(), db.Pool))

	families := gather(t, m)
	for _, name := range names() {
		require.Contains(t, families, name)
	}
	require.Len(t, families["onward_jobs"].GetMetric(), len(jobs.Queues())*8)
	require.Len(t, families["onward_job_attempts_total"].GetMetric(), (len(jobs.Kinds())+1)*6)
	require.Len(t, families["onward_webhook_requests_total"].GetMetric(), 3*len(webhook.Results()))
	require.Len(t, families["onward_webhook_secret_used_total"].GetMetric(), 2)
	require.Len(t, families["onward_receipts"].GetMetric(), 5)
	require.Greater(t, len(families["onward_transitions_total"].GetMetric()), 100)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "onward_db_") || f.GetName() == "onward_build_info" || f.GetName() == "onward_partitions_ahead_seconds" ||
			f.GetName() == "onward_cluster_read_seconds" || !strings.HasPrefix(f.GetName(), "onward_") {
			continue
		}
		for _, s := range f.GetMetric() {
			require.Zero(t, s.GetCounter().GetValue()+s.GetGauge().GetValue()+float64(s.GetHistogram().GetSampleCount()), f.GetName())
		}
	}
}

func TestMetrics_areCleanToPromlint(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	db := pgtest.New(t, pgtest.Schema)
	m.WatchPools(metrics.Pool{Name: "onward", Stat: db.Pool.Stat})
	require.NoError(t, m.ReadClusterOnce(t.Context(), db.Pool))
	m.HTTP(web.Request{Route: "/", Method: http.MethodGet, Code: 200, Took: time.Millisecond})
	problems, err := testutil.GatherAndLint(m.Registry())
	require.NoError(t, err)
	require.Empty(t, problems)
}

// What comes from outside never becomes a label.
func TestMetrics_closedSetsStayClosed(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.Job(metrics.JobDone{Kind: "+12025550100", Queue: "strange", Outcome: "odd"})
	m.HTTP(web.Request{Route: "/", Method: "BREW", Code: 405})
	m.Sent(metrics.SendDone{Channel: jobs.ChannelSMS, Outcome: "new"})
	m.Verified(metrics.Verified{At: time.Now(), Violations: map[string]int{"unheard_of": 1}})
	for _, f := range gather(t, m) {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				require.NotContains(t, []string{"+12025550100", "strange", "odd", "BREW", "new", "unheard_of"}, l.GetValue(), f.GetName())
			}
		}
	}
}

func TestMetrics_count(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.Webhook(webhook.Answered{Provider: jobs.ProviderTwilio, Result: webhook.ResultAccepted, Secret: 1, Took: time.Millisecond, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"})
	m.Webhook(webhook.Answered{Provider: jobs.ProviderTwilio, Result: webhook.ResultBadSignature, Secret: -1})
	m.Job(metrics.JobDone{Kind: "send", Queue: jobs.QueueSendSMS, Outcome: metrics.AttemptDiscarded, Wait: time.Second, Took: time.Second})
	m.Sent(metrics.SendDone{Channel: jobs.ChannelSMS, Outcome: "suppressed"})
	m.Sent(metrics.SendDone{Channel: jobs.ChannelEmail, Outcome: "accepted", Call: time.Second})
	m.Suppressed("unsubscribed", 3)
	m.Suppressed("no_address", 5)
	m.Moved(lifecycle.Change{Axis: lifecycle.AxisContact, From: lifecycle.Pending, To: lifecycle.SMSSent, Verdict: lifecycle.Applied})
	m.WatchWorkers(func() map[string]metrics.Workers {
		return map[string]metrics.Workers{jobs.QueueInbound: {Busy: 3, Capacity: 50}}
	})
	m.WatchInbox(func() int { return 7 })
	early, late := time.Now(), time.Now().Add(time.Minute)
	m.Verified(metrics.Verified{At: late, Drifted: 2, Violations: map[string]int{"sent_twice": 1}})
	m.Verified(metrics.Verified{At: early, Drifted: 9}) // an older look, told later
	require.NoError(t, testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
		# HELP onward_drift Businesses whose statuses are not the fold of their facts, in the sample that the fleet looked at last.
		# TYPE onward_drift gauge
		onward_drift 2
		# HELP onward_inbox_queue_length Receipts that wait to be committed.
		# TYPE onward_inbox_queue_length gauge
		onward_inbox_queue_length 7
		# HELP onward_sends_suppressed_total Messages that this process did not send, for good, because their address must not be written to.
		# TYPE onward_sends_suppressed_total counter
		onward_sends_suppressed_total{reason="erased"} 0
		onward_sends_suppressed_total{reason="suppressed"} 1
		onward_sends_suppressed_total{reason="unsubscribed"} 3
		# HELP onward_webhook_secret_used_total Webhook requests by the position in its setting, from 0, of the secret that verified them.
		# TYPE onward_webhook_secret_used_total counter
		onward_webhook_secret_used_total{provider="twilio",secret="0"} 0
		onward_webhook_secret_used_total{provider="twilio",secret="1"} 1
	`), "onward_drift", "onward_inbox_queue_length", "onward_sends_suppressed_total", "onward_webhook_secret_used_total"))
	one := func(family string, labels ...string) *dto.Metric {
		for _, s := range gather(t, m)[family].GetMetric() {
			var got []string
			for _, l := range s.GetLabel() {
				got = append(got, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(got, " ") == strings.Join(labels, " ") {
				return s
			}
		}
		require.Fail(t, "no such series", "%s %v", family, labels)
		return nil
	}
	require.InDelta(t, 1, one("onward_jobs_discarded_total", "kind=send").GetCounter().GetValue(), 0)
	require.InDelta(t, 1, one("onward_job_wait_seconds", "queue=send_sms").GetHistogram().GetSampleSum(), 0)
	require.InDelta(t, 3, one("onward_workers_busy", "queue=inbound").GetGauge().GetValue(), 0)
	require.EqualValues(t, 1, one("onward_provider_request_seconds", "outcome=accepted", "provider=smtp").GetHistogram().GetSampleCount())
	require.InDelta(t, 1, one("onward_transitions_total", "axis=contact", "from=pending", "to=sms_sent", "verdict=applied").GetCounter().GetValue(), 0)
	ack := one("onward_webhook_ack_seconds", "provider=twilio").GetHistogram()
	require.EqualValues(t, 1, ack.GetSampleCount(), "a refusal is no acknowledgement")

	// The trace behind a measurement is shown to those who ask for it.
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, req)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}`)
}

func TestReadCluster_untilItsContextEnds(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	db := pgtest.New(t, pgtest.Schema)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.ReadCluster(ctx, db.Pool, slog.New(slog.DiscardHandler))
	}()
	require.Eventually(t, func() bool { _, ok := m.Cluster(); return ok }, 30*time.Second, 5*time.Millisecond)
	cancel()
	<-done
}
