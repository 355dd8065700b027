package track_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

func TestClick(t *testing.T) {
	t.Parallel()
	const target = "https://la-espiga.example.com/menú?a=1&b=%20#c"
	b := setup(t)
	w := b.do(http.MethodGet, "/t/c/"+b.token(tracktoken.PurposeClick, clickClaims(target)), "")
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "https://la-espiga.example.com/men%C3%BA?a=1&b=%20#c", w.Header().Get("Location"))
	require.Empty(t, w.Body.String())
	guarded(t, w.Header())

	require.Equal(t, []inbox.Receipt{{
		Provider: "onward", Kind: "click", Headers: []inbox.Header{{Name: "User-Agent", Values: []string{browser}}},
		Body: []byte(`{"message_id":"0197b5c2-7d1e-7c3a-9f00-0123456789ab","url":"https://la-espiga.example.com/menú?a=1\u0026b=%20#c","user_agent":"` + browser +
			`","machine":false,"method":"GET","received_at":"2026-06-01T18:00:00.123456789Z"}`),
		DedupeKey: "tk:c:" + messageID + ":50a20f8595f3729e:h", ContactKey: "email:ana@example.com", ReceivedAt: b.now,
	}}, b.inbox.receipts)
	require.Equal(t, []string{"click accepted"}, b.observed)
}

func TestClickByHeadIsAMachines(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.do(http.MethodHead, "/t/c/"+b.token(tracktoken.PurposeClick, clickClaims("https://example.com/a")), "")
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "https://example.com/a", w.Header().Get("Location"))
	require.Regexp(t, `^tk:c:`+messageID+`:[0-9a-f]{16}:m$`, b.inbox.receipts[0].DedupeKey)
	require.Contains(t, string(b.inbox.receipts[0].Body), `"machine":true,"method":"HEAD"`)
}

func TestLinksOfOneMessageCountApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, url := range []string{"https://example.com/a", "https://example.com/b", "https://example.com/a"} {
		b.do(http.MethodGet, "/t/c/"+b.token(tracktoken.PurposeClick, clickClaims(url)), "")
	}
	require.NotEqual(t, b.inbox.receipts[0].DedupeKey, b.inbox.receipts[1].DedupeKey)
	require.Equal(t, b.inbox.receipts[0].DedupeKey, b.inbox.receipts[2].DedupeKey)
}

// TestClickIsNoOpenRedirect: where it leads is in the token alone.
func TestClickIsNoOpenRedirect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	valid := b.token(tracktoken.PurposeClick, clickClaims("https://example.com/"))
	other, err := tracktoken.New([]string{"another key, of somebody else's install"})
	require.NoError(t, err)
	foreign, err := other.Seal(tracktoken.PurposeClick, clickClaims("https://evil.example/"))
	require.NoError(t, err)

	for _, token := range []string{
		"x", "https:%2F%2Fevil.example", "%2F%2Fevil.example", valid[:len(valid)-1], valid + "A", foreign,
		b.token(tracktoken.PurposeOpen, openClaims()), b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims()),
	} {
		w := b.do(http.MethodGet, "/t/c/"+token, "")
		require.Equal(t, http.StatusNotFound, w.Code, token)
		require.Empty(t, w.Header().Get("Location"))
		require.Contains(t, w.Body.String(), "This link is not valid")
		guarded(t, w.Header())
	}
	w := b.do(http.MethodGet, "/t/c/"+valid+"?url=https://evil.example&u=//evil.example", "", "Host", "evil.example", "X-Forwarded-Host", "evil.example")
	require.Equal(t, "https://example.com/", w.Header().Get("Location"))
	require.Len(t, b.inbox.receipts, 1)
}

func TestClickLeadsOnWhenItCannotBeStored(t *testing.T) {
	t.Parallel()
	for _, err := range []error{inbox.ErrOverloaded, inbox.ErrStopped, errors.New("connection refused")} {
		b := setup(t)
		b.inbox.err = err
		w := b.do(http.MethodGet, "/t/c/"+b.token(tracktoken.PurposeClick, clickClaims("https://example.com/")), "")
		require.Equal(t, http.StatusFound, w.Code)
		require.Equal(t, "https://example.com/", w.Header().Get("Location"))
	}
}
