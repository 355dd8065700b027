package lifecycle

// Verdict says what a fact did to an axis.
type Verdict string

// The verdicts.
const (
	// Applied: the state changed.
	Applied Verdict = "applied"
	// NoChange: the state already said so.
	NoChange Verdict = "no_change"
	// Blocked: the rules hold the status against this event; what it means beneath the status
	// (a reply after an opt-out) is remembered all the same.
	Blocked Verdict = "blocked"
	// Stale: the fact is older than what was already folded, and changed nothing.
	Stale Verdict = "stale"
	// Corrected: the fact is older than what was already folded, and the refold changed the status.
	Corrected Verdict = "corrected"
)

// Verdicts lists them all.
func Verdicts() []Verdict { return []Verdict{Applied, NoChange, Blocked, Stale, Corrected} }

// Change is what an event did to one axis.
type Change struct {
	Axis     Axis
	From, To Status
	Verdict  Verdict
}

// Transition applies an event to a state. It is total: an event that this version does not know
// changes nothing and yields no change.
func Transition(s State, e Event) (State, []Change) {
	axes := e.Axes()
	changes := make([]Change, 0, len(axes))
	for _, a := range axes {
		c := Change{Axis: a, From: s.Status(a)}
		switch a {
		case AxisContact:
			s.Contact, c.Verdict = contact(s.Contact, e)
		case AxisWebsite:
			s.Website, c.Verdict = website(s.Website, e)
		case AxisSubscription:
			s.Subscription, c.Verdict = set(s.Subscription, subscriptionStatus(e))
		case AxisTicket:
			s.Ticket, c.Verdict = ticket(s.Ticket, e)
		}
		c.To = s.Status(a)
		changes = append(changes, c)
	}
	return s, changes
}

// reachedRank orders the steps of contact; Emailed and SMSSent are equals.
func reachedRank(s Status) int {
	switch s {
	case Emailed, SMSSent:
		return 1
	case Opened:
		return 2
	case Clicked:
		return 3
	case Replied:
		return 4
	}
	return 0
}

func contact(c ContactState, e Event) (ContactState, Verdict) {
	before := c
	raise := func(to Status) {
		if reachedRank(to) > reachedRank(c.Reached) {
			c.Reached = to
		}
		c.Bounced = false
	}
	switch e {
	case EmailSent, SMSSentEvent:
		to := Emailed
		if e == SMSSentEvent {
			to = SMSSent
		}
		// Between the two equals the later wins.
		if reachedRank(c.Reached) == reachedRank(to) {
			c.Reached = to
		}
		raise(to)
	case EmailDelivered:
		raise(Emailed)
	case SMSDelivered:
		raise(SMSSent)
	case EmailOpened:
		raise(Opened)
	case LinkClicked:
		raise(Clicked)
	case ReplyReceived:
		raise(Replied)
	case EmailBounced, SMSFailed:
		c.Bounced = true
	case PurchaseCompleted:
		c.Purchased = true
	case OptedOut:
		c.OptedOut = true
	case OptedIn:
		// Lifts the suppression of the channel; the status stays until an operator reopens the contact.
		return c, NoChange
	case OperatorReopened:
		c.OptedOut, c.Bounced = false, false
	}
	switch {
	case c == before:
		return c, NoChange
	case c.Status() != before.Status():
		return c, Applied
	case before.OptedOut || before.Purchased:
		// Something changed beneath a terminal status that holds.
		return c, Blocked
	}
	return c, Applied
}

func website(s Status, e Event) (Status, Verdict) {
	switch e {
	case GenerationStarted:
		return from(s, Generating, None, Generated, Generating)
	case GenerationCompleted:
		return from(s, Generated, None, Generating, Generated)
	case GenerationFailed:
		return from(s, None, Generating)
	case SiteDeployed:
		return from(s, Deployed, None, Generating, Generated, Deployed)
	case PurchaseCompleted:
		return set(s, Sold)
	case SubscriptionCancelled:
		if s == None {
			return s, Blocked
		}
		return set(s, Archived)
	case SubscriptionActivated, SubscriptionReactivated:
		if s == Archived {
			return Sold, Applied
		}
		return s, NoChange
	}
	return s, NoChange
}

func subscriptionStatus(e Event) Status {
	switch e {
	case SubscriptionActivated, SubscriptionReactivated:
		return Active
	case SubscriptionPastDue:
		return PastDue
	case SubscriptionPaused:
		return Paused
	case SubscriptionCancelled:
		return Cancelled
	}
	return None
}

func ticket(s Status, e Event) (Status, Verdict) {
	if e == TicketOpened {
		return set(s, Open)
	}
	// Nothing to close where none was opened.
	return from(s, Closed, Open, Closed)
}

// set moves to a status from wherever it was.
func set(s, to Status) (Status, Verdict) {
	if s == to {
		return s, NoChange
	}
	return to, Applied
}

// from moves to a status from those listed only.
func from(s, to Status, allowed ...Status) (Status, Verdict) {
	for _, a := range allowed {
		if s == a {
			return set(s, to)
		}
	}
	return s, Blocked
}

// TransitionSite applies an event to a site that it names. Only changes are returned.
func TransitionSite(s SiteState, e Event) (SiteState, []Change) {
	before := s
	switch e {
	case GenerationCompleted:
		s.Status, _ = from(s.Status, Generated, Draft, Generated)
	case SiteDeployed:
		s.Status, _ = from(s.Status, Deployed, Draft, Generated, Deployed)
	case PurchaseCompleted:
		s.Status = Owned
	case SubscriptionActivated, SubscriptionReactivated, SubscriptionPastDue, SubscriptionPaused, SubscriptionCancelled:
		s.Subscription = subscriptionStatus(e)
	}
	return s, SiteChanges(before, s, Applied)
}

// SiteChanges lists what differs between two states of a site.
func SiteChanges(before, after SiteState, v Verdict) []Change {
	var changes []Change
	if before.Status != after.Status {
		changes = append(changes, Change{AxisSite, before.Status, after.Status, v})
	}
	if before.Subscription != after.Subscription {
		changes = append(changes, Change{AxisSiteSubscription, before.Subscription, after.Subscription, v})
	}
	return changes
}
