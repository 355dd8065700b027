package pgstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle"
)

// life is a made-up business with its history.
type life struct {
	b business // state and position, folded by Apply's own code

	public    uuid.UUID
	name      string
	place     place
	category  string
	number    int64 // makes phone, mailbox and keys unique
	createdAt time.Time
	updatedAt time.Time

	hasSite    bool
	site       lifecycle.SiteState
	sitePublic uuid.UUID
	siteFacts  []lifecycle.Fact

	facts       []madeFact
	transitions []madeTransition
	optedOutAt  time.Time

	campaigns  []madeCampaign // that send to it
	until      time.Time
	inCampaign int                  // the one that sent last
	unreported string               // channel of what was sent last, while nothing was reported of it
	lastSent   map[string]time.Time // by channel

	out *outreach // nil where only facts are made
}

type madeFact struct {
	lifecycle.Fact
	recordedAt time.Time
	namesSite  bool
}

type madeTransition struct {
	fact int // index in life.facts
	lifecycle.Change
}

type place struct{ city, country, zone string }

func places() []place {
	return []place{
		{"Guatemala", "GT", "America/Guatemala"},
		{"Quetzaltenango", "GT", "America/Guatemala"},
		{"Antigua", "GT", "America/Guatemala"},
		{"Austin", "US", "America/Chicago"},
		{"Phoenix", "US", "America/Phoenix"},
		{"Tampa", "US", "America/New_York"},
		{"Puebla", "MX", "America/Mexico_City"},
		{"San Salvador", "SV", "America/El_Salvador"},
	}
}

func categories() []string {
	return []string{"bakery", "barber", "café", "dentist", "florist", "garage", "gym", "hotel", "pharmacy", "plumber", "restaurant", "tailor"}
}

func owners() []string {
	return []string{"Alma", "Beto", "Carmen", "Diego", "Elena", "Felipe", "Gloria", "Hugo", "Inés", "Julio", "Lucía", "Mateo", "Nora", "Óscar", "Pilar", "Rosa"}
}

const (
	historyDays = 90
	// lateShare is the share of facts that come after one that happened later: each makes a refold. Only in short
	// histories, since a refold takes the whole of it.
	lateShare   = 0.03
	lateHistory = 200
)

// live makes up a business with a number of facts. Later numbers are founded later, as ids grow with time.
func live(r *rand.Rand, o GenerateOptions, from, number int64, facts int, campaigns []madeCampaign) *life {
	l := &life{
		b: business{state: lifecycle.Initial(), facts: []lifecycle.Fact{}}, number: number,
		place: pick(r, places()), category: pick(r, categories()), site: lifecycle.InitialSite(),
		campaigns: campaigns, until: o.Until, lastSent: map[string]time.Time{},
	}
	if o.Outreach {
		l.out = &outreach{r: rand.New(rand.NewPCG(o.Seed, uint64(number)))}
		l.out.forgotten = l.out.r.Float64() < forgottenShare
	}
	l.name = fmt.Sprintf("%s's %s %d", pick(r, owners()), l.category, number)
	age := 1 - (float64(number-from-1)+r.Float64())/float64(o.Businesses) // a share of the history
	l.createdAt = o.Until.Add(-max(time.Minute, time.Duration(age*historyDays*24*60)*time.Minute))
	l.updatedAt = l.createdAt
	l.public, l.sitePublic = uuidAt(r, l.createdAt), uuidAt(r, l.createdAt)
	share := o.Until.Sub(l.createdAt)
	if facts > 0 {
		share /= time.Duration(facts)
	}
	at := l.createdAt
	for left := facts; left > 0; left-- {
		event := l.next(r, at, left)
		if channel := sends(event); channel != "" {
			campaign := l.campaignAfter(channel, at)
			at = l.campaigns[campaign].moment(r)
			l.inCampaign, l.unreported, l.lastSent[channel] = campaign, channel, at
			l.happen(event, at, at, o.Seed)
			continue
		}
		// On average as far as brings the last fact to the middle of what is left of the history, and never beyond its end.
		bound := min(soon(event), share, o.Until.Sub(at)/time.Duration(left))
		at = at.Add(time.Duration(r.Int64N(int64(bound) + 1)).Truncate(time.Microsecond))
		happened := at
		if len(l.facts) < lateHistory && r.Float64() < lateShare {
			happened = at.Add(-time.Duration(r.Int64N(int64(l.lateness(at)) + 1))).Truncate(time.Microsecond)
		}
		l.happen(event, happened, at, o.Seed)
	}
	return l
}

// next draws the next event. What was sent is reported on at once, but for a mail now and then: nobody asks mailboxes what
// became of it; of texts the provider is asked, until it says.
func (l *life) next(r *rand.Rand, at time.Time, left int) lifecycle.Event {
	if channel := l.unreported; channel != "" {
		l.unreported = ""
		silent := silentMails
		if channel == channelSMS {
			silent = 0
			if l.until.Sub(at) < unreportedDays*24*time.Hour {
				silent = silentTexts
			}
		}
		if r.Float64() >= silent {
			return reported(r, channel)
		}
	}
	return chance(r, l.b.state, func(e lifecycle.Event) bool {
		if channel := sends(e); channel != "" {
			// What is sent comes to an end: to tell it takes another fact.
			return left > 1 && l.campaignAfter(channel, at) >= 0
		}
		switch e {
		case lifecycle.EmailOpened:
			return !l.lastSent[channelEmail].IsZero()
		case lifecycle.ReplyReceived:
			return !l.lastSent[channelSMS].IsZero() // who got no text answers none
		}
		return true
	})
}

