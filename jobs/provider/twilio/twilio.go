// Package twilio sends texts through Twilio's Messages API and looks up what
// became of them. It implements [provider.Sender] and [provider.Lookup].
//
// It may import jobs/provider and, of twilio-go, only client and
// rest/api/v2010: the root package pulls in every API and costs a minute of
// build. twilio-go builds the requests and decodes the answers; everything
// between (context, base URL, time-out, credentials, Retry-After, knowing
// whether a byte may have left) is the [client.BaseClient] in call.go, because
// CreateMessage takes no context and hides the rest.
package twilio

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"onward/jobs/provider"
)

// DefaultBaseURL is Twilio's API; a simulator stands in for it by
// [Options.BaseURL].
const DefaultBaseURL = "https://api.twilio.com"

// DefaultTimeout bounds a call from its start to the last byte of the answer.
// twilio-go's own client uses the same ten seconds.
const DefaultTimeout = 10 * time.Second

// Options configure a [Client].
type Options struct {
	// AccountSID ("AC…") and AuthToken authenticate every call. Where several
	// tokens are configured for rotation, AuthToken is the first.
	AccountSID, AuthToken string
	// From (E.164, short code or alphanumeric sender) or MessagingServiceSID
	// ("MG…") is the sender of messages that name none. One of them is needed;
	// with both, Twilio sends from From within the service.
	From, MessagingServiceSID string
	// BaseURL replaces DefaultBaseURL.
	BaseURL string
	// Timeout replaces DefaultTimeout.
	Timeout time.Duration
	// Transport replaces the package's own (which uses no proxy: nothing here
	// reads the environment). It must report through net/http/httptrace, as
	// http.Transport and its common wrappers do (with one that doesn't, every
	// failed call counts as unknown), and must not repeat requests by itself.
	Transport http.RoundTripper
}

func (o Options) validate() error {
	var errs []error
	if !strings.HasPrefix(o.AccountSID, "AC") || strings.ContainsAny(o.AccountSID, "/?#% \t\r\n:") {
		errs = append(errs, errors.New("AccountSID must start with AC and hold nothing but letters and digits"))
	}
	if o.AuthToken == "" || strings.ContainsAny(o.AuthToken, ", \t\r\n") {
		errs = append(errs, errors.New("AuthToken must be one token"))
	}
	if o.From == "" && o.MessagingServiceSID == "" {
		errs = append(errs, errors.New("no sender: From or MessagingServiceSID is needed"))
	}
	if o.MessagingServiceSID != "" && !strings.HasPrefix(o.MessagingServiceSID, "MG") {
		errs = append(errs, errors.New("MessagingServiceSID must start with MG"))
	}
	if o.Timeout < 0 {
		errs = append(errs, errors.New("negative Timeout"))
	}
	return errors.Join(errs...)
}

// Client talks to one Twilio account. It is safe for concurrent use.
type Client struct {
	opts      Options
	base      *url.URL
	transport http.RoundTripper
	ownsPool  bool
}

var (
	_ provider.Sender = (*Client)(nil)
	_ provider.Lookup = (*Client)(nil)
)

// New checks the options and returns a client. It makes no call.
func New(opts Options) (*Client, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("twilio: %w", err)
	}
	if opts.BaseURL == "" {
		opts.BaseURL = DefaultBaseURL
	}
	base, err := url.Parse(opts.BaseURL)
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" || base.User != nil ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		// The URL itself is left out: a mistyped one may hold a password.
		return nil, errors.New("twilio: BaseURL must be http(s)://host[:port] and no more")
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	c := &Client{opts: opts, base: base, transport: opts.Transport}
	if c.transport == nil {
		c.transport = newTransport()
		c.ownsPool = true
	}
	return c, nil
}

// newTransport keeps connections for the next message: at one message a second
// a sender (the pace of a US long code), 90 s of idling spares nearly every
// handshake. 256 idle connections are more than one process sends at once.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

// Close drops idle connections. It leaves a Transport from Options alone.
func (c *Client) Close() {
	if t, ok := c.transport.(*http.Transport); ok && c.ownsPool {
		t.CloseIdleConnections()
	}
}
