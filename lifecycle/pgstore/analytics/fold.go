package analytics

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"onward/lifecycle"
)

// MaxWindowDays is the longest time between a touch and a payment that attribution may be asked for.
const MaxWindowDays = 365

const day = 24 * time.Hour

// Quarter is the step in which the times of first contacts and payments are kept: every time zone's hours, days and
// weeks begin with one.
const Quarter = 15 * time.Minute

// history is all that a business's contribution is made of.
type history struct {
	country      string
	erased, test bool
	facts        []fact
	messages     map[int64]message // its own messages of campaigns, by id
	payments     []payment
	failures     []time.Time // charges that failed
}

type fact struct {
	lifecycle.Fact
	message int64 // 0: about none
}

type message struct {
	campaign int64
	price    string // "": not known
	unit     string
}

type payment struct {
	id               int64
	at               time.Time
	currency         string
	amount, refunded int64
}

// contribution is what a business adds to the sums.
type contribution struct {
	contactedAt time.Time // of the first contact; zero: never contacted
	channel     string
	campaign    int64
	country     string
	furthest    int // 1 is the first stage; 0: never contacted
	touches     []touch
	credits     []credit
	customer    *customer
}

// mark is what a campaign's message did to a business.
type mark int

const (
	markSent mark = 1 << iota
	markDelivered
	markOpened
	markClicked
	markReplied
	markOptedOut
)

// marks lists them in the order of the columns of analytics_campaigns.
func marks() []mark {
	return []mark{markSent, markDelivered, markOpened, markClicked, markReplied, markOptedOut}
}

// touch is what came of the message of one campaign.
type touch struct {
	campaign   int64
	marks      mark
	cost, unit string
}

// credit says who is credited with a payment, or with the first purchase (payment 0), for windows of from days up to,
// not including, until days.
type credit struct {
	payment          int64
	model            Model
	from, until      int
	campaign         int64
	channel          string
	at               time.Time
	currency         string
	amount, refunded int64
	touched          int // of everyone: the shortest window in which somebody is credited; -1: none
}

// customer is what may be wrong with a business that bought; the zero time: nothing is.
type customer struct {
	purchasedAt, aliveAt                  time.Time
	pastDueAt, pausedAt, ticketAt, failed time.Time
	failedCharges                         int
}

// everyone is the model of the row that stands for a payment whoever is credited with it.
const everyone Model = "all"

// out is a campaign's message that went out and did not fail: what a reply or a payment may be credited to.
type out struct {
	at       time.Time
	campaign int64
	channel  string
}

// fold makes the contribution of a history, whose facts it sorts.
func (h *history) fold() contribution {
	if h.test {
		return contribution{}
	}
	slices.SortFunc(h.facts, func(a, b fact) int { return lifecycle.Compare(a.Fact, b.Fact) })
	c := contribution{country: h.country}
	h.funnel(&c)
	outs := h.outs()
	c.touches = h.touches(outs)
	bought := h.firstPurchase()
	if !bought.IsZero() {
		c.credits = credits(c.credits, payment{at: bought}, outs)
	}
	for _, p := range h.payments {
		c.credits = credits(c.credits, p, outs)
	}
	if !bought.IsZero() && !h.erased {
		c.customer = h.customer(bought)
	}
	return c
}

// Everything that is counted begins with a message that went out.
func sentBy(e lifecycle.Event) (channel string, ok bool) {
	switch e {
	case lifecycle.SMSSentEvent:
		return "sms", true
	case lifecycle.EmailSent:
		return "email", true
	}
	return "", false
}

