package twilio_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/twilio"
)

const (
	accountSID = "AC00000000000000000000000000000001"
	authToken  = "first-of_two" // twilio-go's own client would refuse these signs
	fromNumber = "+15005550006"
	toNumber   = "+12025550123"
	bodyText   = "Your new website is ready"
	messageSID = "SM00000000000000000000000000000001"
	created    = `{"sid":"` + messageSID + `","status":"queued","num_segments":"1","price":null,"price_unit":"usd"}`
)

type bundle struct {
	client *twilio.Client
	server *httptest.Server
}

// setup serves handler as Twilio. The client gives up after timeout.
func setup(t *testing.T, handler http.HandlerFunc, timeout time.Duration) *bundle {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := newClient(t, twilio.Options{BaseURL: server.URL, Timeout: timeout})
	return &bundle{client: client, server: server}
}

// pipes is a network of two: what is dialled is accepted.
type pipes struct {
	conns chan net.Conn
	ended context.Context //nolint:containedctx // a listener's life
	end   context.CancelFunc
}

func (p *pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.end(); return nil }

func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

// timesOut serves handler as Twilio to a client whose time-out passes once nothing else happens any more: not before a slow
// machine has come as far as the handler, and at once then.
func timesOut(t *testing.T, handler http.HandlerFunc, test func(*testing.T, *twilio.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn)}
		p.ended, p.end = context.WithCancel(t.Context())
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
		served := make(chan error, 1)
		go func() { served <- server.Serve(p) }()
		transport := &http.Transport{DialContext: p.DialContext}
		test(t, newClient(t, twilio.Options{BaseURL: "http://api.invalid", Transport: transport}))
		transport.CloseIdleConnections()
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

func newClient(t *testing.T, opts twilio.Options) *twilio.Client {
	t.Helper()
	opts.AccountSID, opts.AuthToken = accountSID, authToken
	if opts.From == "" && opts.MessagingServiceSID == "" {
		opts.From = fromNumber
	}
	client, err := twilio.New(opts)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func message() provider.Message {
	return provider.Message{
		ID: "0199-id", Attempt: 1, Channel: provider.ChannelSMS,
		To: toNumber, Text: bodyText,
		StatusCallback: "https://hooks.example.com/webhooks/twilio/status?m=0199-id&a=1",
	}
}

// answer is a handler that says the same to everything.
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// requireSendError checks the class and that nothing private is in the text.
func requireSendError(t *testing.T, err error, class provider.Class, code string) {
	t.Helper()
	var sendErr *provider.SendError
	require.ErrorAs(t, err, &sendErr)
	require.Equal(t, class, sendErr.Class, err)
	require.Equal(t, code, sendErr.Code, err)
	for _, private := range []string{toNumber, toNumber[1:], fromNumber[1:], bodyText, authToken, "0199-id"} {
		require.NotContains(t, err.Error(), private)
	}
}