const (
	channelSMS   = "sms"
	channelEmail = "email"
	// silentMails is the share of mails of which nothing is heard again; silentTexts that of texts of the last days, of
	// which the provider is still to be asked.
	silentMails, silentTexts = 0.02, 0.1
	unreportedDays           = 3
)

// sends is the channel of an event that is a send, else "".
func sends(e lifecycle.Event) string {
	switch e {
	case lifecycle.SMSSentEvent:
		return channelSMS
	case lifecycle.EmailSent:
		return channelEmail
	}
	return ""
}

// reported draws what a provider tells of a message.
func reported(r *rand.Rand, channel string) lifecycle.Event {
	failed := r.IntN(11) == 0
	switch {
	case channel == channelSMS && failed:
		return lifecycle.SMSFailed
	case channel == channelSMS:
		return lifecycle.SMSDelivered
	case failed:
		return lifecycle.EmailBounced
	}
	return lifecycle.EmailDelivered
}

// soon bounds how long an event comes after what led to it.
func soon(e lifecycle.Event) time.Duration {
	switch e {
	case lifecycle.SMSDelivered, lifecycle.SMSFailed, lifecycle.EmailDelivered, lifecycle.EmailBounced, lifecycle.SubscriptionActivated:
		return 90 * time.Second
	case lifecycle.GenerationCompleted, lifecycle.GenerationFailed, lifecycle.SiteDeployed:
		return 20 * time.Minute
	case lifecycle.EmailOpened, lifecycle.LinkClicked, lifecycle.ReplyReceived, lifecycle.OptedOut, lifecycle.TicketClosed:
		return 2 * 24 * time.Hour
	}
	return historyDays * 24 * time.Hour
}

// lateness bounds how late a fact is recorded: not before the business was there, nor before what it was sent last.
func (l *life) lateness(at time.Time) time.Duration {
	first := l.createdAt
	for _, sent := range l.lastSent {
		if sent.After(first) {
			first = sent
		}
	}
	return min(48*time.Hour, at.Sub(first))
}