// funnel finds the first contact and the furthest stage that was reached since.
func (h *history) funnel(c *contribution) {
	subscription := lifecycle.Initial()
	for _, f := range h.facts {
		subscription, _ = lifecycle.Transition(subscription, f.Event)
		if channel, ok := sentBy(f.Event); ok && c.furthest == 0 {
			c.contactedAt, c.channel, c.campaign, c.furthest = f.OccurredAt, channel, h.messages[f.message].campaign, 1
		}
	}
	if c.furthest == 0 {
		return
	}
	for _, f := range h.facts {
		if f.OccurredAt.Before(c.contactedAt) {
			continue
		}
		c.furthest = max(c.furthest, stageOf(f.Event))
	}
	if c.furthest == stageNumber(StagePurchased) && subscription.Subscription == lifecycle.Active {
		c.furthest = stageNumber(StageActive)
	}
}

// stageOf is the number of the stage that an event shows; 0 for one that shows none.
func stageOf(e lifecycle.Event) int {
	switch e {
	case lifecycle.EmailDelivered, lifecycle.SMSDelivered:
		return stageNumber(StageDelivered)
	case lifecycle.EmailOpened:
		return stageNumber(StageOpened)
	case lifecycle.LinkClicked:
		return stageNumber(StageClicked)
	case lifecycle.ReplyReceived:
		return stageNumber(StageReplied)
	case lifecycle.PurchaseCompleted:
		return stageNumber(StagePurchased)
	}
	return 0
}

func stageNumber(s Stage) int { return slices.Index(Stages(), s) + 1 }

// outs lists the messages of campaigns that went out and did not fail, oldest first.
func (h *history) outs() []out {
	if len(h.messages) == 0 {
		return nil
	}
	failed, arrived := map[int64]bool{}, map[int64]bool{}
	for _, f := range h.facts {
		switch f.Event {
		case lifecycle.SMSFailed, lifecycle.EmailBounced:
			failed[f.message] = true
		case lifecycle.SMSDelivered, lifecycle.EmailDelivered, lifecycle.EmailOpened, lifecycle.LinkClicked:
			arrived[f.message] = true
		}
	}
	var list []out
	for _, f := range h.facts {
		m, campaign := h.messages[f.message]
		channel, sent := sentBy(f.Event)
		if sent && campaign && (!failed[f.message] || arrived[f.message]) {
			list = append(list, out{at: f.OccurredAt, campaign: m.campaign, channel: channel})
		}
	}
	return list
}

// lastOut is the newest that went out by then; false where none did.
func lastOut(outs []out, by time.Time) (out, bool) {
	for _, o := range slices.Backward(outs) {
		if !o.at.After(by) {
			return o, true
		}
	}
	return out{}, false
}

func (h *history) touches(outs []out) []touch {
	if len(h.messages) == 0 {
		return nil
	}
	byCampaign := map[int64]*touch{}
	of := func(campaign int64) *touch {
		if byCampaign[campaign] == nil {
			byCampaign[campaign] = &touch{campaign: campaign}
		}
		return byCampaign[campaign]
	}
	for _, m := range h.messages {
		if m.price != "" {
			// A provider writes what it takes with a minus.
			of(m.campaign).cost, of(m.campaign).unit = strings.TrimPrefix(m.price, "-"), m.unit
		}
	}
	for _, f := range h.facts {
		own, isOwn := h.messages[f.message]
		switch f.Event {
		case lifecycle.SMSSentEvent, lifecycle.EmailSent, lifecycle.SMSDelivered, lifecycle.EmailDelivered, lifecycle.EmailOpened, lifecycle.LinkClicked:
			if isOwn {
				of(own.campaign).marks |= marksOf(f.Event)
			}
		case lifecycle.OptedOut, lifecycle.ReplyReceived:
			campaign := own.campaign
			if !isOwn {
				last, ok := lastOut(outs, f.OccurredAt)
				if !ok {
					continue
				}
				campaign = last.campaign
			}
			of(campaign).marks |= marksOf(f.Event)
		}
	}
	var list []touch
	for _, t := range byCampaign {
		if t.marks != 0 || t.cost != "" {
			list = append(list, *t)
		}
	}
	slices.SortFunc(list, func(a, b touch) int { return cmp.Compare(a.campaign, b.campaign) })
	return list
}

