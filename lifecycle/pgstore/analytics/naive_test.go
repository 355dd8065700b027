package analytics_test

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore/analytics"
)

// world is everything that is stored, read plainly: what the naive numbers are made of.
type world struct {
	businesses map[int64]naiveBusiness
	facts      []naiveFact // in the order of the fold
	messages   map[int64]naiveMessage
	payments   []naivePayment
	failures   []naiveFailure
	campaigns  map[int64]naiveCampaign
	counters   map[int64]int64 // failed and undelivered messages
}

type naiveBusiness struct {
	public       uuid.UUID
	country      string
	erased, test bool
}

type naiveFact struct {
	business, message int64
	event             lifecycle.Event
	at                time.Time
	key               string
}

type naiveMessage struct {
	business, campaign int64
	price, unit, state string
}

type naivePayment struct {
	business         int64
	at               time.Time
	currency         string
	amount, refunded int64
}

type naiveFailure struct {
	business int64
	at       time.Time
}

type naiveCampaign struct {
	public  uuid.UUID
	channel string
}

func readWorld(ctx context.Context, t require.TestingT, pool *pgxpool.Pool) *world {
	w := &world{businesses: map[int64]naiveBusiness{}, messages: map[int64]naiveMessage{}, campaigns: map[int64]naiveCampaign{}, counters: map[int64]int64{}}
	each := func(sql string, into []any, take func()) {
		rows, err := pool.Query(ctx, sql)
		require.NoError(t, err)
		_, err = pgx.ForEachRow(rows, into, func() error { take(); return nil })
		require.NoError(t, err)
	}
	var id int64
	var b naiveBusiness
	each(`SELECT id, public_id, COALESCE(country, ''), erased_at IS NOT NULL, test FROM businesses`,
		[]any{&id, &b.public, &b.country, &b.erased, &b.test}, func() { w.businesses[id] = b })
	var f naiveFact
	each(`SELECT business_id, COALESCE(message_id, 0), event, occurred_at, dedupe_key FROM facts`,
		[]any{&f.business, &f.message, &f.event, &f.at, &f.key}, func() {
			if !w.businesses[f.business].test {
				w.facts = append(w.facts, f)
			}
		})
	slices.SortFunc(w.facts, func(a, b naiveFact) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.key, b.key)) })
	var m naiveMessage
	each(`SELECT id, business_id, COALESCE(campaign_id, 0), COALESCE(price::text, ''), COALESCE(price_unit, ''), state FROM messages`,
		[]any{&id, &m.business, &m.campaign, &m.price, &m.unit, &m.state}, func() { w.messages[id] = m })
	var p naivePayment
	each(`SELECT business_id, paid_at, currency, amount_in_cents, refunded_in_cents FROM payments`,
		[]any{&p.business, &p.at, &p.currency, &p.amount, &p.refunded}, func() {
			w.payments = append(w.payments, p)
		})
	var x naiveFailure
	each(`SELECT business_id, failed_at FROM failed_charges`, []any{&x.business, &x.at}, func() { w.failures = append(w.failures, x) })
	var c naiveCampaign
	each(`SELECT id, public_id, channel FROM campaigns`, []any{&id, &c.public, &c.channel}, func() { w.campaigns[id] = c })
	return w
}

func isSent(e lifecycle.Event) bool { return e == lifecycle.SMSSentEvent || e == lifecycle.EmailSent }

func channelOf(e lifecycle.Event) string {
	if e == lifecycle.EmailSent {
		return "email"
	}
	return "sms"
}

// campaignOf is the campaign of a fact's message, where that went to the fact's business; 0: none.
func (w *world) campaignOf(f naiveFact) int64 {
	if m := w.messages[f.message]; m.business == f.business {
		return m.campaign
	}
	return 0
}

func (w *world) of(business int64) []naiveFact {
	var list []naiveFact
	for _, f := range w.facts {
		if f.business == business {
			list = append(list, f)
		}
	}
	return list
}

// subscription is the status that the facts fold to.
func subscription(facts []naiveFact) lifecycle.Status {
	list := make([]lifecycle.Fact, len(facts))
	for i, f := range facts {
		list[i] = lifecycle.Fact{Event: f.event, OccurredAt: f.at, Key: f.key}
	}
	return lifecycle.Fold(list).Subscription
}

