package smtp_test

import (
	"bytes"
	"crypto/ed25519"
	netmail "net/mail"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/jobs/provider"
	"onward/jobs/provider/smtp"
)

func TestSendRefusesBeforeConnecting(t *testing.T) {
	t.Parallel()
	b := &backend{}
	client := newClient(t, serve(t, b, nil, false))
	for _, tc := range []struct {
		name   string
		change func(*provider.Message)
		class  provider.Class
		code   string
	}{
		{"subject with a header", func(m *provider.Message) { m.Subject = "Hi\r\nBcc: x@example.com" }, provider.ClassContentRefused, "content"},
		{"sender's name with a header", func(m *provider.Message) { m.From = "\"A\r\nBcc: x@example.com\" <a@example.com>" }, provider.ClassSenderBroken, "from"},
		{"recipient with a header", func(m *provider.Message) { m.To = "ana@example.com\r\nBcc: x@example.com" }, provider.ClassBadRecipient, "to"},
		{"two recipients", func(m *provider.Message) { m.To = "ana@example.com, x@example.com" }, provider.ClassBadRecipient, "to"},
		{"no recipient", func(m *provider.Message) { m.To = "" }, provider.ClassBadRecipient, "to"},
		{"header value with a header", func(m *provider.Message) { m.Headers = map[string]string{"X-A": "a\nBcc: x@example.com"} }, provider.ClassContentRefused, "content"},
		{"header name with a header", func(m *provider.Message) { m.Headers = map[string]string{"X-A: a\r\nBcc": "x@example.com"} }, provider.ClassContentRefused, "content"},
		{"header that routes", func(m *provider.Message) { m.Headers = map[string]string{"bcc": "x@example.com"} }, provider.ClassContentRefused, "content"},
		{"header that is ours", func(m *provider.Message) { m.Headers = map[string]string{"x-onward-message": "other"} }, provider.ClassContentRefused, "content"},
		{"Message-ID with a header", func(m *provider.Message) { m.MessageIDHeader = "a@b>\r\nBcc: x@example.com" }, provider.ClassContentRefused, "content"},
		{"unsubscribe that is no URL", func(m *provider.Message) { m.UnsubscribeURL = "javascript:alert(1)" }, provider.ClassContentRefused, "content"},
		{"unsubscribe with a header", func(m *provider.Message) { m.UnsubscribeURL = "https://x/u\r\nBcc: x@example.com" }, provider.ClassContentRefused, "content"},
		{"no content", func(m *provider.Message) { m.Text, m.HTML = "", "" }, provider.ClassContentRefused, "content"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := message()
			tc.change(&m)
			_, err := client.Send(t.Context(), m)
			requireSendError(t, err, tc.class, tc.code)
		})
	}
	_, _, raw := b.received()
	require.Empty(t, raw)
}

// Whatever a name, a subject or a body holds, the mail has the headers that it
// should have and no other.
func TestSendAddsNoHeader(t *testing.T) {
	t.Parallel()
	b := &backend{}
	client := newClient(t, serve(t, b, nil, false))
	expected := []string{
		"Content-Type", "Date", "From", "List-Unsubscribe", "List-Unsubscribe-Post",
		"Message-Id", "Mime-Version", "Subject", "To", "X-Onward-Message",
	}
	text := rapid.StringOf(rapid.RuneFrom([]rune("aé<>\":;,.=?_@ \t\r\n\x00🙂")))
	rapid.Check(t, func(rt *rapid.T) {
		m := message()
		m.Subject = text.Draw(rt, "subject")
		m.Text = text.Draw(rt, "text")
		m.From = (&netmail.Address{Name: text.Draw(rt, "name"), Address: "a@example.com"}).String()
		if _, err := client.Send(t.Context(), m); err != nil {
			var sendErr *provider.SendError
			require.ErrorAs(rt, err, &sendErr)
			require.Contains(rt, []string{"content", "from"}, sendErr.Code, err)
			return
		}
		_, _, raw := b.received()
		got, err := netmail.ReadMessage(bytes.NewReader(raw))
		require.NoError(rt, err)
		var names []string
		for name := range got.Header {
			if name != "Content-Transfer-Encoding" { // a mail of one part has it
				names = append(names, name)
			}
		}
		slices.Sort(names)
		require.Equal(rt, expected, names)
	})
}

func TestSendSignsWithDKIM(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	b := &backend{}
	opts := serve(t, b, nil, false)
	opts.DKIM = &smtp.DKIM{Domain: "onward.example", Selector: "s1", Key: key}
	_, err = newClient(t, opts).Send(t.Context(), message())
	require.NoError(t, err)
	_, _, raw := b.received()
	got, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	signature := got.Header.Get("DKIM-Signature")
	require.Contains(t, signature, "d=onward.example")
	require.Contains(t, signature, "List-Unsubscribe-Post")
}

func TestSendOneClickOverPlainHTTP(t *testing.T) {
	t.Parallel()
	b := &backend{}
	m := message()
	m.UnsubscribeURL = "http://127.0.0.1:8080/u/token"
	_, err := newClient(t, serve(t, b, nil, false)).Send(t.Context(), m)
	require.NoError(t, err)
	_, _, raw := b.received()
	got, err := netmail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, "<http://127.0.0.1:8080/u/token>", got.Header.Get("List-Unsubscribe"))
}
