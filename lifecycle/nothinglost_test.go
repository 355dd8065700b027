package lifecycle_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/lifecycle"
)

// lastOf is the last event of a history that is one of those named, "" where there is none.
func lastOf(history []lifecycle.Event, events ...lifecycle.Event) lifecycle.Event {
	for _, e := range slices.Backward(history) {
		if slices.Contains(events, e) {
			return e
		}
	}
	return ""
}

// TestNothingIsLost says of each mark and axis which facts decide it, without folding: a purchase and a
// reply are never forgotten, an opt-out stands until an operator reopens. 10 000 cases.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for range orders {
			facts := factSets().Draw(t, "facts")
			state := lifecycle.Fold(facts)
			slices.SortFunc(facts, lifecycle.Compare)
			var history []lifecycle.Event
			for _, f := range facts {
				history = append(history, f.Event)
			}
			has := func(e lifecycle.Event) bool { return slices.Contains(history, e) }

			// A purchase is never forgotten; it is shown unless an opt-out is.
			require.Equal(t, has(lifecycle.PurchaseCompleted), state.Contact.Purchased)
			optedOut := lastOf(history, lifecycle.OptedOut, lifecycle.OperatorReopened) == lifecycle.OptedOut
			require.Equal(t, optedOut, state.Contact.OptedOut, "until an operator reopens, and START does not")
			require.Equal(t, optedOut, state.Contact.Status() == lifecycle.Unsubscribed)
			if has(lifecycle.PurchaseCompleted) && !optedOut {
				require.Equal(t, lifecycle.Purchased, state.Contact.Status())
			}
			require.Equal(t, furthest(history), step(state.Contact.Reached), "how far contact got never falls")
			if furthest(history) == 1 {
				requireLastChannel(t, history, state.Contact.Reached)
			}
			require.Equal(t, lastDeliveryFailed(history), state.Contact.Bounced)

			requireTicket(t, history, state.Ticket)
			requireSubscription(t, history, state.Subscription)
			requireWebsite(t, history, state.Website)
		}
	})
}

// furthest is the step that the furthest-reaching event of all implies.
func furthest(history []lifecycle.Event) int {
	most := 0
	for _, e := range history {
		most = max(most, step(contactEffects()[e].reaches))
	}
	return most
}

// requireLastChannel: of email and SMS the later send is shown; a delivery alone only where no send of the
// other channel says otherwise.
func requireLastChannel(t *rapid.T, history []lifecycle.Event, reached lifecycle.Status) {
	switch lastOf(history, lifecycle.EmailSent, lifecycle.SMSSentEvent) {
	case lifecycle.EmailSent:
		require.Equal(t, lifecycle.Emailed, reached)
	case lifecycle.SMSSentEvent:
		require.Equal(t, lifecycle.SMSSent, reached)
	default:
		for _, e := range history {
			if r := contactEffects()[e].reaches; r != "" {
				require.Equal(t, r, reached, "the first delivery")
				return
			}
		}
	}
}

// lastDeliveryFailed: the last word on whether the contact can be reached is that it cannot.
func lastDeliveryFailed(history []lifecycle.Event) bool {
	last := lastOf(history, lifecycle.EmailBounced, lifecycle.SMSFailed, lifecycle.OperatorReopened,
		lifecycle.EmailSent, lifecycle.SMSSentEvent, lifecycle.EmailDelivered, lifecycle.SMSDelivered,
		lifecycle.EmailOpened, lifecycle.LinkClicked, lifecycle.ReplyReceived)
	return last == lifecycle.EmailBounced || last == lifecycle.SMSFailed
}

func requireTicket(t *rapid.T, history []lifecycle.Event, status lifecycle.Status) {
	want := lifecycle.None
	switch {
	case !slices.Contains(history, lifecycle.TicketOpened): // nothing to close
	case lastOf(history, lifecycle.TicketOpened, lifecycle.TicketClosed) == lifecycle.TicketOpened:
		want = lifecycle.Open
	default:
		want = lifecycle.Closed
	}
	require.Equal(t, want, status)
}

func requireSubscription(t *rapid.T, history []lifecycle.Event, status lifecycle.Status) {
	want := map[lifecycle.Event]lifecycle.Status{
		"":                                lifecycle.None,
		lifecycle.SubscriptionActivated:   lifecycle.Active,
		lifecycle.SubscriptionReactivated: lifecycle.Active,
		lifecycle.SubscriptionPastDue:     lifecycle.PastDue,
		lifecycle.SubscriptionPaused:      lifecycle.Paused,
		lifecycle.SubscriptionCancelled:   lifecycle.Cancelled,
	}[lastOf(history, subscriptionTable().events...)]
	require.Equal(t, want, status, "the latest wins")
}

// requireWebsite: a site that was sold is sold or archived for ever after, and which of the two is the last
// word of purchases and subscriptions.
func requireWebsite(t *rapid.T, history []lifecycle.Event, status lifecycle.Status) {
	if !slices.Contains(history, lifecycle.PurchaseCompleted) {
		return
	}
	last := lastOf(history, lifecycle.PurchaseCompleted, lifecycle.SubscriptionCancelled, lifecycle.SubscriptionActivated, lifecycle.SubscriptionReactivated)
	i := slices.Index(history, lifecycle.PurchaseCompleted)
	if last == lifecycle.SubscriptionCancelled && slices.Contains(history[i:], lifecycle.SubscriptionCancelled) {
		require.Equal(t, lifecycle.Archived, status)
		return
	}
	require.Equal(t, lifecycle.Sold, status)
}