// funnel counts businesses one by one and stage by stage.
func (w *world) funnel(q analytics.FunnelQuery) map[string][]int64 {
	loc := time.UTC
	if q.TimeZone != "" {
		loc, _ = time.LoadLocation(q.TimeZone)
	}
	out := map[string][]int64{}
	for id, b := range w.businesses {
		facts := w.of(id)
		first := slices.IndexFunc(facts, func(f naiveFact) bool { return isSent(f.event) })
		if first < 0 {
			continue
		}
		f := facts[first]
		campaign := w.campaigns[w.campaignOf(f)]
		if q.Channel != "" && q.Channel != channelOf(f.event) || q.Country != "" && q.Country != b.country ||
			q.Campaign != uuid.Nil && q.Campaign != campaign.public ||
			!q.After.IsZero() && f.at.Before(q.After) || !q.Before.IsZero() && !f.at.Before(q.Before) {
			continue
		}
		had := func(events ...lifecycle.Event) bool {
			return slices.ContainsFunc(facts, func(g naiveFact) bool { return !g.at.Before(f.at) && slices.Contains(events, g.event) })
		}
		bought := had(lifecycle.PurchaseCompleted)
		active := bought && subscription(facts) == lifecycle.Active
		replied := bought || had(lifecycle.ReplyReceived)
		clicked := replied || had(lifecycle.LinkClicked)
		opened := clicked || had(lifecycle.EmailOpened)
		delivered := opened || had(lifecycle.SMSDelivered, lifecycle.EmailDelivered)
		key := ""
		switch q.By {
		case analytics.FunnelByWeek:
			local := f.at.In(loc)
			back := (int(local.Weekday()) + 6) % 7
			key = time.Date(local.Year(), local.Month(), local.Day()-back, 0, 0, 0, 0, loc).Format(time.RFC3339)
		case analytics.FunnelByChannel:
			key = channelOf(f.event)
		case analytics.FunnelByCampaign:
			key = campaign.public.String()
		case analytics.FunnelByCountry:
			key = b.country
		}
		if out[key] == nil {
			out[key] = make([]int64, 7)
		}
		for i, reached := range []bool{true, delivered, opened, clicked, replied, bought, active} {
			if reached {
				out[key][i]++
			}
		}
	}
	return out
}

// touched lists the campaigns' messages to a business that went out and did not fail, oldest first.
func (w *world) touched(business int64) []naiveFact {
	facts := w.of(business)
	var list []naiveFact
	for _, f := range facts {
		if !isSent(f.event) || w.campaignOf(f) == 0 {
			continue
		}
		var failed, arrived bool
		for _, g := range facts {
			if g.message != f.message {
				continue
			}
			switch g.event {
			case lifecycle.SMSFailed, lifecycle.EmailBounced:
				failed = true
			case lifecycle.SMSDelivered, lifecycle.EmailDelivered, lifecycle.EmailOpened, lifecycle.LinkClicked:
				arrived = true
			}
		}
		if !failed || arrived {
			list = append(list, f)
		}
	}
	return list
}

// credited is the touch that is credited with what happened at a time; false: none.
func (w *world) credited(business int64, at time.Time, rule analytics.Attribution) (naiveFact, bool) {
	var in []naiveFact
	for _, f := range w.touched(business) {
		if !f.at.After(at) && at.Sub(f.at) <= time.Duration(rule.WindowDays)*24*time.Hour {
			in = append(in, f)
		}
	}
	switch {
	case len(in) == 0:
		return naiveFact{}, false
	case rule.Model == analytics.FirstTouch:
		return in[0], true
	}
	return in[len(in)-1], true
}

// campaignNumbers are sent, delivered, opened, clicked, replied, opted out, purchased and the cost by currency.
func (w *world) campaignNumbers(campaign int64, rule analytics.Attribution) (n [7]int64, costs map[string]*big.Rat) {
	costs = map[string]*big.Rat{}
	for id, b := range w.businesses {
		if b.test {
			continue
		}
		facts := w.of(id)
		var did [6]bool
		for _, f := range facts {
			own := w.campaignOf(f)
			if (f.event == lifecycle.ReplyReceived || f.event == lifecycle.OptedOut) && own == 0 {
				for _, touch := range w.touched(id) {
					if !touch.at.After(f.at) {
						own = w.campaignOf(touch)
					}
				}
			}
			if own != campaign {
				continue
			}
			switch f.event {
			case lifecycle.SMSSentEvent, lifecycle.EmailSent:
				did[0] = true
			case lifecycle.SMSDelivered, lifecycle.EmailDelivered:
				did[1] = true
			case lifecycle.EmailOpened:
				did[1], did[2] = true, true
			case lifecycle.LinkClicked:
				did[1], did[3] = true, true
			case lifecycle.ReplyReceived:
				did[4] = true
			case lifecycle.OptedOut:
				did[5] = true
			}
		}
		for i, d := range did {
			if d {
				n[i]++
			}
		}
		for _, f := range facts {
			if f.event == lifecycle.PurchaseCompleted {
				if touch, ok := w.credited(id, f.at, rule); ok && w.campaignOf(touch) == campaign {
					n[6]++
				}
				break
			}
		}
	}
	for _, m := range w.messages {
		if m.campaign == campaign && m.price != "" && !w.businesses[m.business].test {
			if costs[m.unit] == nil {
				costs[m.unit] = new(big.Rat)
			}
			amount, _ := new(big.Rat).SetString(strings.TrimPrefix(m.price, "-"))
			costs[m.unit].Add(costs[m.unit], amount)
		}
	}
	return n, costs
}

