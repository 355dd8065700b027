package app

import (
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/jobs/provider/smtp"
	"onward/web/webhook"
)

// malformed says of the settings that are set which cannot be what they are for, so that a process does not start half of its way
// and then stop with an error that names no setting. No line holds a value: it may be a secret.
func (c Config) malformed() []string {
	var p []string
	need := func(ok bool, name, why string) {
		if !ok {
			p = append(p, name+": "+why)
		}
	}
	for name, dsn := range map[string]string{"DATABASE_URL": c.DatabaseURL, "ONWARD_LISTEN_DATABASE_URL": c.ListenDatabaseURL} {
		if dsn != "" {
			_, err := pgxpool.ParseConfig(dsn)
			need(err == nil, name, "not a PostgreSQL DSN, such as postgres://user@host/onward")
		}
	}
	for name, addr := range map[string]string{"ONWARD_PUBLIC_ADDR": c.PublicAddr, "ONWARD_PRIVATE_ADDR": c.PrivateAddr} {
		need(addr == "" || isAddress(addr), name, "not an address to listen on; write host:port or :port")
	}
	need(c.TwilioAPIBaseURL == "" || isBase(c.TwilioAPIBaseURL), "TWILIO_API_BASE_URL", "not http(s)://host[:port] and no more")
	for name, list := range map[string][]string{"RECURRENTE_WEBHOOK_SECRET": c.RecurrenteWebhookSecret.List(), "RESEND_WEBHOOK_SECRET": c.ResendWebhookSecret.List()} {
		if len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return !strings.HasPrefix(s, "whsec_") }) {
			_, err := webhook.NewSvixVerifier(list, nil)
			need(err == nil, name, "not whsec_ and base64; copy it from the provider's page")
		}
	}
	if c.SMTPURL != "" {
		if _, err := smtp.ParseURL(string(c.SMTPURL)); err != nil {
			p = append(p, "SMTP_URL: "+err.Error())
		}
	}
	if c.EmailFrom != "" {
		_, err := mail.ParseAddress(c.EmailFrom)
		need(err == nil, "EMAIL_FROM", "not a mail address; write Name <name@example.com>, or the address alone")
	}
	return p
}

func isAddress(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

// isBase reports whether an address is http(s)://host[:port] and no more.
func isBase(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}
