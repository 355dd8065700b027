package lifecycle_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

// effect is what an event does to the marks beneath contact_status, as the rules state it.
type effect struct {
	reaches   lifecycle.Status // at least this; empty: says nothing of it
	replaces  bool             // takes the place of its equal (emailed and sms_sent)
	bounced   mark
	purchased mark
	optedOut  mark
}

// mark is what an event does to one flag.
type mark int

const (
	keeps mark = iota
	sets
	clears
)

func (m mark) apply(flag bool) bool {
	switch m {
	case sets:
		return true
	case clears:
		return false
	}
	return flag
}

func contactEffects() map[lifecycle.Event]effect {
	return map[lifecycle.Event]effect{
		lifecycle.EmailSent:         {reaches: lifecycle.Emailed, replaces: true, bounced: clears},
		lifecycle.SMSSentEvent:      {reaches: lifecycle.SMSSent, replaces: true, bounced: clears},
		lifecycle.EmailDelivered:    {reaches: lifecycle.Emailed, bounced: clears},
		lifecycle.SMSDelivered:      {reaches: lifecycle.SMSSent, bounced: clears},
		lifecycle.EmailBounced:      {bounced: sets},
		lifecycle.SMSFailed:         {bounced: sets},
		lifecycle.EmailOpened:       {reaches: lifecycle.Opened, bounced: clears},
		lifecycle.LinkClicked:       {reaches: lifecycle.Clicked, bounced: clears},
		lifecycle.ReplyReceived:     {reaches: lifecycle.Replied, bounced: clears},
		lifecycle.OptedOut:          {optedOut: sets},
		lifecycle.OptedIn:           {},
		lifecycle.OperatorReopened:  {optedOut: clears, bounced: clears},
		lifecycle.PurchaseCompleted: {purchased: sets},
	}
}

// step is how far each reached status is.
func step(s lifecycle.Status) int {
	return map[lifecycle.Status]int{
		lifecycle.Pending: 0, lifecycle.Emailed: 1, lifecycle.SMSSent: 1,
		lifecycle.Opened: 2, lifecycle.Clicked: 3, lifecycle.Replied: 4,
	}[s]
}

func (e effect) apply(c lifecycle.ContactState) lifecycle.ContactState {
	if e.reaches != "" && (step(e.reaches) > step(c.Reached) || e.replaces && step(e.reaches) == step(c.Reached)) {
		c.Reached = e.reaches
	}
	return lifecycle.ContactState{
		Reached: c.Reached, Bounced: e.bounced.apply(c.Bounced),
		Purchased: e.purchased.apply(c.Purchased), OptedOut: e.optedOut.apply(c.OptedOut),
	}
}

// allContactStates are the 48 combinations of marks.
func allContactStates() []lifecycle.ContactState {
	var all []lifecycle.ContactState
	for _, reached := range []lifecycle.Status{
		lifecycle.Pending, lifecycle.Emailed, lifecycle.SMSSent, lifecycle.Opened, lifecycle.Clicked, lifecycle.Replied,
	} {
		for flags := range 8 {
			all = append(all, lifecycle.ContactState{Reached: reached, Bounced: flags&1 != 0, Purchased: flags&2 != 0, OptedOut: flags&4 != 0})
		}
	}
	return all
}

// TestEveryMarkAndEvent: what every event does beneath every state of a contact, and which status and
// verdict are shown for it.
func TestEveryMarkAndEvent(t *testing.T) {
	t.Parallel()
	for _, c := range allContactStates() {
		for event, e := range contactEffects() {
			name := fmt.Sprintf("%s at %+v", event, c)
			before := lifecycle.Initial()
			before.Contact = c
			after, changes := lifecycle.Transition(before, event)
			want := e.apply(c)
			require.Equal(t, want, after.Contact, name)

			verdict := lifecycle.Applied
			switch {
			case want == c:
				verdict = lifecycle.NoChange
			case shown(want) == shown(c):
				verdict = lifecycle.Blocked
			}
			require.Equal(t, lifecycle.Change{Axis: lifecycle.AxisContact, From: shown(c), To: shown(want), Verdict: verdict}, changes[0], name)
		}
	}
}

// shown is the first mark that holds.
func shown(c lifecycle.ContactState) lifecycle.Status {
	if c.OptedOut {
		return lifecycle.Unsubscribed
	}
	if c.Purchased {
		return lifecycle.Purchased
	}
	if c.Bounced {
		return lifecycle.Bounced
	}
	return c.Reached
}

// TestEveryContactStateCanBeReached: the 48 states are all real, none is only thinkable.
func TestEveryContactStateCanBeReached(t *testing.T) {
	t.Parallel()
	seen := map[lifecycle.ContactState]bool{lifecycle.Initial().Contact: true}
	for queue := []lifecycle.State{lifecycle.Initial()}; len(queue) > 0; queue = queue[1:] {
		for event := range contactEffects() {
			next, _ := lifecycle.Transition(queue[0], event)
			next.Website = lifecycle.None
			if !seen[next.Contact] {
				seen[next.Contact] = true
				queue = append(queue, next)
			}
		}
	}
	for _, c := range allContactStates() {
		require.True(t, seen[c], "%+v", c)
	}
	require.Len(t, seen, 48)
}