// campaignAfter is the first campaign of a channel that is launched after a time: who is there then is in its audience. -1: none.
func (l *life) campaignAfter(channel string, at time.Time) int {
	for i, c := range l.campaigns {
		if c.channel == channel && c.launchedAt.After(at) {
			return i
		}
	}
	return -1
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// uuidAt makes a UUIDv7 of a time.
func uuidAt(r *rand.Rand, at time.Time) uuid.UUID {
	var id uuid.UUID
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	random := r.Uint64()
	for i := range 8 {
		id[8+i] = byte(random >> (8 * i))
	}
	id[6], id[7] = 0x70|byte(r.IntN(16)), byte(r.IntN(256))
	id[8] = id[8]&0x3f | 0x80
	return id
}

// happen adds a fact, and what it changes.
func (l *life) happen(e lifecycle.Event, happened, recorded time.Time, seed uint64) {
	f := lifecycle.Fact{Event: e, OccurredAt: happened, Key: l.key(seed, len(l.facts))}
	made := madeFact{Fact: f, recordedAt: recorded}
	for _, axis := range e.Axes() {
		made.namesSite = made.namesSite || axis == lifecycle.AxisWebsite || axis == lifecycle.AxisSubscription
	}
	changes := l.b.fold(f)
	if made.namesSite {
		changes = append(changes, l.foldSite(f)...)
	}
	for _, c := range changes {
		l.transitions = append(l.transitions, madeTransition{fact: len(l.facts), Change: c})
	}
	l.facts = append(l.facts, made)
	l.updatedAt = recorded
	if e == lifecycle.OptedOut {
		l.optedOutAt = recorded
	}
	if l.out != nil {
		l.furnish(len(l.facts) - 1)
	}
}

// foldSite does to the business's site what foldSites does.
func (l *life) foldSite(f lifecycle.Fact) []lifecycle.Change {
	before := l.site
	onTop := len(l.siteFacts) == 0 || lifecycle.Compare(f, l.siteFacts[len(l.siteFacts)-1]) > 0
	l.hasSite = true
	l.siteFacts = append(l.siteFacts, f)
	if onTop {
		l.site, _ = lifecycle.TransitionSite(l.site, f.Event)
	} else {
		l.site = lifecycle.FoldSite(l.siteFacts)
		// Kept so that the newest is the last.
		last := len(l.siteFacts) - 1
		l.siteFacts[last], l.siteFacts[last-1] = l.siteFacts[last-1], l.siteFacts[last]
	}
	return lifecycle.SiteChanges(before, l.site, lifecycle.Applied)
}

// key is the dedupe key of the n-th fact.
func (l *life) key(seed uint64, n int) string {
	b := append(make([]byte, 0, 40), "seed:"...)
	b = strconv.AppendUint(b, seed, 10)
	b = strconv.AppendInt(append(b, ':'), l.number, 10)
	b = strconv.AppendInt(append(b, ':'), int64(n), 10)
	return string(b)
}

func (l *life) phone() string { return fmt.Sprintf("+999%09d", l.number) }
func (l *life) email() string { return fmt.Sprintf("owner@business-%d.example", l.number) }

// weighted is an event with how likely it is among those that may come next.
type weighted struct {
	event  lifecycle.Event
	weight int
}

// chance draws what happens next: something plausible for most, and for some something that the rules block.
func chance(r *rand.Rand, s lifecycle.State, can func(lifecycle.Event) bool) lifecycle.Event {
	may := append(append(nextContact(s.Contact), nextWebsite(s)...), nextTicket(s)...)
	may = slices.DeleteFunc(may, func(w weighted) bool { return !can(w.event) })
	total := 0
	for _, w := range may {
		total += w.weight
	}
	at := r.IntN(total)
	for _, w := range may {
		if at -= w.weight; at < 0 {
			return w.event
		}
	}
	return may[0].event
}

func nextContact(c lifecycle.ContactState) []weighted {
	switch c.Status() {
	case lifecycle.Pending:
		return []weighted{{lifecycle.SMSSentEvent, 30}, {lifecycle.EmailSent, 20}}
	case lifecycle.Emailed:
		return []weighted{{lifecycle.EmailOpened, 15}, {lifecycle.LinkClicked, 3}, {lifecycle.SMSSentEvent, 12}, {lifecycle.EmailSent, 4}, {lifecycle.OptedOut, 1}}
	case lifecycle.SMSSent:
		return []weighted{{lifecycle.LinkClicked, 5}, {lifecycle.ReplyReceived, 3}, {lifecycle.EmailSent, 12}, {lifecycle.SMSSentEvent, 4}, {lifecycle.OptedOut, 1}}
	case lifecycle.Opened:
		return []weighted{{lifecycle.EmailOpened, 5}, {lifecycle.LinkClicked, 10}, {lifecycle.ReplyReceived, 5}, {lifecycle.EmailSent, 5}, {lifecycle.OptedOut, 1}}
	case lifecycle.Clicked:
		return []weighted{{lifecycle.LinkClicked, 8}, {lifecycle.ReplyReceived, 4}, {lifecycle.PurchaseCompleted, 2}, {lifecycle.SMSSentEvent, 10}, {lifecycle.OptedOut, 1}}
	case lifecycle.Replied:
		return []weighted{{lifecycle.ReplyReceived, 8}, {lifecycle.PurchaseCompleted, 3}, {lifecycle.SMSSentEvent, 8}, {lifecycle.OptedOut, 2}}
	case lifecycle.Bounced:
		return []weighted{{lifecycle.EmailSent, 10}, {lifecycle.SMSSentEvent, 10}}
	case lifecycle.Unsubscribed:
		return []weighted{{lifecycle.ReplyReceived, 3}, {lifecycle.OptedIn, 3}, {lifecycle.OperatorReopened, 2}}
	}
	return []weighted{{lifecycle.ReplyReceived, 3}, {lifecycle.EmailOpened, 3}, {lifecycle.OptedOut, 1}} // purchased
}

func nextWebsite(s lifecycle.State) []weighted {
	var may []weighted
	switch s.Website {
	case lifecycle.None:
		may = []weighted{{lifecycle.GenerationStarted, 6}}
	case lifecycle.Generating:
		may = []weighted{{lifecycle.GenerationCompleted, 20}, {lifecycle.GenerationFailed, 2}}
	case lifecycle.Generated:
		may = []weighted{{lifecycle.SiteDeployed, 20}}
	case lifecycle.Deployed:
		may = []weighted{{lifecycle.GenerationStarted, 1}}
	}
	switch {
	case s.Subscription == lifecycle.Active:
		may = append(may, weighted{lifecycle.SubscriptionPastDue, 5}, weighted{lifecycle.SubscriptionPaused, 1}, weighted{lifecycle.SubscriptionCancelled, 2})
	case s.Subscription == lifecycle.PastDue, s.Subscription == lifecycle.Paused:
		may = append(may, weighted{lifecycle.SubscriptionReactivated, 15}, weighted{lifecycle.SubscriptionCancelled, 5})
	case s.Subscription == lifecycle.Cancelled:
		may = append(may, weighted{lifecycle.SubscriptionReactivated, 1})
	case s.Contact.Purchased:
		may = append(may, weighted{lifecycle.SubscriptionActivated, 40})
	}
	return may
}

func nextTicket(s lifecycle.State) []weighted {
	switch {
	case s.Ticket == lifecycle.Open:
		return []weighted{{lifecycle.TicketClosed, 10}}
	case s.Contact.Purchased || s.Contact.Reached == lifecycle.Replied:
		return []weighted{{lifecycle.TicketOpened, 3}}
	}
	return nil
}
