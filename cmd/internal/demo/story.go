package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/jobs/provider/providersim"
)

// lead is one business of the story.
type lead struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Phone string `json:"phone"`
	Email string `json:"email"`
	site  string
}

// patience is how long the story waits for one thing to happen.
const patience = 20 * time.Second

// play tells the story: five leads, one of whom goes the whole way.
func (d *demo) play(ctx context.Context) error {
	run := time.Now().UTC().Format("20060102150405.000")
	phones, err := unusedPhones(ctx, d.pool, 4)
	if err != nil {
		return err
	}
	leads := []*lead{
		{Name: "Panadería La Espiga", Phone: phones[0], Email: "hola+" + run + "@espiga.example"},
		{Name: "Taller Rodríguez", Phone: phones[1], Email: "taller+" + run + "@rodriguez.example"},
		{Name: "Café Quetzal", Phone: phones[2], Email: "cafe+" + run + "@quetzal.example"},
		{Name: "Ferretería El Clavo", Phone: phones[3], Email: "ventas+" + run + "@elclavo.example"},
		{Name: "Florería Jazmín", Phone: providersim.MagicUnreachable, Email: "flores+" + run + "@jazmin.example"},
	}
	for _, step := range []func(context.Context, string, []*lead) error{
		d.meet, d.email, d.text, d.answer, d.buy, d.cancel, d.explain,
	} {
		if err := step(ctx, run, leads); err != nil {
			return err
		}
	}
	return d.sum()
}

// unusedPhones finds numbers of the range that is kept for stories (NANP, 555-0100 to 555-0199 of each area) that no
// business has and no opt-out names: an earlier story in this database ended with a STOP, and that holds.
func unusedPhones(ctx context.Context, pool *pgxpool.Pool, n int) ([]string, error) {
	rows, err := pool.Query(ctx, `
		WITH candidate AS (
			SELECT '+1' || area || '55501' || lpad(line::text, 2, '0') AS phone, line, ord
			FROM unnest($1::text[]) WITH ORDINALITY AS a (area, ord), generate_series(1, 99) AS line)
		SELECT phone FROM candidate c
		WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.phone = c.phone)
		  AND NOT EXISTS (SELECT FROM suppressions s WHERE s.channel = 'sms' AND s.address = c.phone)
		ORDER BY ord, line LIMIT $2`, areas, n)
	if err != nil {
		return nil, fmt.Errorf("look for unused numbers: %w", err)
	}
	phones, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for unused numbers: %w", err)
	}
	if len(phones) < n {
		return nil, errors.New("this database has seen so many stories that no number is left: start with an empty one (--data FOLDER)")
	}
	return phones, nil
}

// areas are those of the story: enough for over a thousand runs in one database.
var areas = []string{
	"202", "212", "213", "214", "215", "216", "217", "224", "225", "239", "240", "251", "252", "253", "254", "256", "260", "262", "267",
	"269", "270", "281", "301", "302", "303", "304", "305", "307", "308", "309", "310", "312", "313", "314", "315", "316", "317", "318",
	"319", "320", "321", "323", "325", "330", "334", "336", "337", "347", "352", "360",
}

func (d *demo) meet(ctx context.Context, run string, leads []*lead) error {
	d.say("\n1 · Five local companies, and a website made for each (POST /crm/businesses, /crm/sites, …/events)")
	for i, l := range leads {
		err := d.api.post(ctx, "/crm/businesses", map[string]any{
			"name": l.Name, "phone": l.Phone, "email": l.Email, "city": "Springfield", "country": "US", "external_id": fmt.Sprintf("demo-%s-%d", run, i),
		}, l)
		if err != nil {
			return err
		}
		if err := d.learnName(ctx, l); err != nil {
			return err
		}
		var site struct {
			ID string `json:"id"`
		}
		err = d.api.post(ctx, "/crm/sites", map[string]any{"business_id": l.ID, "url": fmt.Sprintf("https://site-%d.example", i+1)}, &site)
		if err != nil {
			return err
		}
		l.site = site.ID
		for _, e := range []string{"generation_started", "generation_completed", "site_deployed"} {
			if err := d.api.post(ctx, "/crm/businesses/"+l.ID+"/events", map[string]any{"event": e, "site_id": l.site}, nil); err != nil {
				return err
			}
		}
	}
	d.say("    all five deployed")
	return nil
}

