package providersim_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"

	"onward/jobs/provider/providersim"
)

func TestCallbacksAreTwilios(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	accepted, err := b.client.Send(t.Context(), b.text(providersim.MagicUnreachable, "hello"))
	require.NoError(t, err)
	b.drain(t)

	got := b.onward.got()
	require.ElementsMatch(t, []string{"sent", "undelivered"}, b.statuses())
	if got[0].form.Get("MessageStatus") != "sent" {
		slices.Reverse(got) // no order is promised
	}
	tokens := map[string]bool{}
	validator := client.NewRequestValidator(authToken)
	for _, r := range got {
		require.Equal(t, "/webhooks/twilio/status", r.path)
		require.Equal(t, url.Values{"m": {"m1"}, "a": {"1"}}, r.query, "the query comes back, the fragment does not")
		require.Equal(t, "application/x-www-form-urlencoded; charset=UTF-8", r.header.Get("Content-Type"))
		tokens[r.header.Get("I-Twilio-Idempotency-Token")] = true
		first := map[string]string{}
		for key, values := range r.form {
			first[key] = values[0]
		}
		require.True(t, validator.Validate(b.onward.URL+r.uri, first, r.header.Get("X-Twilio-Signature")), "twilio-go accepts the signature")
	}
	require.Len(t, tokens, 2, "one token for each webhook")
	keys := []string{"AccountSid", "ApiVersion", "From", "MessageSid", "MessageStatus", "SmsSid", "SmsStatus", "To"}
	require.Equal(t, keys, slices.Sorted(maps.Keys(got[0].form)))
	require.Equal(t, slices.Sorted(slices.Values(append(keys, "ErrorCode", "RawDlrDoneDate"))), slices.Sorted(maps.Keys(got[1].form)))
	require.Equal(t, accepted.SID, got[1].form.Get("MessageSid"))
	require.Equal(t, "30003", got[1].form.Get("ErrorCode"))
	require.Len(t, got[1].form.Get("RawDlrDoneDate"), 10)
}

func TestCallbackFates(t *testing.T) {
	t.Parallel()
	for number, want := range map[string][]string{
		providersim.MagicNoCallbacks:   nil,
		providersim.MagicStuck:         {"sent"},
		providersim.MagicFailed:        {"failed"},
		providersim.MagicAsyncOptedOut: {"failed"},
		providersim.MagicDropOut:       {"sent", "delivered"},
	} {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{}, nil)
			_, _ = b.client.Send(t.Context(), b.text(number, "hello"))
			b.drain(t)
			require.ElementsMatch(t, want, b.statuses())
		})
	}
}

// Backwards is the one order that is certain: each waits for the one before.
func TestCallbacksBackwards(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	_, err := b.client.Send(t.Context(), b.text(providersim.MagicTwiceBackwards, "hello"))
	require.NoError(t, err)
	b.drain(t)
	require.Equal(t, []string{"delivered", "delivered", "sent", "sent"}, b.statuses())

	b = setup(t, providersim.Options{Faults: providersim.FaultRates{ReorderCallback: 1}}, nil)
	_, err = b.client.Send(t.Context(), b.text(phone, "hello"))
	require.NoError(t, err)
	b.drain(t)
	require.Equal(t, []string{"delivered", "sent"}, b.statuses())
}

func TestCallbackFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		faults providersim.FaultRates
		want   []string
	}{
		"lost":       {providersim.FaultRates{LoseCallback: 1}, nil},
		"duplicated": {providersim.FaultRates{DuplicateCallback: 1}, []string{"sent", "sent", "delivered", "delivered"}},
		"failed":     {providersim.FaultRates{Undelivered: 1}, []string{"sent", "undelivered"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{Faults: tc.faults}, nil)
			_, err := b.client.Send(t.Context(), b.text(phone, "hello"))
			require.NoError(t, err)
			b.drain(t)
			require.ElementsMatch(t, tc.want, b.statuses())
		})
	}
}

func TestCallbackRetriesAsItsFragmentAsks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fragment string
		status   int
		attempts int
	}{
		"Twilio's default does not retry a 5xx": {"", 503, 1},
		"all":                                   {"#rc=2&rp=all", 503, 3},
		"5xx":                                   {"#rc=1&rp=5xx", 503, 2},
		"4xx only":                              {"#rc=5&rp=4xx", 503, 1},
		"4xx":                                   {"#rc=1&rp=5xx,4xx", 403, 2},
		"none":                                  {"#rc=0&rp=all", 503, 1},
		"out of bounds keeps the default":       {"#rc=9&rp=all", 503, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{}, func(request) int { return tc.status })
			b.callback(t, tc.fragment)
			b.drain(t)
			got := b.onward.got()
			require.Len(t, got, tc.attempts)
			for _, r := range got {
				require.Equal(t, got[0].header.Get("I-Twilio-Idempotency-Token"), r.header.Get("I-Twilio-Idempotency-Token"), "the same on every attempt")
				require.Equal(t, got[0].header.Get("X-Twilio-Signature"), r.header.Get("X-Twilio-Signature"))
			}
			deliveries := b.sim.Deliveries()
			require.Len(t, deliveries, tc.attempts)
			require.Equal(t, tc.attempts, deliveries[tc.attempts-1].Attempt)
			require.Equal(t, tc.status, deliveries[0].Status)
		})
	}
}

func TestCallbackRetryEndsWithSuccess(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	b := setup(t, providersim.Options{}, func(request) int {
		if calls.Add(1) == 1 {
			return 503
		}
		return 204
	})
	b.callback(t, "#rc=5&rp=all")
	b.drain(t)
	require.Len(t, b.onward.got(), 2)
	require.True(t, b.sim.Deliveries()[1].OK())
}

func TestCallbackReadTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, func(request) int { <-t.Context().Done(); return 204 })
	b.callback(t, "#ct=100&rt=100&rc=0")
	b.drain(t)
	require.Equal(t, "no answer", b.sim.Deliveries()[0].Error)
}

func TestCallbackIsRetriedOnceWhenNobodyListens(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	b.onward.Close()
	b.callback(t, "")
	b.drain(t)
	require.Len(t, b.sim.Deliveries(), 2)
	require.Equal(t, "no connection", b.sim.Deliveries()[1].Error)
}

// callback sends one text that gets one callback, to a URL with that fragment.
// The client under test writes its own fragment, so this posts by itself.
func (b *bundle) callback(t *testing.T, fragment string) {
	t.Helper()
	form := url.Values{"To": {providersim.MagicStuck}, "From": {sender}, "Body": {"x"}, "StatusCallback": {b.onward.URL + "/webhooks/twilio/status?m=1" + fragment}}
	resp := b.api(t, http.MethodPost, "/Messages.json", form)
	require.Equal(t, http.StatusCreated, resp.Code)
}

// api makes a request to the Twilio API with the account's credentials.
func (b *bundle) api(t *testing.T, method, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return do(t, method, b.sim.TwilioURL()+"/2010-04-01/Accounts/"+accountSID+path, "application/x-www-form-urlencoded", form.Encode())
}
