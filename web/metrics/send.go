package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onward/jobs"
	"onward/jobs/provider"
)

// SendDone is one attempt to send.
type SendDone struct {
	Channel string
	// Outcome is accepted, a provider.Class, or why no call was made.
	Outcome string
	// Call is the duration of the provider call; 0 where none was made.
	Call time.Duration
}

// SuppressReasons are why a message is never sent to an address that must not be written to.
func SuppressReasons() []string { return []string{"suppressed", "unsubscribed", "erased"} }

type sendMetrics struct {
	sends      *prometheus.CounterVec
	suppressed *prometheus.CounterVec
	calls      *prometheus.HistogramVec

	reasons, outcomes map[string]bool
}

// providerOf names who carries a channel.
func providerOf(channel string) string {
	if channel == jobs.ChannelEmail {
		return "smtp"
	}
	return jobs.ProviderTwilio
}

func newSendMetrics(o Options) sendMetrics {
	s := sendMetrics{
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_sends_total", Help: "Attempts to send in this process, by what came of them: accepted, the class of the refusal, or why no call was made.",
		}, []string{"channel", "outcome"}),
		suppressed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onward_sends_suppressed_total", Help: "Messages that this process did not send, for good, because their address must not be written to.",
		}, []string{"reason"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_provider_request_seconds", Help: "Duration of calls that hand a message to a provider.", Buckets: latency(),
		}, []string{"provider", "outcome"}),
		reasons: set(SuppressReasons()),
	}
	called := []string{"accepted"}
	for _, c := range provider.Classes() {
		called = append(called, string(c))
	}
	outcomes := append(called[:len(called):len(called)], o.SendOutcomes...)
	s.outcomes = set(outcomes)
	for _, channel := range []string{jobs.ChannelSMS, jobs.ChannelEmail} {
		for _, outcome := range outcomes {
			s.sends.WithLabelValues(channel, outcome)
		}
		for _, outcome := range called {
			s.calls.WithLabelValues(providerOf(channel), outcome)
		}
	}
	for _, r := range SuppressReasons() {
		s.suppressed.WithLabelValues(r)
	}
	return s
}

func (s sendMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{s.sends, s.suppressed, s.calls}
}

// Sent counts an attempt to send.
func (m *Metrics) Sent(s SendDone) {
	if s.Channel == "" {
		s.Channel = other
	}
	s.Outcome = oneOf(m.sends.outcomes, s.Outcome)
	m.sends.sends.WithLabelValues(s.Channel, s.Outcome).Inc()
	if s.Call > 0 {
		m.sends.calls.WithLabelValues(providerOf(s.Channel), s.Outcome).Observe(s.Call.Seconds())
	}
	m.Suppressed(s.Outcome, 1)
}

// Suppressed counts messages that are not sent for a reason of SuppressReasons, and nothing for any other.
func (m *Metrics) Suppressed(reason string, n int) {
	if m.sends.reasons[reason] {
		m.sends.suppressed.WithLabelValues(reason).Add(float64(n))
	}
}
