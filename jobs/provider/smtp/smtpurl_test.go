package smtp_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/smtp"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]smtp.Options{
		"smtp://mail.example.com":                        {Host: "mail.example.com", Port: 587, TLS: smtp.TLSStartTLS},
		"smtp://user:p%40ss@mail.example.com:2587/":      {Host: "mail.example.com", Port: 2587, Username: "user", Password: "p@ss", TLS: smtp.TLSStartTLS},
		"smtps://user:pass@mail.example.com":             {Host: "mail.example.com", Port: 465, Username: "user", Password: "pass", TLS: smtp.TLSImplicit},
		"smtp://127.0.0.1:2525?tls=none":                 {Host: "127.0.0.1", Port: 2525, TLS: smtp.TLSNone},
		"smtp://[::1]:2525?tls=none":                     {Host: "::1", Port: 2525, TLS: smtp.TLSNone},
		"smtp://mail.example.com?tls=starttls":           {Host: "mail.example.com", Port: 587, TLS: smtp.TLSStartTLS},
		"smtp://a%40b.example:x%2Fy@mail.example.com:25": {Host: "mail.example.com", Port: 25, Username: "a@b.example", Password: "x/y", TLS: smtp.TLSStartTLS},
	} {
		got, err := smtp.ParseURL(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for _, raw := range []string{
		"", "mail.example.com:587", "http://mail.example.com", "smtp://", "smtp://:587", "smtp://u:secret@%zz",
		"smtp://u:secret@h:0", "smtp://u:secret@h:99999", "smtp://u:secret@h:x", "smtp://u:secret@h/path",
		"smtp://u:secret@h?tls=maybe", "smtp://u:secret@h?tls=none&tls=none", "smtp://u:secret@h?ssl=1", "smtps://u:secret@h?tls=none", "smtp://u:secret@h?%zz",
	} {
		_, err := smtp.ParseURL(raw)
		require.Error(t, err, raw)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	good := smtp.Options{Host: "mail.example.com", Port: 587, TLS: smtp.TLSStartTLS, From: fromAddress}
	_, err := smtp.New(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*smtp.Options){
		"no host":                   func(o *smtp.Options) { o.Host = "" },
		"no port":                   func(o *smtp.Options) { o.Port = 0 },
		"no mode":                   func(o *smtp.Options) { o.TLS = "" },
		"no sender":                 func(o *smtp.Options) { o.From = "" },
		"user without password":     func(o *smtp.Options) { o.Username = "u" },
		"password in the clear":     func(o *smtp.Options) { o.Username, o.Password, o.TLS = "u", "secret", smtp.TLSNone },
		"negative time-out":         func(o *smtp.Options) { o.Timeout = -1 },
		"DKIM without key":          func(o *smtp.Options) { o.DKIM = &smtp.DKIM{Domain: "d", Selector: "s"} },
		"sender that holds headers": func(o *smtp.Options) { o.From = "a@example.com\r\nBcc: b@example.com" },
	} {
		opts := good
		change(&opts)
		_, err := smtp.New(opts)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "secret")
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("smtp://user:pass@host:587?tls=none")
	f.Fuzz(func(t *testing.T, raw string) {
		opts, err := smtp.ParseURL(raw)
		if err != nil {
			return
		}
		require.NotEmpty(t, opts.Host)
		require.Positive(t, opts.Port)
		require.NotEmpty(t, opts.TLS)
	})
}

func ExampleParseURL() {
	opts, err := smtp.ParseURL("smtps://user:pass@mail.example.com")
	fmt.Println(opts.Host, opts.Port, opts.TLS, err)
	// Output: mail.example.com 465 implicit <nil>
}
