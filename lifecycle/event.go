package lifecycle

// Event names what happened.
type Event string

// The events. What each does is in [Transition].
const (
	EmailSent               Event = "email_sent"
	SMSSentEvent            Event = "sms_sent"
	EmailDelivered          Event = "email_delivered"
	SMSDelivered            Event = "sms_delivered"
	EmailBounced            Event = "email_bounced"
	SMSFailed               Event = "sms_failed"
	EmailOpened             Event = "email_opened"
	LinkClicked             Event = "link_clicked"
	ReplyReceived           Event = "reply_received"
	OptedOut                Event = "opted_out"
	OptedIn                 Event = "opted_in"
	OperatorReopened        Event = "operator_reopened"
	PurchaseCompleted       Event = "purchase_completed"
	GenerationStarted       Event = "generation_started"
	GenerationCompleted     Event = "generation_completed"
	GenerationFailed        Event = "generation_failed"
	SiteDeployed            Event = "site_deployed"
	SubscriptionActivated   Event = "subscription_activated"
	SubscriptionReactivated Event = "subscription_reactivated"
	SubscriptionPastDue     Event = "subscription_past_due"
	SubscriptionPaused      Event = "subscription_paused"
	SubscriptionCancelled   Event = "subscription_cancelled"
	TicketOpened            Event = "ticket_opened"
	TicketClosed            Event = "ticket_closed"
)

// Events lists every event, in the order of a lead's usual life.
func Events() []Event {
	return []Event{
		GenerationStarted, GenerationCompleted, GenerationFailed, SiteDeployed,
		EmailSent, SMSSentEvent, EmailDelivered, SMSDelivered, EmailBounced, SMSFailed,
		EmailOpened, LinkClicked, ReplyReceived, OptedOut, OptedIn, OperatorReopened,
		PurchaseCompleted, SubscriptionActivated, SubscriptionReactivated, SubscriptionPastDue,
		SubscriptionPaused, SubscriptionCancelled, TicketOpened, TicketClosed,
	}
}

// Axes lists the axes of a business that an event speaks of, its home axis first; nil for an event
// that this version does not know.
func (e Event) Axes() []Axis {
	switch e {
	case EmailSent, SMSSentEvent, EmailDelivered, SMSDelivered, EmailBounced, SMSFailed,
		EmailOpened, LinkClicked, ReplyReceived, OptedOut, OptedIn, OperatorReopened:
		return []Axis{AxisContact}
	case PurchaseCompleted:
		return []Axis{AxisContact, AxisWebsite}
	case GenerationStarted, GenerationCompleted, GenerationFailed, SiteDeployed:
		return []Axis{AxisWebsite}
	case SubscriptionActivated, SubscriptionReactivated, SubscriptionCancelled:
		return []Axis{AxisSubscription, AxisWebsite}
	case SubscriptionPastDue, SubscriptionPaused:
		return []Axis{AxisSubscription}
	case TicketOpened, TicketClosed:
		return []Axis{AxisTicket}
	}
	return nil
}

// Known reports whether this version has rules for the event.
func (e Event) Known() bool { return e.Axes() != nil }
