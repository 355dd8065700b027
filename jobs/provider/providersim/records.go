package providersim

import (
	"context"
	"time"
)

// Call is one call to the Twilio API that creates a message, whatever came of
// it. Its times carry the monotonic clock, so they compare exactly with others
// of the same process.
type Call struct {
	Seq                 int       `json:"seq"`
	To                  string    `json:"to"`
	From                string    `json:"from"`
	MessagingServiceSID string    `json:"messaging_service_sid,omitempty"`
	Body                string    `json:"body"`
	StatusCallback      string    `json:"status_callback"`
	Begin               time.Time `json:"begin"` // the request was read to its end
	End                 time.Time `json:"end"`   // zero while it hangs
	Outcome             Outcome   `json:"outcome"`
	Code                int       `json:"code,omitempty"` // Twilio's error code
	// SID is the message that the call created, which the caller may never have
	// heard of; empty when it created none.
	SID string `json:"sid,omitempty"`
}

// Outcome says how a call was answered.
type Outcome string

// Outcomes of a call.
const (
	OutcomeAccepted    Outcome = "accepted"     // 201
	OutcomeRefused     Outcome = "refused"      // 4xx with Twilio's JSON
	OutcomeRateLimited Outcome = "rate_limited" // 429
	OutcomeServerError Outcome = "server_error" // 5xx with HTML
	OutcomeGarbage     Outcome = "garbage"      // 201 without JSON
	OutcomeNoSID       Outcome = "no_sid"       // 200 {}
	OutcomeHung        Outcome = "hung"         // no answer until the caller left
	OutcomeDropped     Outcome = "dropped"      // connection closed
)

// Delivery is one attempt to post a webhook to Onward.
type Delivery struct {
	Kind    string    `json:"kind"`  // status, inbound, recurrente, resend
	ID      string    `json:"id"`    // message sid, svix-id
	Event   string    `json:"event"` // message status, event type
	Attempt int       `json:"attempt"`
	Status  int       `json:"status"` // 0 without an answer
	Error   string    `json:"error,omitempty"`
	Sent    time.Time `json:"sent"`
	// Answered is when the answer's status line was there: from then on a 2xx
	// binds Onward.
	Answered time.Time `json:"answered"`
}

// OK says whether Onward took the delivery.
func (d Delivery) OK() bool { return d.Status >= 200 && d.Status <= 299 }

// Calls returns every call that creates a message, oldest first.
func (s *Sim) Calls() []Call { return snapshot(s, &s.calls) }

// Deliveries returns every attempt to post a webhook, in the order of their ends.
func (s *Sim) Deliveries() []Delivery { return snapshot(s, &s.deliveries) }

// Mails returns what the mail server took, oldest first.
func (s *Sim) Mails() []Mail { return snapshot(s, &s.mails) }

func snapshot[T any](s *Sim, list *[]*T) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]T, len(*list))
	for i, item := range *list {
		out[i] = *item
	}
	return out
}

// change runs f under the lock and wakes those who wait for a change.
func (s *Sim) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// keep appends to a record, letting the oldest go; call it within change.
func keep[T any](s *Sim, list []*T, item *T) []*T {
	if len(list) >= s.opts.Keep {
		list[0] = nil
		list = list[1:]
	}
	return append(list, item)
}

// Changed returns a channel that is closed at the next change of anything that
// Calls, Deliveries, Mails, Messages or Pending tell.
func (s *Sim) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Wait returns nil as soon as cond is true. It looks after every change, so it
// needs no polling; cond may call any method of s.
func (s *Sim) Wait(ctx context.Context, cond func() bool) error {
	for {
		changed := s.Changed()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Pending counts what is still to happen by itself: statuses of messages,
// callbacks, deliveries and their retries.
func (s *Sim) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}

// Drain waits until nothing is pending.
func (s *Sim) Drain(ctx context.Context) error {
	return s.Wait(ctx, func() bool { return s.Pending() == 0 })
}

// WaitDelivered waits until Onward took the webhook of that id.
func (s *Sim) WaitDelivered(ctx context.Context, id string) (Delivery, error) {
	var taken Delivery
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, d := range s.deliveries {
			if d.ID == id && d.OK() {
				taken = *d
				return true
			}
		}
		return false
	})
	return taken, err
}
