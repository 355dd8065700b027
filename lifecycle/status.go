package lifecycle

// Axis is one of the dimensions that a status is kept for.
type Axis string

// The axes of a business, and the two of a site.
const (
	AxisContact          Axis = "contact"
	AxisWebsite          Axis = "website"
	AxisSubscription     Axis = "subscription"
	AxisTicket           Axis = "ticket"
	AxisSite             Axis = "site"
	AxisSiteSubscription Axis = "site_subscription"
)

// Axes lists the axes of a business in the order in which they are shown.
func Axes() []Axis { return []Axis{AxisContact, AxisWebsite, AxisSubscription, AxisTicket} }

// Status is a value on an axis, as stored and as the API shows it.
type Status string

// Contact statuses. Those up to Replied are also the steps of [ContactState.Reached].
const (
	Pending      Status = "pending"
	Emailed      Status = "emailed"
	SMSSent      Status = "sms_sent"
	Opened       Status = "opened"
	Clicked      Status = "clicked"
	Replied      Status = "replied"
	Purchased    Status = "purchased"
	Unsubscribed Status = "unsubscribed"
	Bounced      Status = "bounced"
)

// None is where the website, subscription and ticket axes start.
const None Status = "none"

// Website statuses, beside [None].
const (
	Generating Status = "generating"
	Generated  Status = "generated"
	Deployed   Status = "deployed"
	Sold       Status = "sold"
	Archived   Status = "archived"
)

// Subscription statuses, beside [None].
const (
	Active    Status = "active"
	PastDue   Status = "past_due"
	Paused    Status = "paused"
	Cancelled Status = "cancelled"
)

// Ticket statuses, beside [None].
const (
	Open   Status = "open"
	Closed Status = "closed"
)

// Site statuses, beside [Generated] and [Deployed].
const (
	Draft Status = "draft"
	Owned Status = "owned"
)

// Statuses lists the statuses of an axis in their usual order.
func Statuses(a Axis) []Status {
	switch a {
	case AxisContact:
		return []Status{Pending, Emailed, SMSSent, Opened, Clicked, Replied, Purchased, Unsubscribed, Bounced}
	case AxisWebsite:
		return []Status{None, Generating, Generated, Deployed, Sold, Archived}
	case AxisSubscription, AxisSiteSubscription:
		return []Status{None, Active, PastDue, Paused, Cancelled}
	case AxisTicket:
		return []Status{None, Open, Closed}
	case AxisSite:
		return []Status{Draft, Generated, Deployed, Owned}
	}
	return nil
}

// ContactState is what lies beneath contact_status. Each mark is kept by itself, so that no order of
// arrival can lose one: a purchase is not forgotten by an opt-out, nor a reply by a bounce.
type ContactState struct {
	Reached   Status // Pending, Emailed, SMSSent, Opened, Clicked or Replied
	Bounced   bool   // the last delivery failed
	Purchased bool
	OptedOut  bool
}

// Status is the status shown: the first mark that holds.
func (c ContactState) Status() Status {
	switch {
	case c.OptedOut:
		return Unsubscribed
	case c.Purchased:
		return Purchased
	case c.Bounced:
		return Bounced
	}
	return c.Reached
}

// State is everything that a business's facts fold to.
type State struct {
	Contact      ContactState
	Website      Status
	Subscription Status
	Ticket       Status
}

// Initial is the state of a business without facts.
func Initial() State {
	return State{Contact: ContactState{Reached: Pending}, Website: None, Subscription: None, Ticket: None}
}

// Status is the status shown on one axis of a business; "" for any other axis.
func (s State) Status(a Axis) Status {
	switch a {
	case AxisContact:
		return s.Contact.Status()
	case AxisWebsite:
		return s.Website
	case AxisSubscription:
		return s.Subscription
	case AxisTicket:
		return s.Ticket
	}
	return ""
}

// SiteState is what the facts that name a site fold to.
type SiteState struct {
	Status       Status
	Subscription Status
}

// InitialSite is the state of a site without facts.
func InitialSite() SiteState { return SiteState{Status: Draft, Subscription: None} }
