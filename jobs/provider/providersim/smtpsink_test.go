package providersim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
	"onward/jobs/provider/smtp"
)

func mailClient(t *testing.T, sim *providersim.Sim) *smtp.Client {
	t.Helper()
	opts, err := smtp.ParseURL(sim.SMTPURL())
	require.NoError(t, err)
	opts.From = "Onward <hello@onward.example>"
	opts.Timeout = time.Minute
	client, err := smtp.New(opts)
	require.NoError(t, err)
	return client
}

func mailTo(to string) provider.Message {
	return provider.Message{
		ID: "m1", Attempt: 1, To: to, Subject: "Tu página", Text: "Hola señor", HTML: "<p>Hola señor</p>",
		UnsubscribeURL: "https://hooks.example.com/u/x", MessageIDHeader: "m1.1@onward.example",
	}
}

func TestSinkKeepsMailAndReportsDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	accepted, err := mailClient(t, b.sim).Send(t.Context(), mailTo("ana@example.com"))
	require.NoError(t, err)
	b.drain(t)
	mails := b.sim.Mails()
	require.Len(t, mails, 1)
	require.Equal(t, accepted.SID, mails[0].MessageID())
	require.Equal(t, "hello@onward.example", mails[0].From)
	require.Equal(t, []string{"ana@example.com"}, mails[0].To)
	require.Equal(t, "Hola señor", mails[0].Text)
	require.Equal(t, "<p>Hola señor</p>", mails[0].HTML)
	require.Equal(t, "List-Unsubscribe=One-Click", mails[0].Header.Get("List-Unsubscribe-Post"))

	got := b.onward.got()
	require.Len(t, got, 1)
	body := got[0].verify(t, "Svix")
	require.Equal(t, "email.delivered", body["type"])
	require.Contains(t, at(t, body, "data.headers"), map[string]any{"name": "X-Onward-Message", "value": "m1; attempt=1"})
}

func TestMagicMailboxes(t *testing.T) {
	t.Parallel()
	for box, want := range map[string]struct {
		class  provider.Class // "" is accepted
		kept   bool
		events []string
	}{
		providersim.MailboxBounce:     {provider.ClassBadRecipient, false, nil},
		providersim.MailboxBusy:       {provider.ClassRetryLater, false, nil},
		providersim.MailboxRefused:    {provider.ClassContentRefused, false, nil},
		providersim.MailboxDrop:       {provider.ClassUnknown, false, nil},
		providersim.MailboxDropOut:    {provider.ClassUnknown, true, []string{"email.delivered"}},
		providersim.MailboxBounceLate: {"", true, []string{"email.bounced"}},
		providersim.MailboxSoftBounce: {"", true, []string{"email.bounced"}},
		providersim.MailboxComplain:   {"", true, []string{"email.complained", "email.delivered"}},
		providersim.MailboxQuiet:      {"", true, nil},
	} {
		t.Run(box, func(t *testing.T) {
			t.Parallel()
			b := setup(t, providersim.Options{}, nil)
			_, err := mailClient(t, b.sim).Send(t.Context(), mailTo(box+"@example.com"))
			if want.class == "" {
				require.NoError(t, err)
			} else {
				var sendErr *provider.SendError
				require.ErrorAs(t, err, &sendErr)
				require.Equal(t, want.class, sendErr.Class)
			}
			b.drain(t)
			require.Equal(t, want.kept, len(b.sim.Mails()) == 1)
			var events []string
			for _, r := range b.onward.got() {
				events = append(events, r.verify(t, "Svix")["type"].(string))
			}
			require.ElementsMatch(t, want.events, events)
		})
	}
}

func TestSMTPDropRate(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{Faults: providersim.FaultRates{SMTPDrop: 1}}, nil)
	client := mailClient(t, b.sim)
	for range 20 {
		_, err := client.Send(t.Context(), mailTo("ana@example.com"))
		var sendErr *provider.SendError
		require.ErrorAs(t, err, &sendErr)
		require.Equal(t, provider.ClassUnknown, sendErr.Class)
	}
	require.NotEmpty(t, b.sim.Mails(), "some were taken all the same")
	require.Less(t, len(b.sim.Mails()), 20)
}
