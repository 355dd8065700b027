package lifecycle_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

// The tables here are written by hand from the rules in docs, not by running them. A cell is the status
// after the event and a mark for the verdict: + applied, = no change, ! blocked.

// table is what each event (the columns) does at each status (the rows) of one axis.
type table struct {
	events []lifecycle.Event
	rows   map[lifecycle.Status]string
}

// cell is what the table says; an event that it does not have must leave the axis alone.
func (tb table) cell(t require.TestingT, s lifecycle.Status, column int) (lifecycle.Status, lifecycle.Verdict) {
	cells := strings.Fields(tb.rows[s])
	require.Len(t, cells, len(tb.events), s)
	c := cells[column]
	verdict, ok := map[byte]lifecycle.Verdict{
		'+': lifecycle.Applied, '=': lifecycle.NoChange, '!': lifecycle.Blocked,
	}[c[len(c)-1]]
	require.True(t, ok, c)
	return lifecycle.Status(c[:len(c)-1]), verdict
}

func contactTable() table {
	return table{
		events: []lifecycle.Event{
			lifecycle.EmailSent, lifecycle.SMSSentEvent, lifecycle.EmailDelivered, lifecycle.SMSDelivered,
			lifecycle.EmailBounced, lifecycle.SMSFailed, lifecycle.EmailOpened, lifecycle.LinkClicked, lifecycle.ReplyReceived,
			lifecycle.OptedOut, lifecycle.OptedIn, lifecycle.OperatorReopened, lifecycle.PurchaseCompleted,
		},
		rows: map[lifecycle.Status]string{
			// Status:     email_sent    sms_sent      email_deliv.  sms_deliv.    email_bounced sms_failed    opened        clicked       replied       opted_out     opted_in      reopened      purchase
			"pending":      "emailed+      sms_sent+     emailed+      sms_sent+     bounced+      bounced+      opened+       clicked+      replied+      unsubscribed+ pending=      pending=      purchased+",
			"emailed":      "emailed=      sms_sent+     emailed=      emailed=      bounced+      bounced+      opened+       clicked+      replied+      unsubscribed+ emailed=      emailed=      purchased+",
			"sms_sent":     "emailed+      sms_sent=     sms_sent=     sms_sent=     bounced+      bounced+      opened+       clicked+      replied+      unsubscribed+ sms_sent=     sms_sent=     purchased+",
			"opened":       "opened=       opened=       opened=       opened=       bounced+      bounced+      opened=       clicked+      replied+      unsubscribed+ opened=       opened=       purchased+",
			"clicked":      "clicked=      clicked=      clicked=      clicked=      bounced+      bounced+      clicked=      clicked=      replied+      unsubscribed+ clicked=      clicked=      purchased+",
			"replied":      "replied=      replied=      replied=      replied=      bounced+      bounced+      replied=      replied=      replied=      unsubscribed+ replied=      replied=      purchased+",
			"purchased":    "purchased!    purchased=    purchased=    purchased=    purchased!    purchased!    purchased!    purchased!    purchased!    unsubscribed+ purchased=    purchased=    purchased=",
			"unsubscribed": "unsubscribed= unsubscribed= unsubscribed= unsubscribed= unsubscribed! unsubscribed! unsubscribed= unsubscribed= unsubscribed! unsubscribed= unsubscribed= clicked+      unsubscribed!",
			"bounced":      "emailed+      sms_sent+     emailed+      emailed+      bounced=      bounced=      opened+       clicked+      replied+      unsubscribed+ bounced=      emailed+      purchased+",
		},
	}
}

// contactOf is the state that the rows of contactTable stand for: the plain one, and where the status hides
// how far the contact got, the one named here.
func contactOf(s lifecycle.Status) lifecycle.ContactState {
	switch s {
	case lifecycle.Purchased:
		return lifecycle.ContactState{Reached: lifecycle.SMSSent, Purchased: true}
	case lifecycle.Unsubscribed:
		return lifecycle.ContactState{Reached: lifecycle.Clicked, OptedOut: true}
	case lifecycle.Bounced:
		return lifecycle.ContactState{Reached: lifecycle.Emailed, Bounced: true}
	}
	return lifecycle.ContactState{Reached: s}
}

func websiteTable() table {
	return table{
		events: []lifecycle.Event{
			lifecycle.GenerationStarted, lifecycle.GenerationCompleted, lifecycle.GenerationFailed, lifecycle.SiteDeployed,
			lifecycle.PurchaseCompleted, lifecycle.SubscriptionActivated, lifecycle.SubscriptionReactivated, lifecycle.SubscriptionCancelled,
		},
		rows: map[lifecycle.Status]string{
			// Status:   started     completed   failed      deployed    purchase activated   reactivated cancelled
			"none":       "generating+ generated+  none!       deployed+   sold+    none=       none=       none!",
			"generating": "generating= generated+  none+       deployed+   sold+    generating= generating= archived+",
			"generated":  "generating+ generated=  generated!  deployed+   sold+    generated=  generated=  archived+",
			"deployed":   "deployed!   deployed!   deployed!   deployed=   sold+    deployed=   deployed=   archived+",
			"sold":       "sold!       sold!       sold!       sold!       sold=    sold=       sold=       archived+",
			"archived":   "archived!   archived!   archived!   archived!   sold+    sold+       sold+       archived=",
		},
	}
}

