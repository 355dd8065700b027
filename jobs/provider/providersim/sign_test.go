package providersim_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

type vectors struct {
	Twilio []struct {
		Name, Source, Token string
		SignedURL           string `json:"signed_url"`
		Params              url.Values
		Signature           string
		Valid               bool
	}
	Svix []struct {
		Name, Source, Secret, ID string
		Timestamp                int64
		Payload, Signature       string
		Valid                    bool
	}
}

func TestSignaturesOfOtherLibraries(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/signatures.json")
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(raw, &v))
	require.Len(t, v.Twilio, 32)
	require.Len(t, v.Svix, 2)
	for _, tc := range v.Twilio {
		got := providersim.SignTwilio(tc.Token, tc.SignedURL, tc.Params)
		require.Equal(t, tc.Valid, got == tc.Signature, "%s (%s): %s", tc.Name, tc.Source, got)
	}
	for _, tc := range v.Svix {
		got, err := providersim.SignSvix(tc.Secret, tc.ID, time.Unix(tc.Timestamp, 0), []byte(tc.Payload))
		require.NoError(t, err)
		require.Equal(t, tc.Valid, got == tc.Signature, "%s (%s): %s", tc.Name, tc.Source, got)
	}
}

func TestSignTwilioLeavesTheFragmentOut(t *testing.T) {
	t.Parallel()
	form := url.Values{"A": {"1"}}
	require.Equal(t, providersim.SignTwilio("t", "https://x/y?z=1", form), providersim.SignTwilio("t", "https://x/y?z=1#rc=5&rp=all", form))
}

func TestSignSvixRefusesBadSecrets(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "whsec_", "whsec_***"} {
		_, err := providersim.SignSvix(bad, "msg_1", time.Unix(0, 0), nil)
		require.Error(t, err, bad)
	}
}

func ExampleSignTwilio() {
	fmt.Println(providersim.SignTwilio("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"},
		"From": {"+14158675309"}, "To": {"+18005551212"},
	}))
	// Output: RSOYDt4T1cUTdK1PDd93/VVr8B8=
}

func ExampleSignSvix() {
	signature, err := providersim.SignSvix("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	fmt.Println(signature, err)
	// Output: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= <nil>
}
