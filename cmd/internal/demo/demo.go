// Package demo plays a lead's whole life on real input: it starts the application and the provider simulator,
// drives both over HTTP as users and providers do, and tells the story in the terminal. It may import
// cmd/internal/app, jobs/provider/providersim and, for a made-up past, lifecycle/pgstore.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Options configure a run.
type Options struct {
	App  app.Options // settings of the provider are replaced by the simulator's
	Out  io.Writer
	Quit bool   // stop at the story's end
	Seed uint64 // of the simulator
}

// from is the number that the demo's texts leave from: the sender of Twilio's test credentials.
const from = "+15005550006"

// Run plays the story, then serves until ctx ends (or returns at once with Quit).
func Run(ctx context.Context, o Options) (err error) {
	secrets, err := makeSecrets()
	if err != nil {
		return err
	}
	sim, err := providersim.New(providersim.Options{
		Seed: o.Seed, AccountSID: secrets.account, AuthToken: secrets.token, ServiceFrom: from, RecurrenteSecret: secrets.recurrente,
		ResendSecret: secrets.resend, LatencyMin: 2 * time.Millisecond, LatencyMax: 8 * time.Millisecond,
		CallbackDelay: 30 * time.Millisecond, PublicURL: o.App.Config.PublicURL, SvixScale: 0.01,
	})
	if err != nil {
		return err
	}
	if err := sim.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopSim(ctx, sim)) }()

	d := &demo{out: o.Out, sim: sim, names: map[int64]string{}}
	cfg := &o.App.Config
	cfg.TwilioAccountSID, cfg.TwilioAuthToken, cfg.TwilioFrom = secrets.account, app.Secret(secrets.token), from
	cfg.TwilioMessagingServiceSID, cfg.TwilioAPIBaseURL = "", sim.TwilioURL()
	cfg.RecurrenteWebhookSecret, cfg.ResendWebhookSecret = app.Secret(secrets.recurrente), app.Secret(secrets.resend)
	cfg.SMTPURL, cfg.EmailFrom = app.Secret(sim.SMTPURL()), "Onward Demo <hello@onward.example>"
	cfg.EmailPostalAddress = "Onward Demo, 1 Main Street, Springfield"
	cfg.QuietHours = "off" // the story is told at any hour
	o.App.Moved, o.App.Demo = d.moved, true
	if cfg.LogLevel == "info" {
		o.App.Logger = app.NewLogger(app.Config{LogFormat: cfg.LogFormat, LogLevel: "warn"}, o.App.Stderr)
	}
	a, err := app.New(ctx, o.App)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(ctx)) }()
	_, secret, err := apitoken.Create(ctx, a.Pool(), "demo "+time.Now().UTC().Format(time.RFC3339), apitoken.Admin)
	if err != nil {
		return err
	}
	d.pool = a.Pool()
	d.api = &client{base: "http://" + a.PrivateAddr() + "/api/v1", token: secret}
	// Before the story, so that what it tells is the newest.
	if !o.Quit {
		if err := furnish(ctx, a.Pool(), o.Seed); err != nil {
			return fmt.Errorf("fill the pages: %w", err)
		}
	}
	if err := d.play(ctx); err != nil {
		return fmt.Errorf("the demo's story broke off: %w", err)
	}
	d.addresses(a, secret)
	if o.Quit {
		return nil
	}
	<-ctx.Done()
	fmt.Fprintln(o.Out, "\nstopping: what runs may end")
	return nil
}

// What the pages of the console show beside the story: enough for charts and lists, made within a second.
const (
	furnishBusinesses = 1200
	furnishFacts      = 10_000
)

// furnish fills the database with a made-up past, so that the pages of the console have something to show. A database that
// has one is left as it is.
func furnish(ctx context.Context, pool *pgxpool.Pool, seed uint64) error {
	var full bool
	err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM businesses ORDER BY id OFFSET $1 LIMIT 1)`, furnishBusinesses).Scan(&full)
	if err != nil || full {
		return err
	}
	_, err = pgstore.Generate(ctx, pool, pgstore.GenerateOptions{
		Businesses: furnishBusinesses, Facts: furnishFacts, Seed: seed, Outreach: true, Append: true, Until: time.Now().UTC().Truncate(time.Minute),
	})
	return err
}

func stopSim(ctx context.Context, sim *providersim.Sim) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 5*time.Second, errors.New("time-out of stopping the simulator"))
	defer cancel()
	return sim.Stop(ctx)
}

type secrets struct{ account, token, recurrente, resend string }

// makeSecrets makes those of a run: nothing that is worth stealing is in the source.
func makeSecrets() (secrets, error) {
	b := make([]byte, 16+16+24+24)
	if _, err := rand.Read(b); err != nil {
		return secrets{}, fmt.Errorf("read random bytes: %w", err)
	}
	return secrets{
		account: "AC" + hex.EncodeToString(b[:16]), token: hex.EncodeToString(b[16:32]),
		recurrente: "whsec_" + base64.StdEncoding.EncodeToString(b[32:56]), resend: "whsec_" + base64.StdEncoding.EncodeToString(b[56:]),
	}, nil
}

// demo is the teller.
type demo struct {
	out io.Writer
	sim *providersim.Sim
	api *client
	// pool serves only to learn which inner id is whose: changes are observed inside the process.
	pool *pgxpool.Pool

	mu      sync.Mutex
	names   map[int64]string // by inner id: what a change is told of
	latency []time.Duration  // webhook to commit
}

// moved prints one change of a status, as it is committed.
func (d *demo) moved(m worker.Moved) {
	if m.From == m.To {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := d.names[m.BusinessID]
	if name == "" {
		name = fmt.Sprintf("business %d", m.BusinessID)
	}
	took := "our own send"
	if !m.ReceivedAt.IsZero() {
		lat := m.CommittedAt.Sub(m.ReceivedAt)
		d.latency = append(d.latency, lat)
		took = fmt.Sprintf("%.1f ms after the webhook", float64(lat.Microseconds())/1000)
	}
	fmt.Fprintf(d.out, "    %-22s %-18s %-12s → %-12s  %s, %s\n", name, m.Axis, m.From, m.To, m.Event, took)
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

func (d *demo) addresses(a *app.App, secret string) {
	d.say("\nServing on:\n    console   http://%s/ (log in with the token below)\n    API       http://%s/api/v1 (its description: http://%s/docs)\n    metrics   http://%s/metrics\n    webhooks  %s\n    simulator %s/_sim/messages",
		a.PrivateAddr(), a.PrivateAddr(), a.PrivateAddr(), a.PrivateAddr(), a.PublicURL(), d.sim.TwilioURL())
	d.say("\nToken:\n    %s\n\nTry:\n    curl -sH 'Authorization: Bearer %s' http://%s/api/v1/crm/businesses\n\nCtrl-C stops.", secret, secret, a.PrivateAddr())
}
