package webhook_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/webhook"
)

type svixVector struct {
	Name      string `json:"name"`
	Source    string `json:"source"`
	Secret    string `json:"secret"`
	ID        string `json:"id"`
	Timestamp int64  `json:"timestamp"`
	Payload   string `json:"payload"`
	Signature string `json:"signature"`
	Valid     bool   `json:"valid"`
}

func (v svixVector) headers(family string) http.Header {
	h := http.Header{}
	h.Set(family+"-id", v.ID)
	h.Set(family+"-timestamp", strconv.FormatInt(v.Timestamp, 10))
	h.Set(family+"-signature", v.Signature)
	return h
}

func at(unix int64) func() time.Time {
	return func() time.Time { return time.Unix(unix, 0) }
}

func TestSvixVerifier_vectors(t *testing.T) {
	t.Parallel()

	for _, v := range load[svixVector](t, "svix_signatures.json") {
		for _, family := range []string{"svix", "webhook"} {
			t.Run(family+"/"+v.Name, func(t *testing.T) {
				t.Parallel()

				// Spellings of one secret, as consoles and shells leave them.
				for _, secret := range []string{v.Secret, strings.TrimPrefix(v.Secret, "whsec_"), " " + v.Secret + "\n"} {
					verifier, err := webhook.NewSvixVerifier([]string{foreignSecret, secret}, at(v.Timestamp+299))
					require.NoError(t, err)
					id, matched, err := verifier.Verify(v.headers(family), []byte(v.Payload))
					if !v.Valid {
						require.ErrorIs(t, err, webhook.ErrBadSignature)
						require.Equal(t, -1, matched)
						continue
					}
					require.NoError(t, err)
					require.Equal(t, v.ID, id)
					require.Equal(t, 1, matched, "the index of the secret that signed")
				}
			})
		}
	}
}

func TestSvixVerifier_tolerance(t *testing.T) {
	t.Parallel()

	v := load[svixVector](t, "svix_signatures.json")[0]
	for offset, want := range map[int64]error{
		-301: webhook.ErrStaleTimestamp, -300: nil, 0: nil, 300: nil, 301: webhook.ErrStaleTimestamp, 1e9: webhook.ErrStaleTimestamp,
	} {
		verifier, err := webhook.NewSvixVerifier([]string{v.Secret}, at(v.Timestamp+offset))
		require.NoError(t, err)
		_, matched, err := verifier.Verify(v.headers("svix"), []byte(v.Payload))
		require.ErrorIsf(t, err, want, "%d s later", offset)
		require.Zero(t, matched, "signed well, whenever")

		_, _, err = verifier.Verify(v.headers("svix"), []byte(v.Payload+" "))
		require.ErrorIs(t, err, webhook.ErrBadSignature)
		require.NotErrorIs(t, err, webhook.ErrStaleTimestamp)
	}
}

func TestSvixVerifier_headersOfOneFamily(t *testing.T) {
	t.Parallel()

	v := load[svixVector](t, "svix_signatures.json")[0]
	verifier, err := webhook.NewSvixVerifier([]string{v.Secret}, at(v.Timestamp))
	require.NoError(t, err)
	for _, missing := range []string{"svix-id", "svix-timestamp", "svix-signature"} {
		h := v.headers("svix")
		h.Del(missing)
		_, _, err := verifier.Verify(h, []byte(v.Payload))
		require.ErrorIs(t, err, webhook.ErrBadSignature)

		h.Set(strings.Replace(missing, "svix", "webhook", 1), v.headers("svix").Get(missing))
		_, _, err = verifier.Verify(h, []byte(v.Payload))
		require.ErrorIs(t, err, webhook.ErrBadSignature, "one header from the other family")
	}

	h := v.headers("svix")
	h.Set("svix-timestamp", "now")
	_, _, err = verifier.Verify(h, []byte(v.Payload))
	require.ErrorIs(t, err, webhook.ErrBadSignature)
}

func TestNewSvixVerifier_secrets(t *testing.T) {
	t.Parallel()

	for name, secrets := range map[string][]string{
		"none":        nil,
		"empty":       {rcSecret, ""},
		"prefix only": {"whsec_"},
		"padding":     {"whsec_===="},
		"no base64":   {"whsec_not base64!"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhook.NewSvixVerifier(secrets, time.Now)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "not base64!")
		})
	}

	// Consoles cut the padding off.
	_, err := webhook.NewSvixVerifier([]string{strings.TrimRight(rcSecret, "=")}, time.Now)
	require.NoError(t, err)
}

func FuzzSvixVerifier(f *testing.F) {
	f.Add("msg_1", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(`{"test": 2432232314}`))
	f.Add("", "-9223372036854775808", "v1, v1,, v2,x  v1", []byte(nil))
	f.Add("a.b", "99999999999999999999", "\x00\xff", []byte{0xff})
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		verifier, err := webhook.NewSvixVerifier([]string{rcSecret}, func() time.Time { return now })
		require.NoError(t, err)
		_, _, err = verifier.Verify(http.Header{
			"Svix-Id": {id}, "Svix-Timestamp": {timestamp}, "Svix-Signature": {signature},
			"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature},
		}, body)
		require.ErrorIs(t, err, webhook.ErrBadSignature, "nobody guesses a signature")
	})
}
