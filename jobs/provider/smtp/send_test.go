package smtp_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/smtp"
)

func TestSendDelivers(t *testing.T) {
	t.Parallel()
	b := &backend{}
	client := newClient(t, serve(t, b, nil, false))
	m := message()
	m.Headers = map[string]string{"X-Campaign": "spring"}
	accepted, err := client.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, provider.Accepted{SID: "0199-id.2@onward.example", Status: "accepted"}, accepted)

	from, to, raw := b.received()
	require.Equal(t, "hello@onward.example", from)
	require.Equal(t, []string{toAddress}, to)
	got, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	for name, want := range map[string]string{
		"Message-Id":            "<0199-id.2@onward.example>",
		"From":                  `"Onward" <hello@onward.example>`,
		"To":                    "<ana@example.com>",
		"List-Unsubscribe":      "<https://hooks.example.com/u/token>",
		"List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"X-Onward-Message":      "0199-id; attempt=2",
		"X-Campaign":            "spring",
	} {
		require.Equal(t, want, got.Header.Get(name), name)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, m.Subject, subject)

	kind, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(got.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{{"text/plain", m.Text}, {"text/html", m.HTML}} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(part.Header.Get("Content-Type"), want.kind))
		body, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, want.body, strings.TrimSpace(string(body)))
	}
	_, err = parts.NextPart()
	require.ErrorIs(t, err, io.EOF)
}

func TestSendChoosesMessageID(t *testing.T) {
	t.Parallel()
	b := &backend{}
	client := newClient(t, serve(t, b, nil, false))
	m := message()
	m.MessageIDHeader = ""
	accepted, err := client.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, "0199-id.2@onward.example", accepted.SID)
}

func TestSendClassifiesRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		backend *backend
		class   provider.Class
		code    string
	}{
		{"MAIL 550", &backend{onMail: reply(550, gosmtp.EnhancedCode{5, 1, 8})}, provider.ClassSenderBroken, "550 5.1.8"},
		{"MAIL 451", &backend{onMail: reply(451, gosmtp.EnhancedCode{4, 3, 0})}, provider.ClassRetryLater, "451 4.3.0"},
		{"RCPT 550", &backend{onRcpt: reply(550, gosmtp.EnhancedCode{5, 1, 1})}, provider.ClassBadRecipient, "550 5.1.1"},
		{"RCPT greylisted", &backend{onRcpt: reply(450, gosmtp.EnhancedCode{4, 2, 0})}, provider.ClassRetryLater, "450 4.2.0"},
		{"RCPT relaying denied", &backend{onRcpt: reply(554, gosmtp.EnhancedCode{5, 7, 1})}, provider.ClassSenderBroken, "554 5.7.1"},
		{"RCPT authentication wanted", &backend{onRcpt: reply(530, gosmtp.EnhancedCode{5, 5, 1})}, provider.ClassSenderBroken, "530 5.5.1"},
		{"content 554", &backend{onData: dataReply(554, gosmtp.EnhancedCode{5, 6, 0})}, provider.ClassContentRefused, "554 5.6.0"},
		{"content 452", &backend{onData: dataReply(452, gosmtp.EnhancedCode{4, 3, 1})}, provider.ClassRetryLater, "452 4.3.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, serve(t, tc.backend, nil, false)).Send(t.Context(), message())
			requireSendError(t, err, tc.class, tc.code)
		})
	}
}

func dataReply(code int, enhanced gosmtp.EnhancedCode) func(*gosmtp.Conn) error {
	return func(*gosmtp.Conn) error { return reply(code, enhanced)() }
}

func TestSendBreakAtTheClosingDotIsUnknown(t *testing.T) {
	t.Parallel()
	b := &backend{onData: func(conn *gosmtp.Conn) error { return conn.Conn().Close() }}
	_, err := newClient(t, serve(t, b, nil, false)).Send(t.Context(), message())
	requireSendError(t, err, provider.ClassUnknown, "broken")
	_, _, raw := b.received()
	require.NotEmpty(t, raw, "the server had it all: it may well have delivered")
}

