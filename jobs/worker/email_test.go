package worker

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/jobs/tracktoken"
)

func TestComposeEmail(t *testing.T) {
	t.Parallel()
	tokens, err := tracktoken.New([]string{strings.Repeat("k", 32)})
	require.NoError(t, err)
	s := &sender{Options: Options{
		PublicURL: "https://hooks.example.test", Tokens: tokens, EmailFrom: "Onward <hello@mail.example>", EmailPostalAddress: "1 Main Street",
	}}
	id := uuid.Must(uuid.NewV7())
	own := s.unsubscribeURL(id, "email", "a@example.test")
	d := dispatch{channel: "email", address: "a@example.test", attempt: 2}
	d.message.Text = "Look: https://site.example/x\n\nNo more: " + own
	require.NoError(t, s.composeEmail(&d, id))

	require.Equal(t, id.String()+".2@mail.example", d.message.MessageIDHeader)
	require.Contains(t, d.message.Text, "1 Main Street")
	require.Contains(t, d.message.HTML, own, "the body's unsubscribe link is left as it is")
	require.NotContains(t, d.message.HTML, `href="https://site.example/x"`, "other links are counted")
	for _, m := range regexp.MustCompile(`https://hooks\.example\.test/t/c/([\w-]+)`).FindAllStringSubmatch(d.message.HTML, -1) {
		c, err := tokens.Open(tracktoken.PurposeClick, m[1])
		require.NoError(t, err)
		require.Equal(t, "https://site.example/x", c.URL)
	}
	m := regexp.MustCompile(`https://hooks\.example\.test/u/([\w-]+)`).FindStringSubmatch(d.message.UnsubscribeURL)
	require.Len(t, m, 2)
	c, err := tokens.Open(tracktoken.PurposeUnsubscribe, m[1])
	require.NoError(t, err)
	require.Equal(t, "a@example.test", c.Address)
}