// learnName finds the inner id that changes are reported by, so that the story can name the lead.
func (d *demo) learnName(ctx context.Context, l *lead) error {
	var id int64
	if err := d.pool.QueryRow(ctx, `SELECT id FROM businesses WHERE public_id = $1`, l.ID).Scan(&id); err != nil {
		return fmt.Errorf("read the id of %s: %w", l.Name, err)
	}
	d.mu.Lock()
	d.names[id] = l.Name
	d.mu.Unlock()
	return nil
}

func (d *demo) email(ctx context.Context, _ string, leads []*lead) error {
	d.say("\n2 · An email campaign to all (POST /campaigns, …/send); the sink takes the mail, delivery events come back signed")
	if err := d.campaign(ctx, leads, map[string]any{
		"name": "Your new website", "channel": "email", "subject": "{{.Name}}, your website is ready",
		"body": "Hello {{.Name}},\n\nwe made you a website: {{.SiteURL}}\n\nUnsubscribe: {{.UnsubscribeURL}}",
	}); err != nil {
		return err
	}
	return d.await(ctx, leads, "contact_status", "emailed")
}

func (d *demo) text(ctx context.Context, _ string, leads []*lead) error {
	d.say("\n3 · A text campaign to all; one number can't be reached")
	if err := d.campaign(ctx, leads, map[string]any{
		"name": "Have a look", "channel": "sms", "body": "Hi {{.Name}}, your website: {{.SiteURL}}. Reply STOP to opt out.",
	}); err != nil {
		return err
	}
	if err := d.await(ctx, leads[4:], "contact_status", "bounced"); err != nil {
		return err
	}
	if err := d.await(ctx, leads[:4], "contact_status", "sms_sent"); err != nil {
		return err
	}
	return d.awaitMessages(ctx, leads[:4])
}