func subscriptionTable() table {
	return table{
		events: []lifecycle.Event{
			lifecycle.SubscriptionActivated, lifecycle.SubscriptionReactivated, lifecycle.SubscriptionPastDue,
			lifecycle.SubscriptionPaused, lifecycle.SubscriptionCancelled,
		},
		rows: map[lifecycle.Status]string{
			"none":      "active+ active+ past_due+ paused+ cancelled+",
			"active":    "active= active= past_due+ paused+ cancelled+",
			"past_due":  "active+ active+ past_due= paused+ cancelled+",
			"paused":    "active+ active+ past_due+ paused= cancelled+",
			"cancelled": "active+ active+ past_due+ paused+ cancelled=",
		},
	}
}

func ticketTable() table {
	return table{
		events: []lifecycle.Event{lifecycle.TicketOpened, lifecycle.TicketClosed},
		rows: map[lifecycle.Status]string{
			"none":   "open+ none!",
			"open":   "open= closed+",
			"closed": "open+ closed=",
		},
	}
}

// at is a state with one axis at a status and the others where they begin.
func at(a lifecycle.Axis, s lifecycle.Status) lifecycle.State {
	state := lifecycle.Initial()
	switch a {
	case lifecycle.AxisContact:
		state.Contact = contactOf(s)
	case lifecycle.AxisWebsite:
		state.Website = s
	case lifecycle.AxisSubscription:
		state.Subscription = s
	case lifecycle.AxisTicket:
		state.Ticket = s
	}
	return state
}

func businessTables() map[lifecycle.Axis]table {
	return map[lifecycle.Axis]table{
		lifecycle.AxisContact:      contactTable(),
		lifecycle.AxisWebsite:      websiteTable(),
		lifecycle.AxisSubscription: subscriptionTable(),
		lifecycle.AxisTicket:       ticketTable(),
	}
}

// TestEveryStatusAndEvent holds Transition against the tables: every status of every axis, every event.
func TestEveryStatusAndEvent(t *testing.T) {
	t.Parallel()
	for _, axis := range lifecycle.Axes() {
		tb := businessTables()[axis]
		require.Len(t, tb.rows, len(lifecycle.Statuses(axis)), "%s: a row for each status", axis)
		for _, status := range lifecycle.Statuses(axis) {
			before := at(axis, status)
			require.Equal(t, status, before.Status(axis))
			for _, event := range lifecycle.Events() {
				after, changes := lifecycle.Transition(before, event)
				var change *lifecycle.Change
				for i := range changes {
					if changes[i].Axis == axis {
						change = &changes[i]
					}
				}
				column := indexOf(tb.events, event)
				if column < 0 {
					require.Nil(t, change, "%s does not speak of %s", event, axis)
					require.Equal(t, status, after.Status(axis), "%s does not speak of %s", event, axis)
					continue
				}
				to, verdict := tb.cell(t, status, column)
				name := fmt.Sprintf("%s at %s %s", event, axis, status)
				require.NotNil(t, change, name)
				require.Equal(t, lifecycle.Change{Axis: axis, From: status, To: to, Verdict: verdict}, *change, name)
				require.Equal(t, to, after.Status(axis), name)
			}
		}
	}
}

func indexOf(events []lifecycle.Event, event lifecycle.Event) int {
	for i, e := range events {
		if e == event {
			return i
		}
	}
	return -1
}

// TestEventsSpeakOfTheirAxes: an event yields one change for each of its axes, and leaves the others as they were.
func TestEventsSpeakOfTheirAxes(t *testing.T) {
	t.Parallel()
	for _, event := range lifecycle.Events() {
		require.True(t, event.Known())
		var want []lifecycle.Axis
		for _, axis := range lifecycle.Axes() {
			if indexOf(businessTables()[axis].events, event) >= 0 {
				want = append(want, axis)
			}
		}
		require.ElementsMatch(t, want, event.Axes(), event)

		_, changes := lifecycle.Transition(lifecycle.Initial(), event)
		var got []lifecycle.Axis
		for _, c := range changes {
			got = append(got, c.Axis)
		}
		require.Equal(t, event.Axes(), got, "%s: its home axis first", event)
	}
}

func TestUnknownEventsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, event := range []lifecycle.Event{"", "faxed", "EMAIL_SENT", "email_sent "} {
		require.False(t, event.Known())
		for _, axis := range lifecycle.Axes() {
			for _, status := range lifecycle.Statuses(axis) {
				before := at(axis, status)
				after, changes := lifecycle.Transition(before, event)
				require.Equal(t, before, after)
				require.Empty(t, changes)
			}
		}
		site, changes := lifecycle.TransitionSite(lifecycle.InitialSite(), event)
		require.Equal(t, lifecycle.InitialSite(), site)
		require.Empty(t, changes)
	}
}
