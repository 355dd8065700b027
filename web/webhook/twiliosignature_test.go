package webhook_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/webhook"
)

type twilioVector struct {
	Name      string              `json:"name"`
	Source    string              `json:"source"`
	Token     string              `json:"token"`
	URL       string              `json:"url"`
	Params    map[string][]string `json:"params"`
	Body      *string             `json:"body"`
	Signature string              `json:"signature"`
	Valid     bool                `json:"valid"`
}

// split cuts a URL into what is configured and what the request says.
func (v twilioVector) split() (base, target string) {
	at := strings.Index(v.URL, "://") + len("://")
	if slash := strings.IndexByte(v.URL[at:], '/'); slash >= 0 {
		return v.URL[:at+slash], v.URL[at+slash:]
	}
	return v.URL, "/"
}

func (v twilioVector) verify(tokens ...string) (int, error) {
	base, target := v.split()
	verifier, err := webhook.NewTwilioVerifier(base, tokens)
	if err != nil {
		return -1, err
	}
	if v.Body != nil {
		return verifier.VerifyBody(target, []byte(*v.Body), v.Signature)
	}
	form, err := webhook.ParseForm([]byte(url.Values(v.Params).Encode()))
	if err != nil {
		return -1, err
	}
	return verifier.VerifyForm(target, form, v.Signature)
}

func TestTwilioVerifier_vectors(t *testing.T) {
	t.Parallel()

	for _, v := range load[twilioVector](t, "twilio_signatures.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()

			matched, err := v.verify(v.Token)
			if !v.Valid {
				require.ErrorIs(t, err, webhook.ErrBadSignature)
				require.Equal(t, -1, matched)
				return
			}
			require.NoError(t, err)
			require.Zero(t, matched)

			_, err = v.verify(v.Token + "x")
			require.ErrorIs(t, err, webhook.ErrBadSignature)

			matched, err = v.verify("new", "older", v.Token)
			require.NoError(t, err)
			require.Equal(t, 2, matched, "the index of the token that signed")
		})
	}
}

func TestNewTwilioVerifier_refuses(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		url    string
		tokens []string
	}{
		"no token":          {publicURL, nil},
		"an empty token":    {publicURL, []string{token, ""}},
		"a blank token":     {publicURL, []string{" "}},
		"no URL":            {"", []string{token}},
		"no host":           {"https://", []string{token}},
		"a port alone":      {"https://:443", []string{token}},
		"another scheme":    {"ftp://hooks.example.com", []string{token}},
		"no scheme":         {"hooks.example.com", []string{token}},
		"a query":           {"https://hooks.example.com?x=1", []string{token}},
		"a fragment":        {"https://hooks.example.com#rc=5", []string{token}},
		"a malformed URL":   {"https://user:p%ss@hooks.example.com", []string{token}},
		"a relative scheme": {"//hooks.example.com", []string{token}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhook.NewTwilioVerifier(test.url, test.tokens)
			require.Error(t, err)
			require.NotContains(t, err.Error(), token)
			require.NotContains(t, err.Error(), "p%ss")
		})
	}
}

func TestTwilioVerifier_publicURL(t *testing.T) {
	t.Parallel()

	for configured, signed := range map[string][]string{
		"https://hooks.example.com":         {"https://hooks.example.com/a?b=1", "https://hooks.example.com:443/a?b=1"},
		"https://hooks.example.com/":        {"https://hooks.example.com/a?b=1", "https://hooks.example.com:443/a?b=1"},
		"https://hooks.example.com/onward/": {"https://hooks.example.com/onward/a?b=1", "https://hooks.example.com:443/onward/a?b=1"},
		"https://hooks.example.com:8443":    {"https://hooks.example.com:8443/a?b=1", "https://hooks.example.com/a?b=1"},
		"http://127.0.0.1:8080":             {"http://127.0.0.1:8080/a?b=1", "http://127.0.0.1/a?b=1"},
		"http://[::1]":                      {"http://[::1]/a?b=1", "http://[::1]:80/a?b=1"},
		"http://[::1]:8080":                 {"http://[::1]:8080/a?b=1", "http://[::1]/a?b=1"},
	} {
		verifier, err := webhook.NewTwilioVerifier(configured, []string{token})
		require.NoError(t, err)
		for _, signed := range signed {
			_, err := verifier.VerifyForm("/a?b=1", nil, signTwilio(token, signed, nil))
			require.NoErrorf(t, err, "%s, signed as %s", configured, signed)
		}
		_, err = verifier.VerifyForm("/a?b=1", nil, signTwilio(token, "https://other.example.com/a?b=1", nil))
		require.ErrorIs(t, err, webhook.ErrBadSignature)
	}
}

func TestTwilioVerifier_theFragmentIsNotSigned(t *testing.T) {
	t.Parallel()

	verifier, err := webhook.NewTwilioVerifier(publicURL, []string{token})
	require.NoError(t, err)
	_, err = verifier.VerifyForm("/a?b=1#rc=5", nil, signTwilio(token, publicURL+"/a?b=1", nil))
	require.NoError(t, err)
}

func FuzzTwilioVerifier(f *testing.F) {
	f.Add("CallSid=CA1&From=%2B14158675309", "/status?m=1&a=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")
	f.Add("a=1&a=1&a=2&b=", "/it's?x='", "")
	f.Add("%zz&;=\x00", "?bodySHA256=%zz#", "\xff")
	f.Fuzz(func(t *testing.T, body, target, signature string) {
		verifier, err := webhook.NewTwilioVerifier(publicURL, []string{token})
		require.NoError(t, err)

		_, err = verifier.VerifyBody(target, []byte(body), signature)
		require.ErrorIs(t, err, webhook.ErrBadSignature, "nobody guesses a signature")

		form, err := webhook.ParseForm([]byte(body))
		params, wanted := url.ParseQuery(body)
		require.Equal(t, wanted == nil, err == nil, "what net/url takes")
		if err != nil {
			return
		}
		for key, values := range params {
			require.Equal(t, values[0], form.Get(key))
		}
		_, err = verifier.VerifyForm(target, form, signature)
		require.ErrorIs(t, err, webhook.ErrBadSignature, "nobody guesses a signature")
		for key, values := range params {
			require.Equal(t, values[0], form.Get(key), "sorted, and of each key's values in order")
		}
		signed, _, _ := strings.Cut(publicURL+target, "#")
		_, err = verifier.VerifyForm(target, form, signTwilio(token, signed, params))
		require.NoError(t, err)
	})
}

func TestParseForm(t *testing.T) {
	t.Parallel()

	form, err := webhook.ParseForm([]byte("b=2&a=%2B1+2&&b=1&c&=d&e=f=g"))
	require.NoError(t, err)
	require.Equal(t, webhook.Form{{"b", "2"}, {"a", "+1 2"}, {"b", "1"}, {"c", ""}, {"", "d"}, {"e", "f=g"}}, form)
	require.Equal(t, "2", form.Get("b"))
	require.Empty(t, form.Get("f"))

	form, err = webhook.ParseForm(nil)
	require.NoError(t, err)
	require.Equal(t, webhook.Form{}, form, "empty, and not nil")

	most := bytes.Repeat([]byte("a&"), 9_999)
	form, err = webhook.ParseForm(append(most, 'a'))
	require.NoError(t, err)
	require.Len(t, form, 10_000)
	for _, bad := range []string{"a=%zz", "%f", "a;b", string(most) + "&"} {
		_, err = webhook.ParseForm([]byte(bad))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "zz")
	}
}