// awaitMessages waits until the texts are reported as delivered.
func (d *demo) awaitMessages(ctx context.Context, leads []*lead) error {
	for _, l := range leads {
		err := poll(ctx, func() (bool, error) {
			var page struct {
				Items []struct {
					Channel string `json:"channel"`
					State   string `json:"state"`
				} `json:"items"`
			}
			if err := d.api.get(ctx, "/messages?business_id="+l.ID, &page); err != nil {
				return false, err
			}
			for _, m := range page.Items {
				if m.Channel == "sms" && m.State == "delivered" {
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil {
			return fmt.Errorf("wait for the text to %s to be delivered: %w", l.Name, err)
		}
	}
	return nil
}

func (d *demo) answer(ctx context.Context, _ string, leads []*lead) error {
	d.say("\n4 · Three answer (signed by Twilio's rules): one is interested, one asks, one says STOP")
	for i, text := range []string{"Looks great! How much is it?", "Who are you?", "STOP"} {
		if _, err := d.sim.Reply(ctx, leads[i].Phone, from, text, nil); err != nil {
			return err
		}
	}
	if err := d.await(ctx, leads[:2], "contact_status", "replied"); err != nil {
		return err
	}
	if err := d.await(ctx, leads[2:3], "contact_status", "unsubscribed"); err != nil {
		return err
	}
	before := len(d.sim.Calls())
	if err := d.campaign(ctx, leads[2:3], map[string]any{"name": "Once more", "channel": "sms", "body": "Are you sure, {{.Name}}?"}); err != nil {
		return err
	}
	d.say("    a further campaign to Café Quetzal made %d calls to Twilio: STOP holds", len(d.sim.Calls())-before)
	return nil
}

// subscription is what the buyer's plan is called at the payment provider.
func subscription(run string) string { return "su_demo" + run }

func (d *demo) buy(ctx context.Context, run string, leads []*lead) error {
	d.say("\n5 · The first buys: Recurrente reports the charge twice (unified and legacy), and the subscription, in no certain order")
	if _, err := d.sim.SubscriptionEvent("create", providersim.Subscription{ID: subscription(run)}); err != nil {
		return err
	}
	if _, _, err := d.sim.Charge(providersim.Charge{SubscriptionID: subscription(run), SiteID: leads[0].site, AmountInCents: 49900, Currency: "GTQ"}); err != nil {
		return err
	}
	for axis, status := range map[string]string{"contact_status": "purchased", "website_status": "sold", "subscription_status": "active"} {
		if err := d.await(ctx, leads[:1], axis, status); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) cancel(ctx context.Context, run string, leads []*lead) error {
	d.say("\n6 · Months later the card fails, and the subscription ends")
	for _, e := range []struct{ kind, axis, status string }{
		{"past_due", "subscription_status", "past_due"},
		{"cancel", "subscription_status", "cancelled"},
		{"cancel", "website_status", "archived"},
	} {
		if e.axis == "subscription_status" {
			if _, err := d.sim.SubscriptionEvent(e.kind, providersim.Subscription{ID: subscription(run)}); err != nil {
				return err
			}
		}
		if err := d.await(ctx, leads[:1], e.axis, e.status); err != nil {
			return err
		}
	}
	return nil
}

// explain shows how the first lead came to where it is.
func (d *demo) explain(ctx context.Context, _ string, leads []*lead) error {
	d.say("\n7 · Why is the first lead where it is? (GET /crm/businesses/{id}/timeline, newest first)")
	var page struct {
		Items []struct {
			At      time.Time `json:"at"`
			Kind    string    `json:"kind"`
			Event   string    `json:"event"`
			Axis    string    `json:"axis"`
			From    string    `json:"from"`
			To      string    `json:"to"`
			Verdict string    `json:"verdict"`
			Source  struct {
				Type string `json:"type"`
				ID   string `json:"id"`
			} `json:"source"`
		} `json:"items"`
	}
	if err := d.api.get(ctx, "/crm/businesses/"+leads[0].ID+"/timeline?limit=200", &page); err != nil {
		return err
	}
	for _, i := range page.Items {
		if i.Kind == "transition" && i.From != i.To {
			d.say("    %s  %-18s %-12s → %-12s  %s (%s %s)", i.At.Local().Format("15:04:05.000"), i.Axis, i.From, i.To, i.Event, i.Source.Type, i.Source.ID)
		}
	}
	return nil
}

// sum ends the story with what it measured.
func (d *demo) sum() error {
	d.mu.Lock()
	lat := slices.Clone(d.latency)
	d.mu.Unlock()
	if len(lat) == 0 {
		return errors.New("no change was ever committed")
	}
	slices.Sort(lat)
	ms := func(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }
	d.say("\n%d changes by webhook; from receipt to commit: median %.1f ms, slowest %.1f ms.", len(lat), ms(lat[len(lat)/2]), ms(lat[len(lat)-1]))
	return nil
}

// campaign makes a campaign to these leads, sends it, and waits until its last message has left.
func (d *demo) campaign(ctx context.Context, leads []*lead, body map[string]any) error {
	ids := make([]string, len(leads))
	for i, l := range leads {
		ids[i] = l.ID
	}
	body["audience"] = map[string]any{"business_ids": ids}
	var c struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if err := d.api.post(ctx, "/campaigns", body, &c); err != nil {
		return err
	}
	if err := d.api.post(ctx, "/campaigns/"+c.ID+"/send", nil, nil); err != nil {
		return err
	}
	err := poll(ctx, func() (bool, error) {
		err := d.api.get(ctx, "/campaigns/"+c.ID, &c)
		return c.Status == "sent", err
	})
	if err != nil {
		return fmt.Errorf("wait for the campaign %q to be sent: %w", body["name"], err)
	}
	return nil
}

// await waits until every lead has a status on an axis.
func (d *demo) await(ctx context.Context, leads []*lead, axis, status string) error {
	for _, l := range leads {
		var last string
		err := poll(ctx, func() (bool, error) {
			var b map[string]any
			if err := d.api.get(ctx, "/crm/businesses/"+l.ID, &b); err != nil {
				return false, err
			}
			last, _ = b[axis].(string)
			return last == status, nil
		})
		if err != nil {
			return fmt.Errorf("wait for %s of %s to be %s (is %s): %w", axis, l.Name, status, last, err)
		}
	}
	return nil
}

// poll asks until done, with short pauses; it is a user with a browser, not a part of the product.
func poll(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
