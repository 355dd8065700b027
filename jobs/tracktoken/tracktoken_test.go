package tracktoken_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/jobs/tracktoken"
)

const (
	id     = "0197b5c2-7d1e-7c3a-9f00-0123456789ab"
	oldKey = "an old key that is long enough, 32+"
	newKey = "a new key which is long enough, 32+"
)

func codec(t require.TestingT, keys ...string) *tracktoken.Codec {
	c, err := tracktoken.New(keys)
	require.NoError(t, err)
	return c
}

// samples has valid claims for each purpose.
func samples() map[tracktoken.Purpose]tracktoken.Claims {
	return map[tracktoken.Purpose]tracktoken.Claims{
		tracktoken.PurposeOpen:        {MessageID: id},
		tracktoken.PurposeClick:       {MessageID: id, Channel: "email", Address: "ana@example.com", URL: "https://example.com/ñ?a=b#c"},
		tracktoken.PurposeUnsubscribe: {MessageID: id, Channel: "sms", Address: "+50255551234"},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey)
	for purpose, claims := range samples() {
		token, err := c.Seal(purpose, claims)
		require.NoError(t, err)
		require.Regexp(t, regexp.MustCompile(`^[A-Za-z0-9_-]+$`), token, "fits into a path as it is")
		got, err := c.Open(purpose, token)
		require.NoError(t, err)
		require.Equal(t, claims, got)

		again, err := c.Seal(purpose, claims)
		require.NoError(t, err)
		require.NotEqual(t, token, again, "two of the same claims cannot be told to be that")
	}
}

func TestTokensSayNothing(t *testing.T) {
	t.Parallel()
	token, err := codec(t, newKey).Seal(tracktoken.PurposeClick, samples()[tracktoken.PurposeClick])
	require.NoError(t, err)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "ana@")
	require.NotContains(t, string(raw), "example.com")
}

func TestPurposesAreNotInterchangeable(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey)
	claims := tracktoken.Claims{MessageID: id, Channel: "email", Address: "ana@example.com"}
	for _, sealed := range tracktoken.Purposes() {
		claims := claims
		if sealed == tracktoken.PurposeClick {
			claims.URL = "https://example.com"
		}
		token, err := c.Seal(sealed, claims)
		require.NoError(t, err)
		for _, opened := range append(tracktoken.Purposes(), "other", "") {
			_, err := c.Open(opened, token)
			if opened == sealed {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tracktoken.ErrInvalid, "%s opened as %s", sealed, opened)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, during, after := codec(t, oldKey), codec(t, newKey, oldKey), codec(t, newKey)
	claims := samples()[tracktoken.PurposeUnsubscribe]

	old, err := before.Seal(tracktoken.PurposeUnsubscribe, claims)
	require.NoError(t, err)
	got, err := during.Open(tracktoken.PurposeUnsubscribe, old)
	require.NoError(t, err)
	require.Equal(t, claims, got)
	_, err = after.Open(tracktoken.PurposeUnsubscribe, old)
	require.ErrorIs(t, err, tracktoken.ErrInvalid)

	fresh, err := during.Seal(tracktoken.PurposeUnsubscribe, claims)
	require.NoError(t, err)
	_, err = after.Open(tracktoken.PurposeUnsubscribe, fresh)
	require.NoError(t, err, "the first key seals")
	_, err = before.Open(tracktoken.PurposeUnsubscribe, fresh)
	require.ErrorIs(t, err, tracktoken.ErrInvalid)
}

func TestNewRefusesKeys(t *testing.T) {
	t.Parallel()
	_, err := tracktoken.New(nil)
	require.Error(t, err)
	for _, keys := range [][]string{{""}, {newKey, "secret but short"}, {newKey, ""}} {
		_, err := tracktoken.New(keys)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestSealRefusesClaims(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey)
	for name, tc := range map[string]struct {
		purpose tracktoken.Purpose
		claims  tracktoken.Claims
	}{
		"purpose":              {"other", tracktoken.Claims{MessageID: id}},
		"no id":                {tracktoken.PurposeOpen, tracktoken.Claims{}},
		"id in capitals":       {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: strings.ToUpper(id)}},
		"id without hyphens":   {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: strings.ReplaceAll(id, "-", "")}},
		"hyphens elsewhere":    {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: "0197b5c-27d1e-7c3a-9f00-0123456789ab"}},
		"channel":              {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: id, Channel: "fax"}},
		"long address":         {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: id, Address: strings.Repeat("a", tracktoken.MaxAddress+1)}},
		"address of two lines": {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: id, Address: "a@b\r\nc"}},
		"address not text":     {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: id, Address: "\xff"}},
		"open with URL":        {tracktoken.PurposeOpen, tracktoken.Claims{MessageID: id, URL: "https://example.com"}},
		"no one unsubscribes":  {tracktoken.PurposeUnsubscribe, tracktoken.Claims{MessageID: id, Channel: "email"}},
		"from no channel":      {tracktoken.PurposeUnsubscribe, tracktoken.Claims{MessageID: id, Address: "a@b"}},
		"click to nowhere":     {tracktoken.PurposeClick, tracktoken.Claims{MessageID: id}},
	} {
		_, err := c.Seal(tc.purpose, tc.claims)
		require.Error(t, err, name)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"https://example.com", "http://example.com:8080/a?b#c", "HTTPS://EXAMPLE.COM/", "https://[::1]/", "https://ejemplo.example/ñ"} {
		require.NoError(t, tracktoken.CheckURL(ok), ok)
	}
	for _, bad := range []string{
		"", "/relative", "//example.com", "example.com", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://example.com",
		"https:example.com", "https:///path", "https://", "https://:80/", "http://a\r\nSet-Cookie: b", "https://a b", "https://example.com\\@evil.example",
		"\thttps://example.com", "https://%zz/", "https://exa\x00mple.com", "https://example.com/\xff", "https://example.com/" + strings.Repeat("a", tracktoken.MaxURL),
	} {
		require.Error(t, tracktoken.CheckURL(bad), bad)
	}
}

