package twilio_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
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

// setup serves handler as Twilio. The client gives up after timeout; tests that
// wait for that pass a short one, all others one that never fires.
func setup(t *testing.T, handler http.HandlerFunc, timeout time.Duration) *bundle {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := newClient(t, twilio.Options{BaseURL: server.URL, Timeout: timeout})
	return &bundle{client: client, server: server}
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
