package providersim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
	"onward/jobs/provider/twilio"
)

const (
	accountSID = "AC00000000000000000000000000000001"
	authToken  = "0123456789abcdef0123456789abcdef"
	secret     = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	phone      = "+12025550123"
	sender     = "+15005550006"
)

// onward is the other side: it records what it is sent and answers as it is
// told.
type onward struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
	answer   func(request) int // nil is 204
}

type request struct {
	path   string
	query  url.Values
	uri    string
	header http.Header
	body   []byte
	form   url.Values
}

func (o *onward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	form, _ := url.ParseQuery(string(body))
	req := request{path: r.URL.Path, query: r.URL.Query(), uri: r.URL.RequestURI(), header: r.Header, body: body, form: form}
	o.mu.Lock()
	o.requests = append(o.requests, req)
	answer := o.answer
	o.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		status = answer(req)
	}
	w.WriteHeader(status)
}

func (o *onward) got() []request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]request(nil), o.requests...)
}

type bundle struct {
	sim    *providersim.Sim
	onward *onward
	client *twilio.Client
}

// setup starts a simulator with Onward before it and a client of its API. opts
// may be zero.
func setup(t *testing.T, opts providersim.Options, answer func(request) int) *bundle {
	t.Helper()
	o := &onward{answer: answer}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	opts.AccountSID, opts.AuthToken = accountSID, authToken
	opts.RecurrenteSecret, opts.ResendSecret = secret, secret
	opts.PublicURL = o.URL
	sim := start(t, opts)
	return &bundle{sim: sim, onward: o, client: newClient(t, sim, time.Minute)}
}

func start(t *testing.T, opts providersim.Options) *providersim.Sim {
	t.Helper()
	sim, err := providersim.New(opts)
	require.NoError(t, err)
	require.NoError(t, sim.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, sim.Stop(context.Background())) })
	return sim
}

func newClient(t *testing.T, sim *providersim.Sim, timeout time.Duration) *twilio.Client {
	t.Helper()
	client, err := twilio.New(twilio.Options{AccountSID: accountSID, AuthToken: authToken, From: sender, BaseURL: sim.TwilioURL(), Timeout: timeout})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func (b *bundle) text(to, body string) provider.Message {
	return provider.Message{ID: "m1", Attempt: 1, To: to, Text: body, StatusCallback: b.onward.URL + "/webhooks/twilio/status?m=m1&a=1"}
}

// drain waits until the simulator has nothing more to do.
func (b *bundle) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, b.sim.Drain(ctx))
}

// statuses are the statuses that Onward was told of, in order.
func (b *bundle) statuses() []string {
	var out []string
	for _, r := range b.onward.got() {
		if r.path == "/webhooks/twilio/status" {
			out = append(out, r.form.Get("MessageStatus"))
		}
	}
	return out
}
