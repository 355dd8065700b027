package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"onward/jobs/recipienttime"
)

// Config is every setting, from the environment. The tag desc is what `onward web -h` prints.
type Config struct {
	DatabaseURL       string `env:"DATABASE_URL" desc:"PostgreSQL DSN; may name several hosts"`
	ListenDatabaseURL string `env:"ONWARD_LISTEN_DATABASE_URL" desc:"direct DSN for LISTEN when DATABASE_URL is a pooler"`
	PublicAddr        string `env:"ONWARD_PUBLIC_ADDR" default:":8080" desc:"where webhooks, tracking and unsubscribe are served"`
	PrivateAddr       string `env:"ONWARD_PRIVATE_ADDR" desc:"where API, console and metrics are served" default:"127.0.0.1:8081 (worker: 127.0.0.1:8082)"`
	PublicURL         string `env:"ONWARD_PUBLIC_URL" desc:"the address that providers use, e.g. https://hooks.example.com"`
	SecretKey         Secret `env:"ONWARD_SECRET_KEY" desc:"32+ bytes; signs links and sessions; two separated by a comma rotate it"`

	TwilioAccountSID          string `env:"TWILIO_ACCOUNT_SID" desc:"AC…"`
	TwilioAuthToken           Secret `env:"TWILIO_AUTH_TOKEN" desc:"comma: rotation"`
	TwilioFrom                string `env:"TWILIO_FROM" desc:"number that texts are sent from"`
	TwilioMessagingServiceSID string `env:"TWILIO_MESSAGING_SERVICE_SID" desc:"MG…, instead of a number"`
	TwilioAPIBaseURL          string `env:"TWILIO_API_BASE_URL" envDefault:"https://api.twilio.com" desc:"Twilio's API"`

	RecurrenteWebhookSecret Secret `env:"RECURRENTE_WEBHOOK_SECRET" desc:"whsec_…; comma: rotation"`
	RecurrenteLive          bool   `env:"RECURRENTE_LIVE" envDefault:"true" desc:"false: sandbox deliveries are applied, too"`
	ResendWebhookSecret     Secret `env:"RESEND_WEBHOOK_SECRET" desc:"email delivery events, whsec_…; comma: rotation"`

	SMTPURL            Secret `env:"SMTP_URL" desc:"smtp://user:pass@host:587, smtps://…; ?tls=none for a local sink"`
	EmailFrom          string `env:"EMAIL_FROM" desc:"sender of mail"`
	EmailPostalAddress string `env:"EMAIL_POSTAL_ADDRESS" desc:"postal address in the footer, as CAN-SPAM asks"`

	UnknownSends  string `env:"ONWARD_UNKNOWN_SENDS" envDefault:"hold" desc:"hold or resend: what becomes of a send without evidence"`
	QuietHours    string `env:"ONWARD_QUIET_HOURS" envDefault:"08:00-21:00" desc:"when texts may be sent, recipient's time; off"`
	RetentionDays int    `env:"ONWARD_RETENTION_DAYS" envDefault:"90" desc:"days that raw receipts are kept; facts and transitions stay"`

	APIRate float64 `env:"ONWARD_API_RATE" envDefault:"50" desc:"API requests a second for a token, in each process; four times as many at once; 0: any number"`

	LogFormat string `env:"ONWARD_LOG_FORMAT" envDefault:"text" desc:"text or json"`
	LogLevel  string `env:"ONWARD_LOG_LEVEL" envDefault:"info" desc:"debug, info, warn or error"`

	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" desc:"where traces go, over HTTP, e.g. http://127.0.0.1:4318; tracing is off when unset"`
}

// Secret is a setting that never shows in a log or an error.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(set)"
}

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// List splits a rotation list; empty parts count for nothing.
func (s Secret) List() []string {
	var list []string
	for part := range strings.SplitSeq(string(s), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// Setting describes one setting for help texts.
type Setting struct{ Name, Default, Description string }

// Settings lists them in the order of the fields.
func Settings() []Setting {
	t := reflect.TypeFor[Config]()
	list := make([]Setting, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		def := tag.Get("envDefault")
		if d, ok := tag.Lookup("default"); ok {
			def = d
		}
		list = append(list, Setting{Name: tag.Get("env"), Default: def, Description: tag.Get("desc")})
	}
	return list
}

// Role is what a process does.
type Role string

// The roles.
const (
	RoleWeb    Role = "web"
	RoleWorker Role = "worker"
	RoleUp     Role = "up" // both, in one process
	RoleTool   Role = "tool"
)

func (r Role) serves() bool { return r == RoleWeb || r == RoleUp }
func (r Role) works() bool  { return r == RoleWorker || r == RoleUp }

// FromEnv reads the settings from environ ("KEY=value" each; nil: the process's own).
func FromEnv(environ []string) (Config, error) {
	var c Config
	opts := env.Options{}
	if environ != nil {
		opts.Environment = env.ToMap(environ)
	}
	if err := env.ParseWithOptions(&c, opts); err != nil {
		var all env.AggregateError
		if !errors.As(err, &all) {
			return c, &ConfigError{Problems: []string{err.Error()}}
		}
		problems := make([]string, 0, len(all.Errors))
		for _, e := range all.Errors {
			var parse env.ParseError
			if errors.As(e, &parse) {
				problems = append(problems, fmt.Sprintf("%s: %s", settingName(parse.Name), wanted(parse.Type)))
				continue
			}
			problems = append(problems, e.Error())
		}
		return c, &ConfigError{Problems: problems}
	}
	return c, nil
}

// wanted says what a setting of a type is.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "neither true nor false"
	case reflect.Int:
		return "not a whole number"
	case reflect.Float64:
		return "not a number"
	}
	return "not a " + t.String()
}

