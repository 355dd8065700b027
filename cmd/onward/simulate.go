package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
)

func runSimulate(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("simulate", "[flags]",
		"Plays the providers, over HTTP and SMTP alone: Twilio's Messages API with signed callbacks and replies, Recurrente's\n"+
			"deliveries, an SMTP sink. Accounts and secrets come from the same settings as Onward's own. Replies and payments are\n"+
			"asked for at /_sim/reply, /_sim/recurrente and /_sim/resend; /_sim/messages and /_sim/calls list what happened.",
		"onward simulate --twilio-addr 127.0.0.1:9090 --smtp-addr 127.0.0.1:2525",
		"onward simulate --lose-callbacks 0.05 --duplicate-callbacks 0.2 --seed 7",
		`curl -d '{"from":"+15551230001","to":"+15550001111","body":"STOP"}' http://127.0.0.1:9090/_sim/reply`)
	o := providersim.Options{}
	fs.StringVar(&o.TwilioAddr, "twilio-addr", "127.0.0.1:9090", "where Twilio's API and the controls are served")
	fs.StringVar(&o.SMTPAddr, "smtp-addr", "127.0.0.1:2525", "where mail is taken")
	fs.Uint64Var(&o.Seed, "seed", 1, "the same seed makes the same run")
	fs.DurationVar(&o.LatencyMin, "latency-min", 20*time.Millisecond, "least time of an API call")
	fs.DurationVar(&o.LatencyMax, "latency-max", 80*time.Millisecond, "most time of an API call")
	fs.DurationVar(&o.CallbackDelay, "callback-delay", 200*time.Millisecond, "mean time between two statuses of a message")
	fs.Float64Var(&o.MessagesPerSecond, "messages-per-second", 0, "what one sender may send before 429; 0: no limit")
	fs.Float64Var(&o.SvixScale, "svix-scale", 1, "factor on the delays of Recurrente's retries (5 s to 10 h)")
	for name, f := range map[string]struct {
		to   *float64
		what string
	}{
		"drop":                {&o.Faults.Drop, "connections closed without an answer"},
		"server-error":        {&o.Faults.ServerError, "answers 500 in HTML"},
		"garbage":             {&o.Faults.Garbage, "answers 201 that can't be parsed"},
		"rate-limit":          {&o.Faults.RateLimit, "answers 429"},
		"undelivered":         {&o.Faults.Undelivered, "messages that are not delivered"},
		"duplicate-callbacks": {&o.Faults.DuplicateCallback, "callbacks posted twice"},
		"reorder-callbacks":   {&o.Faults.ReorderCallback, "messages whose callbacks come backwards"},
		"lose-callbacks":      {&o.Faults.LoseCallback, "callbacks never posted"},
		"smtp-drop":           {&o.Faults.SMTPDrop, "mails cut off at the closing dot"},
	} {
		fs.Float64Var(f.to, name, 0, "share, 0 to 1, of "+f.what)
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("takes no arguments")
	}
	cfg, err := app.FromEnv(nil)
	if err != nil {
		return err
	}
	o.PublicURL, o.AccountSID, o.ServiceFrom = cfg.PublicURL, cfg.TwilioAccountSID, cfg.TwilioFrom
	o.AuthToken = firstOf(cfg.TwilioAuthToken)
	o.RecurrenteSecret, o.ResendSecret = firstOf(cfg.RecurrenteWebhookSecret), firstOf(cfg.ResendWebhookSecret)
	o.Logger = app.NewLogger(cfg, t.stderr)
	switch {
	case cfg.PublicURL == "":
		return &app.ConfigError{Problems: []string{"ONWARD_PUBLIC_URL: missing; set it to where Onward serves webhooks, e.g. http://127.0.0.1:8080"}}
	case cfg.TwilioAccountSID == "" || o.AuthToken == "":
		return &app.ConfigError{Problems: []string{"TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: missing; set them to what Onward uses (anything will do, AC… for the first)"}}
	}
	sim, err := providersim.New(o)
	if err != nil {
		return usagef("%s", err.Error())
	}
	if err := sim.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "TWILIO_API_BASE_URL=%s\nSMTP_URL=%s\ncontrols  %s/_sim/\n\nCtrl-C stops.\n", sim.TwilioURL(), sim.SMTPURL(), sim.TwilioURL())
	<-ctx.Done()
	stop, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 5*time.Second, errors.New("time-out of stopping the simulator"))
	defer cancel()
	return sim.Stop(stop)
}

func firstOf(s app.Secret) string {
	if l := s.List(); len(l) > 0 {
		return l[0]
	}
	return ""
}
