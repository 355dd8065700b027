package providersim_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
	"onward/jobs/provider/twilio"
)

func TestSendIsAcceptedAndRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	before := time.Now()
	accepted, err := b.client.Send(t.Context(), b.text(phone, "hello"))
	require.NoError(t, err)
	require.Equal(t, "queued", accepted.Status)
	require.Equal(t, 1, accepted.Segments)

	calls := b.sim.Calls()
	require.Len(t, calls, 1)
	call := calls[0]
	require.Equal(t, accepted.SID, call.SID)
	require.Equal(t, providersim.OutcomeAccepted, call.Outcome)
	require.Equal(t, "hello", call.Body)
	require.Equal(t, phone, call.To)
	require.Equal(t, 1, call.Seq)
	require.False(t, call.Begin.Before(before))
	require.False(t, call.End.Before(call.Begin))

	b.drain(t)
	got, err := b.client.Get(t.Context(), accepted.SID)
	require.NoError(t, err)
	require.Equal(t, "delivered", got.Status)
	require.Equal(t, "-0.00790", got.Price)
	require.False(t, got.DateSent.IsZero())
}

// Each magic number ends in the class that its name promises.
func TestMagicNumbersAsTheSenderSeesThem(t *testing.T) {
	t.Parallel()
	type seen struct {
		class provider.Class // "" is accepted
		code  string
		out   bool // a message is on its way
	}
	want := map[string]seen{
		providersim.MagicInvalid:        {provider.ClassBadRecipient, "21211", false},
		providersim.MagicUnroutable:     {provider.ClassBadRecipient, "21612", false},
		providersim.MagicRegionClosed:   {provider.ClassSenderBroken, "21408", false},
		providersim.MagicOptedOut:       {provider.ClassOptedOut, "21610", false},
		providersim.MagicNotMobile:      {provider.ClassBadRecipient, "21614", false},
		providersim.MagicBadToken:       {provider.ClassSenderBroken, "20003", false},
		providersim.MagicUnlistedCode:   {provider.ClassContentRefused, "20001", false},
		providersim.MagicRateLimited:    {provider.ClassRetryLater, "20429", false},
		providersim.MagicServerError:    {provider.ClassUnknown, "http_500", false},
		providersim.MagicServerErrorOut: {provider.ClassUnknown, "http_500", true},
		providersim.MagicUnavailable:    {provider.ClassUnknown, "http_503", false},
		providersim.MagicHang:           {provider.ClassUnknown, "timeout", false},
		providersim.MagicHangOut:        {provider.ClassUnknown, "timeout", true},
		providersim.MagicDrop:           {provider.ClassUnknown, "broken", false},
		providersim.MagicDropOut:        {provider.ClassUnknown, "broken", true},
		providersim.MagicGarbage:        {provider.ClassUnknown, "unreadable", true},
		providersim.MagicNoSID:          {provider.ClassUnknown, "no_sid", true},
		providersim.MagicRedirect:       {provider.ClassUnknown, "http_302", false},
		providersim.MagicNoCallbacks:    {"", "", true},
		providersim.MagicTwiceBackwards: {"", "", true},
		providersim.MagicStuck:          {"", "", true},
		providersim.MagicFailed:         {"", "", true},
		providersim.MagicUnreachable:    {"", "", true},
		providersim.MagicUnknownHandset: {"", "", true},
		providersim.MagicLandline:       {"", "", true},
		providersim.MagicFiltered:       {"", "", true},
		providersim.MagicUndelivered:    {"", "", true},
		providersim.MagicAsyncOptedOut:  {"", "", true},
	}
	require.Len(t, want, len(providersim.MagicNumbers()))
	for _, number := range providersim.MagicNumbers() {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{}, nil)
			client := b.client
			if want[number].code == "timeout" {
				client = newClient(t, b.sim, time.Second) // for the call to get there
			}
			_, err := client.Send(t.Context(), b.text(number, "hello"))
			if want[number].class == "" {
				require.NoError(t, err)
			} else {
				var sendErr *provider.SendError
				require.ErrorAs(t, err, &sendErr)
				require.Equal(t, want[number].class, sendErr.Class)
				require.Equal(t, want[number].code, sendErr.Code)
				require.Equal(t, number == providersim.MagicRateLimited, sendErr.RetryAfter == time.Second)
			}
			require.Len(t, b.sim.Calls(), 1)
			require.Equal(t, want[number].out, b.sim.Calls()[0].SID != "")
			require.Equal(t, want[number].out, len(b.sim.Messages()) == 1)

			// What is on its way can be found, whatever the sender was told.
			found, err := b.client.Find(t.Context(), number, sender, time.Now().Add(-time.Hour))
			require.NoError(t, err)
			require.Equal(t, want[number].out, len(found) == 1)
		})
	}
}

func TestAPIChecksRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	for _, tc := range []struct {
		name   string
		change func(*provider.Message)
		code   string
	}{
		{"no recipient", func(m *provider.Message) { m.To = "" }, "21604"},
		{"no body", func(m *provider.Message) { m.Text = "" }, "21602"},
		{"too long", func(m *provider.Message) { m.Text = strings.Repeat("x", 1601) }, "21617"},
		{"not a number", func(m *provider.Message) { m.To = "12025550123" }, "21211"},
		{"not a sender", func(m *provider.Message) { m.From = "+0" }, "21212"},
		{"invalid sender", func(m *provider.Message) { m.From = "+15005550001" }, "21212"},
		{"sender not ours", func(m *provider.Message) { m.From = "+15005550007" }, "21606"},
		{"sender's queue full", func(m *provider.Message) { m.From = "+15005550008" }, "21611"},
		{"no callback URL", func(m *provider.Message) { m.StatusCallback = "nowhere" }, "21609"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := b.text(phone, "hello")
			tc.change(&m)
			_, err := b.client.Send(t.Context(), m)
			var sendErr *provider.SendError
			require.ErrorAs(t, err, &sendErr)
			require.Equal(t, tc.code, sendErr.Code)
		})
	}
}

func TestAPIChecksCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	for name, opts := range map[string]twilio.Options{
		"token":   {AccountSID: accountSID, AuthToken: "wrong"},
		"account": {AccountSID: "AC00000000000000000000000000000002", AuthToken: authToken},
	} {
		opts.From, opts.BaseURL = sender, b.sim.TwilioURL()
		client, err := twilio.New(opts)
		require.NoError(t, err)
		t.Cleanup(client.Close)
		_, err = client.Send(t.Context(), b.text(phone, "hello"))
		var sendErr *provider.SendError
		require.ErrorAs(t, err, &sendErr, name)
		require.Equal(t, provider.ClassSenderBroken, sendErr.Class, name)
		require.Equal(t, "20003", sendErr.Code, name)
	}
	require.Empty(t, b.sim.Calls(), "what Twilio turns away at the door is no call")
}

func TestAPIWithMessagingService(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	m := b.text(phone, "hello")
	m.MessagingServiceSID = "MG00000000000000000000000000000001"
	accepted, err := b.client.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, "accepted", accepted.Status)
	b.drain(t)
	require.ElementsMatch(t, []string{"queued", "sent", "delivered"}, b.statuses())
	got, err := b.client.Get(t.Context(), accepted.SID)
	require.NoError(t, err)
	require.Equal(t, sender, got.From)
}

func TestAPILimitsPace(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{MessagesPerSecond: 0.001}, nil)
	_, err := b.client.Send(t.Context(), b.text(phone, "first"))
	require.NoError(t, err)
	_, err = b.client.Send(t.Context(), b.text(phone, "second"))
	var sendErr *provider.SendError
	require.ErrorAs(t, err, &sendErr)
	require.Equal(t, provider.ClassRetryLater, sendErr.Class)
	require.Equal(t, time.Second, sendErr.RetryAfter)
	m := b.text(phone, "third")
	m.From = "+15005550666"
	_, err = b.client.Send(t.Context(), m)
	require.NoError(t, err, "each sender has its own pace")
}

func TestAPITakesItsTime(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{LatencyMin: 20 * time.Millisecond, LatencyMax: 30 * time.Millisecond}, nil)
	_, err := b.client.Send(t.Context(), b.text(phone, "hello"))
	require.NoError(t, err)
	call := b.sim.Calls()[0]
	require.GreaterOrEqual(t, call.End.Sub(call.Begin), 20*time.Millisecond)
}

func TestListPagesAndFilters(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	for range 250 { // three pages of the client's
		_, err := b.client.Send(t.Context(), b.text(phone, "hello"))
		require.NoError(t, err)
	}
	_, err := b.client.Send(t.Context(), b.text("+12025550199", "other"))
	require.NoError(t, err)
	b.drain(t)
	found, err := b.client.Find(t.Context(), phone, sender, time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Len(t, found, 250)
	sids := map[string]bool{}
	for _, f := range found {
		require.Equal(t, phone, f.To)
		sids[f.SID] = true
	}
	require.Len(t, sids, 250, "no message twice")
	found, err = b.client.Find(t.Context(), phone, "+15005550666", time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestGetUnknownMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	_, err := b.client.Get(t.Context(), "SM00000000000000000000000000000000")
	require.ErrorIs(t, err, provider.ErrNotFound)
}

func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{Keep: 3}, nil)
	for range 10 {
		_, err := b.client.Send(t.Context(), b.text(phone, "hello"))
		require.NoError(t, err)
	}
	b.drain(t)
	require.Len(t, b.sim.Calls(), 3)
	require.Equal(t, 10, b.sim.Calls()[2].Seq)
	require.Len(t, b.sim.Messages(), 3)
	require.Len(t, b.sim.Deliveries(), 3)
}

// The same seed draws the same faults for the same messages, in any order.
func TestRunRepeats(t *testing.T) {
	t.Parallel()
	faults := providersim.FaultRates{Drop: 0.2, ServerError: 0.2, Garbage: 0.2, RateLimit: 0.2, Undelivered: 0.5}
	run := func(seed uint64, bodies []string) map[string]string {
		b := setup(t, providersim.Options{Seed: seed, Faults: faults}, nil)
		for _, body := range bodies {
			_, err := b.client.Send(t.Context(), b.text(phone[:len(phone)-1]+body[:1], body))
			var sendErr *provider.SendError
			require.True(t, err == nil || errors.As(err, &sendErr))
		}
		b.drain(t)
		out := map[string]string{}
		for _, c := range b.sim.Calls() {
			out[c.Body] = string(c.Outcome)
		}
		for _, m := range b.sim.Messages() {
			out[m.Body] += " " + m.Status
		}
		return out
	}
	bodies := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	reversed := []string{"9", "8", "7", "6", "5", "4", "3", "2", "1", "0"}
	first := run(1, bodies)
	require.Equal(t, first, run(1, reversed))
	require.NotEqual(t, first, run(2, bodies))
	kinds := map[string]bool{}
	for _, outcome := range first {
		kinds[outcome] = true
	}
	require.Greater(t, len(kinds), 3)
}

func TestUnknownPathIsTwilioError(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	resp := b.api(t, http.MethodGet, "/Calls.json", nil)
	require.Equal(t, http.StatusNotFound, resp.Code)
	require.Contains(t, resp.Body.String(), "20404")
}