func TestSendAtEachBreakOfTheConnection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		script script
		class  provider.Class // "" is success
		code   string
	}{
		{"refused greeting", script{"": "554 no service"}, provider.ClassSenderBroken, "554"},
		{"busy greeting", script{"": "421 4.3.2 later"}, provider.ClassRetryLater, "421 4.3.2"},
		{"garbage greeting", script{"": "what about " + toAddress}, provider.ClassRetryLater, "connect"},
		{"closed at greeting", script{"": "close"}, provider.ClassRetryLater, "connect"},
		{"closed at MAIL", script{"MAIL": "close"}, provider.ClassRetryLater, "broken"},
		{"closed at RCPT", script{"RCPT": "close"}, provider.ClassRetryLater, "broken"},
		{"closed at DATA", script{"DATA": "close"}, provider.ClassRetryLater, "broken"},
		{"DATA refused", script{"DATA": "554 5.5.1 no"}, provider.ClassSenderBroken, "554"},
		{"DATA deferred", script{"DATA": "451 later"}, provider.ClassRetryLater, "451"},
		{"closed at the dot", script{".": "close"}, provider.ClassUnknown, "broken"},
		{"garbage at the dot", script{".": "?"}, provider.ClassUnknown, "broken"},
		{"odd 2xx at the dot", script{".": "254 queued?"}, provider.ClassUnknown, "broken"},
		{"4xx at the dot", script{".": "421 later"}, provider.ClassRetryLater, "421"},
		{"closed after acceptance", script{"QUIT": "close"}, "", ""},
		{"refused QUIT", script{"QUIT": "500 what"}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, serveScript(t, tc.script)).Send(t.Context(), message())
			if tc.class == "" {
				require.NoError(t, err)
				return
			}
			requireSendError(t, err, tc.class, tc.code)
		})
	}
}

// A break in the content leaves the mail unfinished: no dot, no delivery.
func TestSendBreakInTheContentIsNotSent(t *testing.T) {
	t.Parallel()
	m := message()
	m.Text = strings.Repeat("a line that fills the buffers of both sides\n", 1<<17)
	_, err := newClient(t, serveScript(t, script{"content": "close"})).Send(t.Context(), m)
	requireSendError(t, err, provider.ClassRetryLater, "broken")
}

func TestSendTimeouts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		script script
		class  provider.Class
	}{
		{"greeting", script{"": ""}, provider.ClassRetryLater},
		{"MAIL", script{"MAIL": ""}, provider.ClassRetryLater},
		{"DATA", script{"DATA": ""}, provider.ClassRetryLater},
		{"the dot", script{".": ""}, provider.ClassUnknown}, // where a slow machine must come in time
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opts := serveScript(t, tc.script)
			opts.Timeout = 100 * time.Millisecond
			if tc.class == provider.ClassUnknown {
				opts.Timeout = 2 * time.Second
			}
			_, err := newClient(t, opts).Send(t.Context(), message())
			requireSendError(t, err, tc.class, "timeout")
			require.ErrorContains(t, err, "provider time-out", "the error names which time-out fired")
		})
	}
}

func TestSendCanceledByCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := &backend{onData: func(*gosmtp.Conn) error { cancel(); <-t.Context().Done(); return nil }}
	begin := time.Now()
	_, err := newClient(t, serve(t, b, nil, false)).Send(ctx, message())
	requireSendError(t, err, provider.ClassUnknown, "canceled")
	require.Less(t, time.Since(begin), smtp.DefaultTimeout/2, "it does not wait for the time-out")

	_, err = newClient(t, serve(t, &backend{}, nil, false)).Send(ctx, message())
	requireSendError(t, err, provider.ClassRetryLater, "canceled")
}

func TestSendRefusedConnectionIsNotSent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	opts := options(t, listener)
	require.NoError(t, listener.Close())
	_, err = newClient(t, opts).Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "connect")
}

func TestSendEncrypted(t *testing.T) {
	t.Parallel()
	for _, mode := range []smtp.TLSMode{smtp.TLSStartTLS, smtp.TLSImplicit} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			serverTLS, clientTLS := certificate(t)
			b := &backend{onAuth: func() error { return nil }}
			opts := serve(t, b, serverTLS, mode == smtp.TLSImplicit)
			opts.TLS, opts.TLSConfig, opts.Username, opts.Password = mode, clientTLS, "user", "p@ss"
			_, err := newClient(t, opts).Send(t.Context(), message())
			require.NoError(t, err)

			opts.TLSConfig = nil // does not trust the certificate
			_, err = newClient(t, opts).Send(t.Context(), message())
			requireSendError(t, err, provider.ClassRetryLater, "connect")

			opts.TLSConfig, opts.Password = clientTLS, "wrong"
			_, err = newClient(t, opts).Send(t.Context(), message())
			requireSendError(t, err, provider.ClassSenderBroken, "535 5.7.8")
		})
	}
}

func TestSendWantsSTARTTLS(t *testing.T) {
	t.Parallel()
	opts := serve(t, &backend{}, nil, false)
	opts.TLS = smtp.TLSStartTLS
	_, err := newClient(t, opts).Send(t.Context(), message())
	requireSendError(t, err, provider.ClassSenderBroken, "unsupported")
}

func TestSendWantsAuthentication(t *testing.T) {
	t.Parallel()
	opts := serve(t, &backend{}, nil, false)
	opts.Username, opts.Password = "user", "p@ss"
	_, err := newClient(t, opts).Send(t.Context(), message())
	requireSendError(t, err, provider.ClassSenderBroken, "unsupported")
}
