package smtp_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/smtp"
)

const (
	toAddress   = "ana@example.com"
	fromAddress = "Onward <hello@onward.example>"
)

// backend is a go-smtp server whose every step a test can replace.
type backend struct {
	onMail, onRcpt, onAuth func() error
	onData                 func(conn *gosmtp.Conn) error

	mu   sync.Mutex
	from string
	to   []string
	raw  []byte
}

func (b *backend) NewSession(conn *gosmtp.Conn) (gosmtp.Session, error) {
	return &session{backend: b, conn: conn}, nil
}

// received is the last mail that the server read to its closing dot.
func (b *backend) received() (from string, to []string, raw []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.from, b.to, b.raw
}

type session struct {
	backend *backend
	conn    *gosmtp.Conn
	from    string
	to      []string
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string {
	if s.backend.onAuth == nil {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != "user" || pass != "p@ss" {
			return gosmtp.ErrAuthFailed
		}
		return s.backend.onAuth()
	}), nil
}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	s.from = from
	return call(s.backend.onMail)
}

func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = append(s.to, to)
	return call(s.backend.onRcpt)
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.backend.mu.Lock()
	s.backend.from, s.backend.to, s.backend.raw = s.from, s.to, raw
	s.backend.mu.Unlock()
	if s.backend.onData == nil {
		return nil
	}
	return s.backend.onData(s.conn)
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func reply(code int, enhanced gosmtp.EnhancedCode) func() error {
	return func() error {
		// Servers like to repeat whom it was about.
		return &gosmtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: "about <" + toAddress + ">"}
	}
}

// serve starts b on a port of its own; implicit wraps it in TLS.
func serve(t *testing.T, b *backend, config *tls.Config, implicit bool) smtp.Options {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	opts := options(t, listener)
	server := gosmtp.NewServer(b)
	server.Domain = "sink.example"
	server.AllowInsecureAuth = true
	server.ErrorLog = log.New(io.Discard, "", 0)
	if config != nil && implicit {
		listener = tls.NewListener(listener, config)
	} else {
		server.TLSConfig = config
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); _ = listener.Close(); <-done })
	return opts
}

func options(t *testing.T, listener net.Listener) smtp.Options {
	t.Helper()
	host, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	return smtp.Options{Host: host, Port: number, TLS: smtp.TLSNone, From: fromAddress}
}

// certificate is one for 127.0.0.1, with the pool that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func newClient(t *testing.T, opts smtp.Options) *smtp.Client {
	t.Helper()
	client, err := smtp.New(opts)
	require.NoError(t, err)
	return client
}

func message() provider.Message {
	return provider.Message{
		ID: "0199-id", Attempt: 2, Channel: provider.ChannelEmail, To: toAddress,
		Subject: "Tu página está lista", Text: "Hola, Ana", HTML: "<p>Hola, Ana</p>",
		UnsubscribeURL:  "https://hooks.example.com/u/token",
		MessageIDHeader: "<0199-id.2@onward.example>",
	}
}

func requireSendError(t *testing.T, err error, class provider.Class, code string) {
	t.Helper()
	var sendErr *provider.SendError
	require.ErrorAs(t, err, &sendErr)
	require.Equal(t, class, sendErr.Class, err)
	require.Equal(t, code, sendErr.Code, err)
	for _, private := range []string{toAddress, "ana", "Hola", "p@ss", "hello@"} {
		require.NotContains(t, err.Error(), private)
	}
}
