package webhook_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func FuzzTwilioForm(f *testing.F) {
	for _, name := range []string{"twilio_status.json", "twilio_inbound.json"} {
		for _, s := range load[sample](f, name) {
			f.Add(s.text(f))
		}
	}
	f.Add("From=%2B15550000001%00&MessageSid=%ff&MessageStatus=\x00")
	f.Add("a;b")
	f.Add("%")
	f.Fuzz(func(t *testing.T, body string) {
		params, err := url.ParseQuery(body)
		for key, values := range params {
			if len(values) > 1 {
				t.Skipf("the test's signer knows no repeated keys: %q", key)
			}
		}
		want := 400
		if err == nil && len(body) <= 1<<20 {
			want = 200
		}

		b := setup(t)
		w := do(b, post(inboundPath, form, body, http.Header{"X-Twilio-Signature": {signTwilio(token, publicURL+inboundPath, params)}}))
		require.Equal(t, want, w.Code)
		if want != 200 {
			require.Empty(t, b.inbox.receipts)
			return
		}
		got := b.inbox.receipts[0]
		require.Equal(t, body, string(got.Body))
		require.True(t, strings.HasPrefix(got.DedupeKey, "ti:") && len(got.DedupeKey) > 3)
		if got.Hold != nil {
			require.Regexp(t, `^\+[0-9]{7,15}$`, got.Hold.Address)
		}
	})
}

func FuzzJSONEvents(f *testing.F) {
	for _, name := range []string{"recurrente.json", "resend.json"} {
		for _, s := range load[sample](f, name) {
			f.Add(s.text(f))
		}
	}
	f.Add(`{"event_type":{},"type":null,"data":{"to":[null]}}`)
	f.Add(`{"type":"\u0000\ud800","data":{"to":"\"@\"@x"}}`)
	f.Add(strings.Repeat("[", 20000))
	f.Fuzz(func(t *testing.T, body string) {
		b := setup(t)
		for _, r := range []*http.Request{
			svix(recurrentePath, rcSecret, "msg_1", now, body),
			svix(resendPath, rsSecret, "msg_1", now, body),
		} {
			require.Contains(t, []int{200, 400, 413}, do(b, r).Code)
		}
		for _, got := range b.inbox.receipts {
			require.NotEmpty(t, got.Kind)
			require.Equal(t, body, string(got.Body))
			if got.Hold != nil {
				require.Equal(t, "email.complained", got.Kind)
				require.Contains(t, got.Hold.Address, "@")
				require.True(t, utf8.ValidString(got.Hold.Address))
			}
		}
	})
}