func marksOf(e lifecycle.Event) mark {
	switch e {
	case lifecycle.SMSSentEvent, lifecycle.EmailSent:
		return markSent
	case lifecycle.SMSDelivered, lifecycle.EmailDelivered:
		return markDelivered
	case lifecycle.EmailOpened:
		return markOpened | markDelivered
	case lifecycle.LinkClicked:
		return markClicked | markDelivered
	case lifecycle.ReplyReceived:
		return markReplied
	case lifecycle.OptedOut:
		return markOptedOut
	}
	return 0
}

func (h *history) firstPurchase() time.Time {
	for _, f := range h.facts {
		if f.Event == lifecycle.PurchaseCompleted {
			return f.OccurredAt
		}
	}
	return time.Time{}
}

// credits adds the rows of one payment: itself, who touched last, and for each span of windows who touched first in it.
func credits(list []credit, p payment, outs []out) []credit {
	row := credit{
		payment: p.id, model: everyone, until: MaxWindowDays + 1, at: p.at,
		currency: p.currency, amount: p.amount, refunded: p.refunded, touched: -1,
	}
	self := len(list)
	list = append(list, row)
	until := MaxWindowDays + 1
	oldest := -1 // of the rows of the first touch, that with the longest window
	last := false
	for _, o := range slices.Backward(outs) {
		if o.at.After(p.at) {
			continue
		}
		from := days(p.at.Sub(o.at))
		if from > MaxWindowDays {
			break
		}
		row.from, row.until, row.campaign, row.channel = from, until, o.campaign, o.channel
		if !last {
			last = true
			list[self].touched = from
			row.model = LastTouch
			list = append(list, row)
		}
		row.model = FirstTouch
		if oldest >= 0 && list[oldest].from == from {
			list[oldest] = row // older, and in every window that the other is in
			continue
		}
		if oldest >= 0 {
			list[oldest].until = from
		}
		oldest = len(list)
		list = append(list, row)
	}
	return list
}

// days is the shortest window, in whole days, that a touch of this age is in.
func days(age time.Duration) int { return int((age + day - 1) / day) }

// customer is nil where the subscription is cancelled: who is gone is no longer at risk.
func (h *history) customer(bought time.Time) *customer {
	c := customer{purchasedAt: bought, aliveAt: bought}
	state := lifecycle.Initial()
	var lastPurchase time.Time
	for _, f := range h.facts {
		var changes []lifecycle.Change
		state, changes = lifecycle.Transition(state, f.Event)
		for _, ch := range changes {
			if ch.From == ch.To {
				continue
			}
			switch ch.Axis {
			case lifecycle.AxisSubscription:
				c.pastDueAt, c.pausedAt = time.Time{}, time.Time{}
				switch ch.To {
				case lifecycle.PastDue:
					c.pastDueAt = f.OccurredAt
				case lifecycle.Paused:
					c.pausedAt = f.OccurredAt
				}
			case lifecycle.AxisTicket:
				c.ticketAt = time.Time{}
				if ch.To == lifecycle.Open {
					c.ticketAt = f.OccurredAt
				}
			}
		}
		switch f.Event {
		case lifecycle.EmailOpened, lifecycle.LinkClicked, lifecycle.ReplyReceived, lifecycle.TicketOpened:
			if f.OccurredAt.After(c.aliveAt) {
				c.aliveAt = f.OccurredAt
			}
		case lifecycle.PurchaseCompleted:
			lastPurchase = f.OccurredAt
		}
	}
	if state.Subscription == lifecycle.Cancelled {
		return nil
	}
	for _, at := range h.failures {
		if !at.After(lastPurchase) {
			continue
		}
		c.failedCharges++
		if c.failed.IsZero() || at.Before(c.failed) {
			c.failed = at
		}
	}
	return &c
}
