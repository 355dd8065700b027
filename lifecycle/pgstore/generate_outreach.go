package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle"
)

// madeCampaign is a made-up campaign that was sent.
type madeCampaign struct {
	id                           int64
	name, channel, subject, body string
	launchedAt                   time.Time
	perSecond                    int
}

// campaignTime is how long a made-up campaign sends.
const campaignTime = 40 * time.Minute

func (c madeCampaign) endedAt() time.Time { return c.launchedAt.Add(campaignTime) }

// moment draws when the campaign sends to somebody.
func (c madeCampaign) moment(r *rand.Rand) time.Time {
	return c.launchedAt.Add(queuedBefore + time.Duration(r.Int64N(int64(campaignTime-time.Minute)))).Truncate(time.Microsecond)
}

// queuedBefore is how long before it was sent a message was queued.
const queuedBefore = 3 * time.Second

// madeMessage is a made-up message of one of them.
type madeMessage struct {
	public                 uuid.UUID
	campaign               int // index
	body, state, errorCode string
	queuedAt, sentAt       time.Time
	updatedAt              time.Time
	deliveredAt            *time.Time
	facts                  []int // indexes: those that it led to
}

// madeReply is a made-up reply.
type madeReply struct {
	public  uuid.UUID
	message int // index, or -1
	body    string
	action  string
	at      time.Time
	// handledAt is when somebody saw to it; zero: nobody did.
	handledAt time.Time
}

// madePayment is a made-up charge.
type madePayment struct {
	cents    int64
	currency string
	at       time.Time
}

// outreach is what a made-up business got, said and paid, beside its facts.
type outreach struct {
	r         *rand.Rand // of its own, so that the same facts are made with it and without
	forgotten bool       // nobody sees to its replies
	messages  []madeMessage
	replies   []madeReply
	payments  []madePayment
}

