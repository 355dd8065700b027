package app

import (
	"fmt"
	"reflect"
	"sync"

	"onward/jobs"
	"onward/web/console"
	"onward/web/webhook"
)

// shown lists the settings as the console shows them: of what is secret, or may hold a password, only that it is set.
func (c Config) shown() []console.Setting {
	v := reflect.ValueOf(c)
	var list []console.Setting
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		s := console.Setting{Name: tag.Get("env"), Description: tag.Get("desc")}
		if !v.Field(i).IsZero() || v.Field(i).Kind() != reflect.String {
			s.Value = fmt.Sprint(v.Field(i).Interface()) // a Secret says of itself that it is set
		}
		switch s.Name {
		case "DATABASE_URL", "ONWARD_LISTEN_DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT":
			if s.Value != "" {
				s.Value = Secret(s.Value).String()
			}
		}
		list = append(list, s)
	}
	return list
}

// verified remembers which secret verified the last webhook of each provider.
type verified struct {
	mu sync.Mutex
	by map[string]int
}

func (l *verified) observe(a webhook.Answered) {
	if a.Secret < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]int{}
	}
	l.by[a.Provider] = a.Secret // of a closed set
}

// providers are those that post webhooks, for the console.
func (a *App) providers() []console.Provider {
	list := []console.Provider{
		{Name: jobs.ProviderTwilio, Setting: "TWILIO_AUTH_TOKEN", Secrets: len(a.cfg.TwilioAuthToken.List())},
		{Name: jobs.ProviderRecurrente, Setting: "RECURRENTE_WEBHOOK_SECRET", Secrets: len(a.cfg.RecurrenteWebhookSecret.List())},
		{Name: jobs.ProviderResend, Setting: "RESEND_WEBHOOK_SECRET", Secrets: len(a.cfg.ResendWebhookSecret.List())},
	}
	a.verified.mu.Lock()
	defer a.verified.mu.Unlock()
	for i := range list {
		p := &list[i]
		p.Configured, p.Last = p.Secrets > 0, -1
		if last, ok := a.verified.by[p.Name]; ok {
			p.Last = last
		}
	}
	return list
}