// revenue adds payments up: number, gross, refunded; by currency and group, "unattributed" where nobody is credited.
func (w *world) revenue(q analytics.RevenueQuery) map[string][3]int64 {
	loc := time.UTC
	if q.TimeZone != "" {
		loc, _ = time.LoadLocation(q.TimeZone)
	}
	out := map[string][3]int64{}
	for _, p := range w.payments {
		if w.businesses[p.business].test || !q.After.IsZero() && p.at.Before(q.After) || !q.Before.IsZero() && !p.at.Before(q.Before) {
			continue
		}
		touch, ok := w.credited(p.business, p.at, q.Attribution)
		key := "unattributed"
		local := p.at.In(loc)
		back := (int(local.Weekday()) + 6) % 7
		week := time.Date(local.Year(), local.Month(), local.Day()-back, 0, 0, 0, 0, loc).Format(time.RFC3339)
		switch {
		case q.By == analytics.FunnelByWeek && ok:
			key = week
		case q.By == analytics.FunnelByWeek:
			key = week + " unattributed"
		case ok && q.By == analytics.FunnelByChannel:
			key = channelOf(touch.event)
		case ok:
			key = w.campaigns[w.campaignOf(touch)].public.String()
		}
		sum := out[p.currency+" "+key]
		sum[0]++
		sum[1] += p.amount
		sum[2] += p.refunded
		out[p.currency+" "+key] = sum
	}
	return out
}

// risks lists who is at risk, as lines, in order.
func (w *world) risks(now time.Time, silentDays int, of []analytics.Reason) []string {
	type line struct {
		severity int
		since    time.Time
		id       int64
		text     string
	}
	var lines []line
	for id, b := range w.businesses {
		facts := w.of(id)
		var bought, lastBought, alive, pastDue, paused, ticket time.Time
		state := lifecycle.None
		open := false
		for _, f := range facts {
			switch f.event {
			case lifecycle.PurchaseCompleted:
				lastBought = f.at
				if bought.IsZero() {
					bought = f.at
				}
			case lifecycle.EmailOpened, lifecycle.LinkClicked, lifecycle.ReplyReceived:
				alive = f.at
			case lifecycle.TicketOpened:
				alive = f.at
				if !open {
					open, ticket = true, f.at
				}
			case lifecycle.TicketClosed:
				open = false
			case lifecycle.SubscriptionActivated, lifecycle.SubscriptionReactivated:
				state = lifecycle.Active
			case lifecycle.SubscriptionCancelled:
				state = lifecycle.Cancelled
			case lifecycle.SubscriptionPastDue:
				if state != lifecycle.PastDue {
					pastDue = f.at
				}
				state = lifecycle.PastDue
			case lifecycle.SubscriptionPaused:
				if state != lifecycle.Paused {
					paused = f.at
				}
				state = lifecycle.Paused
			}
		}
		if bought.IsZero() || b.erased || state == lifecycle.Cancelled {
			continue
		}
		if bought.After(alive) {
			alive = bought
		}
		var failed time.Time
		charges := 0
		for _, x := range w.failures {
			if x.business == id && x.at.After(lastBought) {
				charges++
				if failed.IsZero() || x.at.Before(failed) {
					failed = x.at
				}
			}
		}
		l := line{id: id}
		add := func(r analytics.Reason, weight int, holds bool, since time.Time) {
			if !holds {
				return
			}
			l.severity += weight
			if l.since.IsZero() || since.Before(l.since) {
				l.since = since
			}
			l.text += fmt.Sprintf(" %s since %s", r, since.UTC().Format(time.RFC3339Nano))
			if r == analytics.ReasonFailedCharges {
				l.text += fmt.Sprintf(" x%d", charges)
			}
		}
		add(analytics.ReasonPastDue, 16, state == lifecycle.PastDue, pastDue)
		add(analytics.ReasonFailedCharges, 8, charges > 0, failed)
		add(analytics.ReasonOpenTicket, 4, open, ticket)
		add(analytics.ReasonPaused, 2, state == lifecycle.Paused, paused)
		add(analytics.ReasonSilent, 1, !alive.After(now.Add(-time.Duration(silentDays)*24*time.Hour)), alive)
		wanted := len(of) == 0
		for _, r := range of {
			wanted = wanted || strings.Contains(l.text, " "+string(r)+" ")
		}
		if l.severity > 0 && wanted {
			l.text = b.public.String() + l.text
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), a.since.Compare(b.since), cmp.Compare(a.id, b.id))
	})
	var out []string
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}
