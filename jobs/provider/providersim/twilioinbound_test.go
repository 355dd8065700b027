package providersim_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"

	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
)

func TestReply(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	before := time.Now()
	d, err := b.sim.Reply(t.Context(), phone, sender, "Sí, me interesa", url.Values{"MessagingServiceSid": {"MG1"}})
	require.NoError(t, err)
	require.True(t, d.OK())
	require.False(t, d.Answered.Before(d.Sent))
	require.False(t, d.Sent.Before(before))

	got := b.onward.got()
	require.Len(t, got, 1)
	require.Equal(t, "/webhooks/twilio/inbound", got[0].path)
	for key, want := range map[string]string{
		"From": phone, "To": sender, "Body": "Sí, me interesa", "MessageSid": d.ID, "SmsSid": d.ID, "SmsMessageSid": d.ID,
		"NumMedia": "0", "NumSegments": "1", "AccountSid": accountSID, "ApiVersion": "2010-04-01", "SmsStatus": "received",
		"FromCountry": "US", "MessagingServiceSid": "MG1",
	} {
		require.Equal(t, want, got[0].form.Get(key), key)
	}
	first := map[string]string{}
	for key, values := range got[0].form {
		first[key] = values[0]
	}
	validator := client.NewRequestValidator(authToken)
	require.True(t, validator.Validate(b.onward.URL+got[0].uri, first, got[0].header.Get("X-Twilio-Signature")))
	messages := b.sim.Messages()
	require.Len(t, messages, 1)
	require.Equal(t, "inbound", messages[0].Direction)
}

func TestReplyWithoutBody(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	_, err := b.sim.Reply(t.Context(), phone, sender, "", url.Values{"Body": nil, "NumMedia": {"1"}, "MediaUrl0": {"https://example.com/cat.jpg"}})
	require.NoError(t, err)
	form := b.onward.got()[0].form
	require.False(t, form.Has("Body"))
	require.Equal(t, "1", form.Get("NumMedia"))
}

func TestReplyNotTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, func(request) int { return http.StatusServiceUnavailable })
	d, err := b.sim.Reply(t.Context(), phone, sender, "hello", nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), phone)
	require.Equal(t, http.StatusServiceUnavailable, d.Status)
	require.Len(t, b.onward.got(), 1, "Twilio does not retry a 5xx")
}

func TestSTOPRefusesFurtherSendsUntilSTART(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	send := func(from, to string) provider.Class {
		m := b.text(to, "hello")
		m.From = from
		_, err := b.client.Send(t.Context(), m)
		if err == nil {
			return ""
		}
		var sendErr *provider.SendError
		require.ErrorAs(t, err, &sendErr)
		return sendErr.Class
	}
	reply := func(body string) {
		_, err := b.sim.Reply(t.Context(), phone, sender, body, nil)
		require.NoError(t, err)
	}
	require.Empty(t, send(sender, phone))
	for _, word := range []string{"STOP", " stop\n", "Unsubscribe", "REVOKE", "optout"} {
		reply(word)
		require.Equal(t, provider.ClassOptedOut, send(sender, phone), word)
		reply("start")
		require.Empty(t, send(sender, phone))
	}
	reply("Please stop")
	require.Empty(t, send(sender, phone), "only the whole body is a keyword")
	reply("STOP")
	require.Empty(t, send("+15005550666", phone), "another number of ours")
	require.Empty(t, send(sender, "+12025550199"), "another phone")
	reply("yes")
	require.Empty(t, send(sender, phone))
	calls := b.sim.Calls()
	require.Equal(t, providersim.OutcomeRefused, calls[1].Outcome, "what is refused is recorded, too")
	require.Equal(t, 21610, calls[1].Code)
}

func TestDeliverToAnotherAddress(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	require.NoError(t, b.sim.SetTarget("https://hooks.example.com", b.onward.URL))
	_, err := b.sim.Reply(t.Context(), phone, sender, "hello", nil)
	require.NoError(t, err)
	m := b.text(providersim.MagicStuck, "hello")
	m.StatusCallback = "https://hooks.example.com/webhooks/twilio/status?m=1"
	_, err = b.client.Send(t.Context(), m)
	require.NoError(t, err)
	b.drain(t)
	got := b.onward.got()
	require.Len(t, got, 2)
	for _, r := range got {
		require.Equal(t, providersim.SignTwilio(authToken, "https://hooks.example.com"+r.uri, r.form), r.header.Get("X-Twilio-Signature"), "signed for the public address")
	}
	require.Error(t, b.sim.SetTarget("hooks.example.com", ""))
}

func TestReplyNeedsATarget(t *testing.T) {
	t.Parallel()
	sim := start(t, providersim.Options{AccountSID: accountSID, AuthToken: authToken})
	_, err := sim.Reply(t.Context(), phone, sender, "hello", nil)
	require.ErrorContains(t, err, "SetTarget")
}
