package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
}

// madeMessage is a made-up message of one of them.
type madeMessage struct {
	public                 uuid.UUID
	campaign               int // index
	body, state, errorCode string
	queuedAt, sentAt       time.Time
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
	campaigns []madeCampaign
	used      []bool
	messages  []madeMessage
	replies   []madeReply
	payments  []madePayment
}

func campaignTexts() []madeCampaign {
	return []madeCampaign{
		{name: "Bakeries and cafés, first text", channel: "sms", body: "Hi {{.Name}}, we made a website for you: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Your website is ready", channel: "email", subject: "{{.Name}} has a website", body: "Good morning,\n\nhere it is: {{.SiteURL}}\n\nShall we put it online?\n\n{{.UnsubscribeURL}}"},
		{name: "Second text, no answer yet", channel: "sms", body: "{{.Name}}, have you seen it? {{.SiteURL}} It takes a minute. Reply STOP to opt out."},
		{name: "What your neighbours do", channel: "email", subject: "Shops in {{.City}}", body: "Three shops in {{.City}} are found by phone now: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
		{name: "Garages and gyms", channel: "sms", body: "{{.Name}}: opening hours, map and phone on one page: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Last call of the month", channel: "email", subject: "Until Friday", body: "The first month is free until Friday: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
		{name: "Spring offer", channel: "sms", body: "{{.Name}}, the first month is free: {{.SiteURL}} Reply STOP to opt out."},
		{name: "Winter openings", channel: "email", subject: "Your hours in winter", body: "New hours? We put them on your page: {{.SiteURL}}\n\n{{.UnsubscribeURL}}"},
	}
}

func replyTexts() []string {
	return []string{
		"How much is it?", "Who are you?", "Looks nice! Can you change the photo?", "Call me tomorrow after 10", "¿Qué precio tiene?",
		"Is my phone number on it?", "We already have one, thanks", "Yes please", "Can I pay by card?", "Sounds good, what do you need from me?",
	}
}

// makeCampaigns stores the campaigns that made-up messages belong to, spread over the history.
func makeCampaigns(ctx context.Context, pool *pgxpool.Pool, o GenerateOptions) ([]madeCampaign, error) {
	list := campaignTexts()
	r := rand.New(rand.NewPCG(o.Seed, 0xca0))
	for i := range list {
		c := &list[i]
		c.launchedAt = o.Until.Add(-historyDays * 24 * time.Hour).Add(time.Duration(i) * historyDays * 24 * time.Hour / time.Duration(len(list)+1)).Truncate(time.Second)
		err := pool.QueryRow(ctx, `
			INSERT INTO campaigns (public_id, name, channel, subject, body, audience, status, send_at, per_second,
				launched_at, frozen_at, fanned_out_at, finished_at, created_at, updated_at, fanout_last)
			VALUES ($1, $2, $3, $4, $5, '{"filter": {"website_status": ["deployed"]}}', 'sent', $6, 5, $6, $6, $6, $7, $8, $7, 0)
			RETURNING id`,
			uuidAt(r, c.launchedAt), c.name, c.channel, c.subject, c.body, c.launchedAt, c.launchedAt.Add(40*time.Minute), c.launchedAt.Add(-time.Hour),
		).Scan(&c.id)
		if err != nil {
			return nil, fmt.Errorf("store a made-up campaign: %w", err)
		}
	}
	return list, nil
}

// furnish adds to a made-up fact what it would have come with: the message that was sent, the reply, the charge.
func (l *life) furnish(index int) {
	f := l.facts[index]
	switch f.Event {
	case lifecycle.SMSSentEvent:
		l.send("sms", index)
	case lifecycle.EmailSent:
		l.send("email", index)
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

// send makes the message of the newest campaign that was launched by then and has none to this business yet. After an
// opt-out there is none: nothing is sent then.
func (l *life) send(channel string, index int) {
	f := l.facts[index]
	if !l.optedOutAt.IsZero() {
		return
	}
	for i, c := range slices.Backward(l.out.campaigns) {
		if c.channel != channel || l.out.used[i] || c.launchedAt.After(f.recordedAt) {
			continue
		}
		l.out.used[i] = true
		body := strings.NewReplacer("{{.Name}}", l.name, "{{.City}}", l.place.city, "{{.SiteURL}}", fmt.Sprintf("https://business-%d.example", l.number),
			"{{.UnsubscribeURL}}", "https://hooks.example/u/…").Replace(c.body)
		l.out.messages = append(l.out.messages, madeMessage{
			public: uuidAt(l.out.r, f.recordedAt.Add(-3*time.Second)), campaign: i, body: body, state: "sent",
			queuedAt: f.recordedAt.Add(-3 * time.Second), sentAt: f.recordedAt, facts: []int{index},
		})
		return
	}
}

// report lets a fact be about the last message of a channel ("": of any), and takes it to a state.
func (l *life) report(channel string, index int, state, errorCode string) {
	for i := len(l.out.messages) - 1; i >= 0; i-- {
		m := &l.out.messages[i]
		if channel != "" && l.out.campaigns[m.campaign].channel != channel {
			continue
		}
		m.facts = append(m.facts, index)
		if state != "" && m.state == "sent" {
			m.state, m.errorCode = state, errorCode
			if state == "delivered" {
				at := l.facts[index].recordedAt
				m.deliveredAt = &at
			}
		}
		return
	}
}

func (l *life) reply(at time.Time, body, action string) {
	r := madeReply{public: uuidAt(l.out.r, at), message: -1, body: body, action: action, at: at}
	for i := len(l.out.messages) - 1; i >= 0; i-- {
		if l.out.campaigns[l.out.messages[i].campaign].channel == "sms" {
			r.message = i
			break
		}
	}
	if r.message >= 0 { // who got no text answers none
		l.out.replies = append(l.out.replies, r)
	}
}

// outreach stores messages, replies and payments. It runs before the facts, which name the messages.
func (c *copier) outreach(ctx context.Context) error {
	total := 0
	for _, l := range c.lives {
		if l.out == nil {
			return nil
		}
		total += len(l.out.messages)
	}
	var ids []int64
	err := c.tx.QueryRow(ctx, `
		SELECT COALESCE(array_agg(nextval(pg_get_serial_sequence('messages', 'id'))), '{}')
		FROM generate_series(1, $1::int)`, total).Scan(&ids)
	if err != nil {
		return fmt.Errorf("reserve ids of messages: %w", err)
	}
	var messages, recipients, replies, payments [][]any
	counters := map[[2]string]int64{}
	c.message = make([]map[int]int64, len(c.lives))
	for i, l := range c.lives {
		c.message[i] = map[int]int64{}
		first := len(messages)
		for _, m := range l.out.messages {
			id, campaign := ids[len(messages)], l.out.campaigns[m.campaign]
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
				m.queuedAt, m.sentAt, m.sentAt, m.deliveredAt, m.sentAt,
			})
			recipients = append(recipients, []any{campaign.id, c.business[i]})
			counters[[2]string{fmt.Sprint(campaign.id), m.state}]++
			for _, f := range m.facts {
				c.message[i][f] = id
			}
		}
		for _, r := range l.out.replies {
			replies = append(replies, []any{
				r.public, uuidAt(l.out.r, r.at), c.business[i], ids[first+r.message], "sms", l.phone(), "+15005550006", r.body, r.action, r.at,
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
			"public_id", "receipt_id", "business_id", "message_id", "channel", "from_address", "to_address", "body", "action", "received_at",
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
