package messagetext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/messagetext"
)

func TestCampaignRender(t *testing.T) {
	t.Parallel()
	const onlyWithCity = "{{if .City}}x{{end}}"
	for _, c := range []struct {
		name                  string
		sms                   bool
		subject, body         string
		fields                messagetext.Fields
		wantSubject, wantText string
		wantErr               error
		wantErrToMention      string
	}{
		{name: "a text", sms: true, body: "Hi {{.Name}}", fields: messagetext.Fields{Name: "Ana"}, wantText: "Hi Ana"},
		{name: "a mail", subject: "For {{.Name}}", body: "Hi", fields: messagetext.Fields{Name: "Ana"}, wantSubject: "For Ana", wantText: "Hi"},
		{name: "a subject of two lines", subject: "For\n {{.Name}}", body: "Hi", fields: messagetext.Fields{Name: "A\r\nBcc: b"}, wantSubject: "For A Bcc: b", wantText: "Hi"},
		{name: "empty", sms: true, body: onlyWithCity, wantErr: messagetext.ErrUnsendable, wantErrToMention: "empty"},
		{name: "an empty subject", subject: onlyWithCity, body: "Hi", wantErr: messagetext.ErrUnsendable, wantErrToMention: "subject"},
		{name: "the longest text", sms: true, body: "{{.Name}}", fields: messagetext.Fields{Name: strings.Repeat("ñ", 1600)}, wantText: strings.Repeat("ñ", 1600)},
		{name: "too long for a text", sms: true, body: "{{.Name}}", fields: messagetext.Fields{Name: strings.Repeat("ñ", 1601)}, wantErr: messagetext.ErrUnsendable, wantErrToMention: "1601"},
		{name: "as a mail it is not", subject: "S", body: "{{.Name}}", fields: messagetext.Fields{Name: strings.Repeat("a", 1601)}, wantSubject: "S", wantText: strings.Repeat("a", 1601)},
		{name: "too long for anything", subject: "S", body: "{{.Name}}", fields: messagetext.Fields{Name: strings.Repeat("a", messagetext.MaxRendered+1)}, wantErr: messagetext.ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			campaign, err := messagetext.ParseCampaign(c.sms, c.subject, c.body)
			require.NoError(t, err)
			subject, text, err := campaign.Render(c.fields)
			require.ErrorIs(t, err, c.wantErr)
			if c.wantErr != nil {
				require.ErrorContains(t, err, c.wantErrToMention)
			}
			require.Equal(t, []string{c.wantSubject, c.wantText}, []string{subject, text})
		})
	}
	_, err := messagetext.ParseCampaign(true, "", "{{.Fax}}")
	var place *messagetext.Error
	require.ErrorAs(t, err, &place)
}
