package twilio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// maxAnswer bounds what is read of an answer. A page of findPageSize messages
// of 1600 characters stays under it.
const maxAnswer = 4 << 20

// errProviderTimeout is the cause of a call that ran into Options.Timeout, as
// against one whose caller gave up.
var errProviderTimeout = errors.New("no answer within the provider time-out")

// call is one exchange with Twilio: the [client.BaseClient] behind a twilio-go
// service that lives for this call alone, which is how a context gets in and
// the status, Retry-After and the state of the connection get out.
type call struct {
	c   *Client
	ctx context.Context

	// Of the exchange; meaningful once SendRequest returned.
	err        error  // of the network; nil when an answer was read whole
	mayBeSent  bool   // a byte of the request may have left
	status     int    // 0 without an answer
	body       []byte // of the answer
	retryAfter time.Duration
}

var _ client.BaseClient = (*call)(nil)

// service returns twilio-go's API over one call. The RequestHandler is put
// together by hand because its constructor reads TWILIO_EDGE and TWILIO_REGION
// from the environment.
func (c *Client) service(ctx context.Context) (*openapi.ApiService, *call) {
	x := &call{c: c, ctx: ctx}
	return openapi.NewApiService(&client.RequestHandler{Client: x}), x
}

// AccountSid, SetTimeout, SetOauth and OAuth complete [client.BaseClient].
func (x *call) AccountSid() string       { return x.c.opts.AccountSID }
func (x *call) SetTimeout(time.Duration) {}
func (x *call) SetOauth(client.OAuth)    {}
func (x *call) OAuth() client.OAuth      { return nil }

// SendRequest makes the exchange. It hands an answer of any status back to
// twilio-go only when it is a 2xx; what else there is to know is in x.
//
// It uses the transport directly and no http.Client: no redirect is followed,
// and no error carries the URL (a list's URL names the recipient).
func (x *call) SendRequest(method, rawURL string, data url.Values, headers map[string]any, _ ...byte) (*http.Response, error) {
	req, err := x.request(method, rawURL, data, headers)
	if err != nil {
		x.err = err
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(x.ctx, x.c.opts.Timeout, errProviderTimeout)
	defer cancel()
	if x.err = x.exchange(req.WithContext(ctx)); x.err != nil {
		if cause := context.Cause(ctx); cause != nil {
			x.err = cause
		}
		return nil, x.err
	}
	if x.status < 200 || x.status > 299 {
		return nil, fmt.Errorf("HTTP %d", x.status)
	}
	return &http.Response{StatusCode: x.status, Body: io.NopCloser(bytes.NewReader(x.body))}, nil
}

func (x *call) request(method, rawURL string, data url.Values, headers map[string]any) (*http.Request, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("malformed request URL")
	}
	u.Scheme, u.Host = x.c.base.Scheme, x.c.base.Host
	var body io.Reader
	if method == http.MethodGet {
		u.RawQuery = data.Encode()
	} else {
		body = strings.NewReader(data.Encode())
	}
	req, err := http.NewRequest(method, u.String(), body)
	if err != nil {
		return nil, errors.New("malformed request")
	}
	for k, v := range headers {
		req.Header.Set(k, fmt.Sprint(v))
	}
	if method == http.MethodGet {
		req.Header.Del("Content-Type") // twilio-go names one for every method
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "onward twilio-go/"+client.LibraryVersion)
	req.SetBasicAuth(x.c.opts.AccountSID, x.c.opts.AuthToken)
	return req, nil
}

// exchange sends the request and reads the answer whole, noting in x whether
// any byte of the request may have left this machine.
func (x *call) exchange(req *http.Request) error {
	if err := req.Context().Err(); err != nil {
		return err
	}
	var t sentTrace
	resp, err := x.c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), t.hooks())))
	_, plain := x.c.transport.(*http.Transport)
	x.mayBeSent = t.sent.Load() || (!t.asked.Load() && !plain)
	if err != nil {
		return err
	}
	x.mayBeSent = true
	defer func() { _ = resp.Body.Close() }()
	x.status = resp.StatusCode
	x.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	x.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return err
}

// sentTrace learns from the transport whether a request may be on its way.
// Before a connection is got (name look-up, dial, TLS handshake) nothing of the
// request can have been written; from then on anything may have been, since the
// write goes on in another goroutine while RoundTrip already returns an error.
type sentTrace struct {
	asked atomic.Bool // the transport reports: it asked for a connection
	sent  atomic.Bool
}

func (t *sentTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// The transport asks a second time only for a request that it can prove
		// unprocessed (nothing was written to a connection that had gone stale,
		// or the HTTP/2 peer refused the stream), so the slate is clean again. Without
		// that, each stale connection to a provider that is down would make an
		// unknown outcome out of a certain one.
		GetConn:          func(string) { t.asked.Store(true); t.sent.Store(false) },
		GotConn:          func(httptrace.GotConnInfo) { t.sent.Store(true) },
		WroteHeaderField: func(string, []string) { t.sent.Store(true) },
		WroteHeaders:     func() { t.sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				t.sent.Store(true)
			}
		},
	}
}
