package lifecycle

// MessageState is where one message is. States are a lattice: a report of a higher one always wins,
// whatever comes first; one of the same or a lower rank changes nothing.
type MessageState string

// The message states. Unknown and Held are beside Dispatching: a provider call was made or may have
// been, and its outcome is not known; they yield to any evidence.
const (
	MessageQueued      MessageState = "queued"
	MessageDispatching MessageState = "dispatching"
	MessageUnknown     MessageState = "unknown"
	MessageHeld        MessageState = "held"
	MessageAccepted    MessageState = "accepted"
	MessageSending     MessageState = "sending"
	MessageSent        MessageState = "sent"
	MessageFailed      MessageState = "failed"
	MessageUndelivered MessageState = "undelivered"
	MessageCanceled    MessageState = "canceled"
	MessageDelivered   MessageState = "delivered"
	MessageRead        MessageState = "read"
)

// MessageStates lists them all, lowest first.
func MessageStates() []MessageState {
	return []MessageState{
		MessageQueued, MessageDispatching, MessageUnknown, MessageHeld, MessageAccepted, MessageSending, MessageSent,
		MessageFailed, MessageUndelivered, MessageCanceled, MessageDelivered, MessageRead,
	}
}

// Rank is the height in the lattice; -1 for a state that does not exist.
func (s MessageState) Rank() int {
	switch s {
	case MessageQueued:
		return 0
	case MessageDispatching, MessageUnknown, MessageHeld:
		return 1
	case MessageAccepted:
		return 2
	case MessageSending:
		return 3
	case MessageSent:
		return 4
	case MessageFailed, MessageUndelivered, MessageCanceled:
		return 5
	case MessageDelivered:
		return 6
	case MessageRead:
		return 7
	}
	return -1
}

// Raise returns the state after a report, and whether the report raised it.
func (s MessageState) Raise(reported MessageState) (MessageState, bool) {
	if reported.Rank() > s.Rank() {
		return reported, true
	}
	return s, false
}

// Final reports whether no further report is expected; Read may still follow Delivered.
func (s MessageState) Final() bool { return s.Rank() >= MessageFailed.Rank() }