// TestLongestToken: the limit is the length of the longest token, exactly.
func TestLongestToken(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey)
	claims := tracktoken.Claims{MessageID: id, Channel: "email", Address: strings.Repeat("a", tracktoken.MaxAddress), URL: "https://example.com/"}
	claims.URL += strings.Repeat("u", tracktoken.MaxURL-len(claims.URL))
	token, err := c.Seal(tracktoken.PurposeClick, claims)
	require.NoError(t, err)
	require.Len(t, token, tracktoken.MaxToken)
	got, err := c.Open(tracktoken.PurposeClick, token)
	require.NoError(t, err)
	require.Equal(t, claims, got)
	_, err = c.Open(tracktoken.PurposeClick, token+"A")
	require.ErrorIs(t, err, tracktoken.ErrInvalid)
}

// TestEveryBitCounts: a token with any bit changed, cut anywhere or with anything added opens no more.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey, oldKey)
	for purpose, claims := range samples() {
		token, err := c.Seal(purpose, claims)
		require.NoError(t, err)
		raw, err := base64.RawURLEncoding.DecodeString(token)
		require.NoError(t, err)
		for i := range raw {
			for bit := range 8 {
				raw[i] ^= 1 << bit
				_, err := c.Open(purpose, base64.RawURLEncoding.EncodeToString(raw))
				require.ErrorIs(t, err, tracktoken.ErrInvalid, "bit %d of byte %d", bit, i)
				raw[i] ^= 1 << bit
			}
		}
		for i := range token {
			_, err := c.Open(purpose, token[:i])
			require.ErrorIs(t, err, tracktoken.ErrInvalid, "cut to %d", i)
		}
		for _, odd := range []string{token + "A", token + "=", token + "\n", " " + token, token + token, "\n" + token, token[:5] + "\r" + token[5:]} {
			_, err := c.Open(purpose, odd)
			require.ErrorIs(t, err, tracktoken.ErrInvalid, "%q", odd)
		}
	}
}

func TestClaimsSurvive(t *testing.T) {
	t.Parallel()
	c := codec(t, newKey)
	rapid.Check(t, func(t *rapid.T) {
		claims := tracktoken.Claims{
			MessageID: rapid.StringMatching(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).Draw(t, "id"),
			Channel:   rapid.SampledFrom([]string{"sms", "email"}).Draw(t, "channel"),
			Address:   rapid.StringMatching(`[a-zñ0-9+.]{1,100}(@[a-z.]{1,100})?`).Draw(t, "address"),
		}
		purpose := rapid.SampledFrom(tracktoken.Purposes()).Draw(t, "purpose")
		if purpose == tracktoken.PurposeClick {
			claims.URL = rapid.StringMatching(`https?://[a-z]{1,20}\.example(/[a-zñ0-9._~-]{0,30}){0,5}(\?[a-z]=[0-9%a-f&;+]{0,50})?(#[a-z]{0,9})?`).Draw(t, "url")
			if tracktoken.CheckURL(claims.URL) != nil {
				t.Skip("an escape that is none")
			}
		}
		token, err := c.Seal(purpose, claims)
		require.NoError(t, err)
		require.LessOrEqual(t, len(token), tracktoken.MaxToken)
		got, err := c.Open(purpose, token)
		require.NoError(t, err)
		require.Equal(t, claims, got)
	})
}

// FuzzOpen: whatever opens says what was sealed, under the purpose that it was sealed for.
func FuzzOpen(f *testing.F) {
	c := codec(f, newKey, oldKey)
	for purpose, claims := range samples() {
		token, err := c.Seal(purpose, claims)
		require.NoError(f, err)
		f.Add(string(purpose), token)
	}
	f.Add("open", "AQ")
	f.Add("click", "\xff=\n")
	f.Fuzz(func(t *testing.T, purpose, token string) {
		claims, err := c.Open(tracktoken.Purpose(purpose), token)
		if err != nil {
			require.ErrorIs(t, err, tracktoken.ErrInvalid)
			return
		}
		require.Equal(t, samples()[tracktoken.Purpose(purpose)], claims)
	})
}

func ExampleCodec() {
	codec, err := tracktoken.New([]string{"thirty-two bytes or more, from ONWARD_SECRET_KEY"})
	if err != nil {
		panic(err)
	}
	token, err := codec.Seal(tracktoken.PurposeUnsubscribe, tracktoken.Claims{
		MessageID: "0197b5c2-7d1e-7c3a-9f00-0123456789ab", Channel: "email", Address: "ana@example.com",
	})
	if err != nil {
		panic(err)
	}
	claims, err := codec.Open(tracktoken.PurposeUnsubscribe, token)
	fmt.Println(claims.Address, err)
	_, err = codec.Open(tracktoken.PurposeClick, token)
	fmt.Println(err)
	// Output:
	// ana@example.com <nil>
	// invalid token
}