func campaignTexts() []madeCampaign {
	return []madeCampaign{
		{name: "First text", channel: "sms", body: "Hi {{.Name}}, we made a website for you: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Your website is ready", channel: "email", subject: "{{.Name}} has a website", body: "Good morning,\n\nhere it is: {{.SiteURL}}\n\nShall we put it online?\n\n{{.UnsubscribeURL}}"},
		{name: "Second text", channel: "sms", body: "{{.Name}}, have you seen it? {{.SiteURL}} It takes a minute. Reply STOP to opt out."},
		{name: "What your neighbours do", channel: "email", subject: "Shops in {{.City}}", body: "Three shops in {{.City}} are found by phone now: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
		{name: "Everything on one page", channel: "sms", body: "{{.Name}}: opening hours, map and phone on one page: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Until Friday", channel: "email", subject: "Until Friday", body: "The first month is free until Friday: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
		{name: "A month for free", channel: "sms", body: "{{.Name}}, the first month is free: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Opening hours", channel: "email", subject: "Are your hours right?", body: "New hours? We put them on your page: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
	}
}

const (
	// madeCampaigns is how many campaigns there were: two a week, a text and a mail in turn, the last one a text.
	madeCampaigns = 25
	// launchHour is when they were launched, in UTC: in the morning where the businesses are.
	launchHour = 15
)

// planCampaigns spreads campaigns over the history, each with the texts that are next in turn.
func planCampaigns(o GenerateOptions) []madeCampaign {
	texts := campaignTexts()
	list := make([]madeCampaign, madeCampaigns)
	const day = 24 * time.Hour
	for i := range list {
		c := texts[i%len(texts)]
		// The last one the day before yesterday: it has ended, and so has most of what it sent.
		c.launchedAt = o.Until.Add((-historyDays+time.Duration(i+1)*historyDays/madeCampaigns)*day - 2*day).Truncate(day).Add(launchHour * time.Hour)
		_, week := c.launchedAt.ISOWeek()
		c.name = fmt.Sprintf("%s, week %d", c.name, week)
		// As fast as gets everyone served in time, were half of all that were there in the audience.
		c.perSecond = max(1, o.Businesses/2/int(campaignTime/time.Second))
		list[i] = c
	}
	return list
}

func replyTexts() []string {
	return []string{
		"How much is it?", "Who are you?", "Looks nice! Can you change the photo?", "Call me tomorrow after 10", "¿Qué precio tiene?",
		"Is my phone number on it?", "We already have one, thanks", "Yes please", "Can I pay by card?", "Sounds good, what do you need from me?",
	}
}

// storeCampaigns stores the campaigns that made-up messages belong to, and gives them their ids.
func storeCampaigns(ctx context.Context, pool *pgxpool.Pool, o GenerateOptions, list []madeCampaign) error {
	r := rand.New(rand.NewPCG(o.Seed, 0xca0))
	for i := range list {
		c := &list[i]
		err := pool.QueryRow(ctx, `
			INSERT INTO campaigns (public_id, name, channel, subject, body, audience, status, send_at, per_second,
				launched_at, frozen_at, fanned_out_at, finished_at, created_at, updated_at, fanout_last)
			VALUES ($1, $2, $3, $4, $5, '{"filter": {}}', 'sent', $6, $9, $6, $6, $6, $7, $8, $7, 0)
			RETURNING id`,
			uuidAt(r, c.launchedAt.Add(-time.Hour)), c.name, c.channel, c.subject, c.body, c.launchedAt, c.endedAt(), c.launchedAt.Add(-time.Hour), c.perSecond,
		).Scan(&c.id)
		if err != nil {
			return fmt.Errorf("store a made-up campaign: %w", err)
		}
	}
	return nil
}

// furnish adds to a made-up fact what it would have come with: the message that was sent, the reply, the charge.
func (l *life) furnish(index int) {
	f := l.facts[index]
	switch f.Event {
	case lifecycle.SMSSentEvent, lifecycle.EmailSent:
		l.send(index)
	case lifecycle.SMSDelivered:
		l.report("sms", index, "delivered", "")
	case lifecycle.EmailDelivered:
		l.report("email", index, "delivered", "")
	case lifecycle.SMSFailed:
		l.report("sms", index, "undelivered", "30003")
	case lifecycle.EmailBounced:
		l.report("email", index, "undelivered", "5.1.1")
	case lifecycle.EmailOpened:
		l.report("email", index, "", "")
	case lifecycle.LinkClicked:
		l.report("", index, "", "")
	case lifecycle.ReplyReceived:
		l.reply(f.recordedAt, pick(l.out.r, replyTexts()), "reply")
	case lifecycle.OptedOut:
		l.reply(f.recordedAt, "STOP", "opt_out")
	case lifecycle.PurchaseCompleted:
		p := madePayment{cents: 49_900, currency: "GTQ", at: f.recordedAt}
		if l.place.country == "US" {
			p = madePayment{cents: 5_900, currency: "USD", at: f.recordedAt}
		}
		l.out.payments = append(l.out.payments, p)
	}
}

// send makes the message of the campaign that sent last.
func (l *life) send(index int) {
	f, c := l.facts[index], l.campaigns[l.inCampaign]
	body := strings.NewReplacer("{{.Name}}", l.name, "{{.City}}", l.place.city, "{{.SiteURL}}", fmt.Sprintf("https://business-%d.example", l.number),
		"{{.UnsubscribeURL}}", "https://hooks.example/u/…").Replace(c.body)
	l.out.messages = append(l.out.messages, madeMessage{
		public: uuidAt(l.out.r, f.recordedAt.Add(-queuedBefore)), campaign: l.inCampaign, body: body, state: "sent",
		queuedAt: f.recordedAt.Add(-queuedBefore), sentAt: f.recordedAt, updatedAt: f.recordedAt, facts: []int{index},
	})
}

// report lets a fact be about the last message of a channel ("": of any), and takes it to a state.
func (l *life) report(channel string, index int, state, errorCode string) {
	for i := len(l.out.messages) - 1; i >= 0; i-- {
		m := &l.out.messages[i]
		if channel != "" && l.campaigns[m.campaign].channel != channel {
			continue
		}
		m.facts = append(m.facts, index)
		if state != "" && m.state == "sent" {
			m.state, m.errorCode, m.updatedAt = state, errorCode, l.facts[index].recordedAt
			if state == "delivered" {
				at := l.facts[index].recordedAt
				m.deliveredAt = &at
			}
		}
		return
	}
}

const (
	// answeredDays is how old a reply is that somebody has seen to; forgottenShare that of the businesses whose replies wait on.
	answeredDays   = 4
	forgottenShare = 0.02
	handledBy      = "ana"
)

func (l *life) reply(at time.Time, body, action string) {
	r := madeReply{public: uuidAt(l.out.r, at), message: -1, body: body, action: action, at: at}
	for i := len(l.out.messages) - 1; i >= 0; i-- {
		if l.campaigns[l.out.messages[i].campaign].channel == "sms" {
			r.message = i
			break
		}
	}
	if !l.out.forgotten && l.until.Sub(at) > answeredDays*24*time.Hour {
		r.handledAt = at.Add(time.Duration(l.out.r.Int64N(int64(24 * time.Hour)))).Truncate(time.Microsecond)
	}
	if r.message >= 0 { // who got no text answers none
		l.out.replies = append(l.out.replies, r)
	}
}

// outreach stores messages, replies and payments. It runs before the facts, which name the messages.
func (c *copier) outreach(ctx context.Context) error {
	if c.lives[0].out == nil {
		return nil
	}
	var messages, recipients, replies, payments [][]any
	counters := map[[2]string]int64{}
	c.message = make([]map[int]int64, len(c.lives))
	for i, l := range c.lives {
		c.message[i] = map[int]int64{}
		ids := make([]int64, len(l.out.messages))
		for n, m := range l.out.messages {
			id, campaign := c.order.messages.id(m.queuedAt), l.campaigns[m.campaign]
			ids[n] = id
			address, sid := l.phone(), "SM"+strings.ReplaceAll(m.public.String(), "-", "")
			var segments *int
			var price, unit *string
			if campaign.channel == "sms" {
				segments, price, unit = new((len(m.body)+152)/153), new("-0.0079"), new("USD")
			} else {
				address, sid = l.email(), "<"+m.public.String()+"@onward.example>"
			}
			subject := strings.NewReplacer("{{.Name}}", l.name, "{{.City}}", l.place.city).Replace(campaign.subject)
			var code *string
			if m.errorCode != "" {
				code = &m.errorCode
			}
			messages = append(messages, []any{
				id, m.public, campaign.id, c.business[i], campaign.channel, address, subject, m.body, m.state, code, 1, sid, segments, price, unit,
				m.queuedAt, m.sentAt, m.sentAt, m.deliveredAt, m.updatedAt,
			})
			recipients = append(recipients, []any{campaign.id, c.business[i]})
			counters[[2]string{fmt.Sprint(campaign.id), m.state}]++
			for _, f := range m.facts {
				c.message[i][f] = id
			}
		}
		for _, r := range l.out.replies {
			var handledAt, by any
			if !r.handledAt.IsZero() && r.action == "reply" {
				handledAt, by = r.handledAt, handledBy
			}
			replies = append(replies, []any{
				c.order.replies.id(r.at), handledAt, by, r.public, uuidAt(l.out.r, r.at), c.business[i], ids[r.message], "sms", l.phone(), "+15005550006", r.body, r.action, r.at,
			})
		}
		for n, p := range l.out.payments {
			payments = append(payments, []any{c.business[i], c.site[i], p.cents, p.currency, fmt.Sprintf("seed:%d:charge:%d", l.number, n), p.at, p.at})
		}
	}
	for _, t := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"messages", []string{
			"id", "public_id", "campaign_id", "business_id", "channel", "address", "subject", "body", "state", "error_code", "attempt",
			"provider_sid", "segments", "price", "price_unit", "queued_at", "dispatched_at", "sent_at", "delivered_at", "updated_at",
		}, messages},
		{"campaign_recipients", []string{"campaign_id", "business_id"}, recipients},
		{"inbound_messages", []string{
			"id", "handled_at", "handled_by", "public_id", "receipt_id", "business_id", "message_id", "channel", "from_address", "to_address", "body", "action", "received_at",
		}, replies},
		{"payments", []string{"business_id", "site_id", "amount_in_cents", "currency", "charge_key", "paid_at", "recorded_at"}, payments},
	} {
		if err := c.copy(ctx, t.table, t.columns, t.rows); err != nil {
			return err
		}
	}
	return c.count(ctx, counters)
}

// count keeps the campaigns' counters true.
func (c *copier) count(ctx context.Context, counters map[[2]string]int64) error {
	batch := &pgx.Batch{}
	for key, n := range counters {
		batch.Queue(`
			INSERT INTO campaign_counters (campaign_id, shard, state, n)
			VALUES ($1::bigint, 0, $2, $3)
			ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = campaign_counters.n + EXCLUDED.n`, key[0], key[1], n)
		batch.Queue(`UPDATE campaigns SET recipients = recipients + $2 WHERE id = $1::bigint`, key[0], n)
	}
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("count made-up messages: %w", err)
	}
	return nil
}
