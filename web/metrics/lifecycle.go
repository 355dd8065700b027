package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"onward/lifecycle"
)

type lifecycleMetrics struct {
	transitions *prometheus.CounterVec
}

// newLifecycleMetrics starts every transition that the rules know at zero: each event put to each status. Those that
// only a fact out of order can make (stale, corrected) appear as they happen.
func newLifecycleMetrics() lifecycleMetrics {
	l := lifecycleMetrics{transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "onward_transitions_total", Help: "Transitions recorded by this process.",
	}, []string{"axis", "from", "to", "verdict"})}
	zero := func(changes []lifecycle.Change) {
		for _, c := range changes {
			l.of(c)
		}
	}
	for _, e := range lifecycle.Events() {
		for _, contact := range contactStates() {
			s := lifecycle.Initial()
			s.Contact = contact
			_, changes := lifecycle.Transition(s, e)
			zero(changes)
		}
		for _, axis := range lifecycle.Axes() {
			for _, status := range lifecycle.Statuses(axis) {
				s := lifecycle.Initial()
				switch axis {
				case lifecycle.AxisWebsite:
					s.Website = status
				case lifecycle.AxisSubscription:
					s.Subscription = status
				case lifecycle.AxisTicket:
					s.Ticket = status
				default:
					continue
				}
				_, changes := lifecycle.Transition(s, e)
				zero(changes)
			}
		}
		for _, status := range lifecycle.Statuses(lifecycle.AxisSite) {
			for _, subscription := range lifecycle.Statuses(lifecycle.AxisSiteSubscription) {
				_, changes := lifecycle.TransitionSite(lifecycle.SiteState{Status: status, Subscription: subscription}, e)
				zero(changes)
			}
		}
	}
	return l
}

// contactStates are all that may lie beneath a contact status.
func contactStates() []lifecycle.ContactState {
	var all []lifecycle.ContactState
	for _, reached := range []lifecycle.Status{
		lifecycle.Pending, lifecycle.Emailed, lifecycle.SMSSent, lifecycle.Opened, lifecycle.Clicked, lifecycle.Replied,
	} {
		for marks := range 8 {
			all = append(all, lifecycle.ContactState{Reached: reached, Bounced: marks&1 > 0, Purchased: marks&2 > 0, OptedOut: marks&4 > 0})
		}
	}
	return all
}

func (l lifecycleMetrics) all() []prometheus.Collector { return []prometheus.Collector{l.transitions} }

func (l lifecycleMetrics) of(c lifecycle.Change) prometheus.Counter {
	return l.transitions.WithLabelValues(string(c.Axis), string(c.From), string(c.To), string(c.Verdict))
}

// Moved counts a transition.
func (m *Metrics) Moved(c lifecycle.Change) { m.statuses.of(c).Inc() }