// Problems makes one error of several, the lines about settings in the order of their names. It returns nil when all are nil.
func Problems(errs ...error) error {
	var lines []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		problems, ok := errors.AsType[*ConfigError](err)
		if !ok {
			return err
		}
		lines = append(lines, problems.Problems...)
	}
	slices.Sort(lines)
	return configError(slices.Compact(lines))
}

// settingName maps a field to its environment variable.
func settingName(field string) string {
	if f, ok := reflect.TypeFor[Config]().FieldByName(field); ok {
		return f.Tag.Get("env")
	}
	return field
}

// ConfigError says, a line each, which settings are missing or malformed. It never contains a secret.
type ConfigError struct{ Problems []string }

// Error joins the lines.
func (e *ConfigError) Error() string { return strings.Join(e.Problems, "\n") }

// Direct is the settings with the database's own address in place of a pooler's: for what needs a session of its own.
func (c Config) Direct() Config {
	if c.ListenDatabaseURL != "" {
		c.DatabaseURL, c.ListenDatabaseURL = c.ListenDatabaseURL, ""
	}
	return c
}

// Validate checks what a role needs.
func (c Config) Validate(role Role) error {
	var p []string
	need := func(ok bool, name, why string) {
		if !ok {
			p = append(p, name+": "+why)
		}
	}
	need(c.DatabaseURL != "", "DATABASE_URL", "missing; set it to a PostgreSQL DSN, e.g. postgres://user@host/onward")
	need(c.LogFormat == "text" || c.LogFormat == "json", "ONWARD_LOG_FORMAT", "neither text nor json")
	need(slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel), "ONWARD_LOG_LEVEL", "not one of debug, info, warn, error")
	if role == RoleTool {
		return configError(p)
	}
	p = append(p, c.malformed()...)
	u, err := url.Parse(c.PublicURL)
	need(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "",
		"ONWARD_PUBLIC_URL", "missing or not an http(s) address; set it to the address that providers use, e.g. https://hooks.example.com")
	keys := c.SecretKey.List()
	need(len(keys) > 0, "ONWARD_SECRET_KEY", "missing; set it to 32 or more random bytes, e.g. of `openssl rand -hex 32`")
	for _, k := range keys {
		need(len(k) >= 32, "ONWARD_SECRET_KEY", "a key is shorter than 32 bytes")
	}
	if c.OTLPEndpoint != "" {
		u, err := url.Parse(c.OTLPEndpoint)
		need(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "OTEL_EXPORTER_OTLP_ENDPOINT",
			"not an http(s) address; set it to an OTLP receiver over HTTP, e.g. http://127.0.0.1:4318, or unset it")
	}
	need(c.UnknownSends == "hold" || c.UnknownSends == "resend", "ONWARD_UNKNOWN_SENDS", "neither hold nor resend")
	if _, err := recipienttime.ParseWindow(c.QuietHours); err != nil {
		p = append(p, "ONWARD_QUIET_HOURS: "+err.Error())
	}
	need(c.RetentionDays >= 0, "ONWARD_RETENTION_DAYS", "negative")
	need(c.APIRate >= 0, "ONWARD_API_RATE", "negative")
	for name, list := range map[string][]string{"RECURRENTE_WEBHOOK_SECRET": c.RecurrenteWebhookSecret.List(), "RESEND_WEBHOOK_SECRET": c.ResendWebhookSecret.List()} {
		for _, s := range list {
			need(strings.HasPrefix(s, "whsec_"), name, "does not start with whsec_")
		}
	}
	if c.TwilioAccountSID != "" || c.TwilioFrom != "" || c.TwilioMessagingServiceSID != "" {
		need(c.TwilioAccountSID != "", "TWILIO_ACCOUNT_SID", "missing, though another setting of Twilio is set")
		need(len(c.TwilioAuthToken.List()) > 0, "TWILIO_AUTH_TOKEN", "missing, though another setting of Twilio is set")
		need(c.TwilioFrom != "" || c.TwilioMessagingServiceSID != "", "TWILIO_FROM", "missing; set it or TWILIO_MESSAGING_SERVICE_SID")
	}
	if c.SMTPURL != "" {
		need(c.EmailFrom != "", "EMAIL_FROM", "missing, though SMTP_URL is set")
		need(c.EmailPostalAddress != "", "EMAIL_POSTAL_ADDRESS", "missing, though SMTP_URL is set: CAN-SPAM asks for it")
	}
	slices.Sort(p)
	return configError(slices.Compact(p))
}

func configError(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return &ConfigError{Problems: problems}
}

// publicAddr is the public listener's address.
func (c Config) publicAddr() string {
	if c.PublicAddr != "" {
		return c.PublicAddr
	}
	return ":8080"
}

// privateAddr is the private listener's address, by role where it is not set.
func (c Config) privateAddr(role Role) string {
	switch {
	case c.PrivateAddr != "":
		return c.PrivateAddr
	case role == RoleWorker:
		return "127.0.0.1:8082"
	}
	return "127.0.0.1:8081"
}
