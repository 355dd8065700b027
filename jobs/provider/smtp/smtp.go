// Package smtp sends mail over SMTP. It implements [provider.Sender].
//
// It may import jobs/provider and go-mail. It opens one connection for each
// mail: at campaign pace a handshake costs little, and a connection of one's own
// makes sure that a failure belongs to this mail and to no other.
package smtp

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
	gomailsmtp "github.com/wneessen/go-mail/smtp"

	"onward/jobs/provider"
)

// DefaultTimeout bounds a send from the dial to the answer to the closing dot.
const DefaultTimeout = 30 * time.Second

// quitTimeout bounds the farewell, after which nothing depends on the server.
const quitTimeout = time.Second

// TLSMode says how a connection is encrypted.
type TLSMode string

const (
	// TLSStartTLS upgrades the connection, or fails (port 587).
	TLSStartTLS TLSMode = "starttls"
	// TLSImplicit speaks TLS from the first byte (port 465).
	TLSImplicit TLSMode = "implicit"
	// TLSNone is for a sink on this machine.
	TLSNone TLSMode = "none"
)

// Options configure a [Client]; [ParseURL] makes them from SMTP_URL.
type Options struct {
	Host string
	Port int
	// Username and Password are both empty for a server without
	// authentication. They are refused with TLSNone unless Host is this machine.
	Username, Password string
	TLS                TLSMode
	// TLSConfig replaces the default (system roots, TLS 1.2 or later).
	TLSConfig *tls.Config
	// From is the sender of mails that name none: "name <address>" or "address".
	From string
	// Timeout replaces DefaultTimeout.
	Timeout time.Duration
	// HELO is the name that we greet with; empty means this machine's.
	HELO string
	// DKIM signs every mail, for a server that does not do so itself.
	DKIM *DKIM
}

// DKIM is a signing key (RFC 6376).
type DKIM struct {
	Domain, Selector string
	// Key is an RSA or Ed25519 key; mail.PrivKeyFromPEM of go-mail reads one.
	Key crypto.Signer
}

func (o Options) validate() error {
	var errs []error
	if o.Host == "" {
		errs = append(errs, errors.New("host is empty"))
	}
	if o.Port < 1 || o.Port > 65535 {
		errs = append(errs, errors.New("port must be between 1 and 65535"))
	}
	switch o.TLS {
	case TLSStartTLS, TLSImplicit, TLSNone:
	default:
		errs = append(errs, errors.New("tls must be starttls, implicit or none"))
	}
	if (o.Username == "") != (o.Password == "") {
		errs = append(errs, errors.New("user and password go together"))
	}
	if o.Username != "" && o.TLS == TLSNone && !isLoopback(o.Host) {
		errs = append(errs, errors.New("a password needs TLS unless the server is this machine"))
	}
	if _, err := netmail.ParseAddress(o.From); err != nil {
		errs = append(errs, errors.New("from is not a mail address"))
	}
	if o.Timeout < 0 {
		errs = append(errs, errors.New("time-out is negative"))
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Client sends mail through one server. It is safe for concurrent use.
type Client struct {
	opts Options
	dkim *mail.DKIMSigner
}

var _ provider.Sender = (*Client)(nil)

// New checks the options and returns a client. It opens no connection.
func New(opts Options) (*Client, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("smtp: %w", err)
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	c := &Client{opts: opts}
	if opts.DKIM != nil {
		c.dkim = mail.NewDKIMSigner(opts.DKIM.Domain, opts.DKIM.Selector, opts.DKIM.Key)
		c.dkim.SignHeaders(signedHeaders()...)
		if err := c.dkim.ValidateConfig(); err != nil {
			return nil, fmt.Errorf("smtp: DKIM: %w", err)
		}
	}
	return c, nil
}

// Send hands one mail to the server. Accepted.SID is its Message-ID without the
// angle brackets.
func (c *Client) Send(ctx context.Context, m provider.Message) (provider.Accepted, error) {
	msg, messageID, refused := c.compose(m)
	if refused != nil {
		return provider.Accepted{}, refused
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Timeout, errProviderTimeout)
	defer cancel()
	gomail, err := c.gomail(ctx)
	if err != nil {
		return provider.Accepted{}, &provider.SendError{Class: provider.ClassSenderBroken, Code: "options", Err: errors.New("smtp: options refused by go-mail")}
	}
	conn, err := gomail.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return provider.Accepted{}, dialError(ctx, err)
	}
	err = gomail.SendWithSMTPClient(conn, msg)
	if msg.IsDelivered() {
		// Whatever fails after the server took the mail does not undo it.
		// go-mail's RSET would be the one that can; it is off (gomail).
		err = nil
	}
	hangUp(conn, err)
	if err != nil {
		return provider.Accepted{}, sendError(ctx, err)
	}
	return provider.Accepted{SID: messageID, Status: "accepted"}, nil
}

// hangUp says QUIT only on a connection that is between commands. After a
// failure in the middle of the content, go-mail's QUIT would first write the
// closing dot, and the server would take the mutilated mail.
func hangUp(conn *gomailsmtp.Client, err error) {
	if err == nil || answeredByServer(err) {
		if conn.UpdateDeadline(quitTimeout) == nil {
			_ = conn.Quit()
		}
	}
	_ = conn.Close()
}

// gomail returns a go-mail client for one send: its dialer is bound to ctx, and
// go-mail writes to its client while it picks an authentication.
func (c *Client) gomail(ctx context.Context) (*mail.Client, error) {
	config := c.tlsConfig()
	opts := []mail.Option{
		mail.WithPort(c.opts.Port),
		mail.WithTimeout(c.opts.Timeout + time.Minute), // dial caps it by ctx
		mail.WithTLSConfig(config),
		mail.WithDialContextFunc(func(dialCtx context.Context, network, addr string) (net.Conn, error) {
			return dial(ctx, dialCtx, network, addr, c.opts.TLS, config)
		}),
		mail.WithoutNoop(), // the connection is fresh
		mail.WithoutRset(), // and not used again
	}
	switch c.opts.TLS {
	case TLSStartTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	case TLSImplicit:
		opts = append(opts, mail.WithSSL())
	case TLSNone:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	if c.opts.Username != "" {
		opts = append(opts, mail.WithUsername(c.opts.Username), mail.WithPassword(c.opts.Password),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthPlain, mail.SMTPAuthLogin, mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthCramMD5))
	}
	if c.opts.HELO != "" {
		opts = append(opts, mail.WithHELO(c.opts.HELO))
	}
	return mail.NewClient(c.opts.Host, opts...)
}

func (c *Client) tlsConfig() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.opts.TLSConfig != nil {
		config = c.opts.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.opts.Host
	}
	return config
}

// String names the server without its credentials.
func (c *Client) String() string {
	return "smtp://" + net.JoinHostPort(c.opts.Host, strconv.Itoa(c.opts.Port))
}
