package bench

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/webhook"
)

// What the generator sends is what the product's own verifier takes, as net/http reads it.
func TestCallbacks_areSignedAsTwilioSigns(t *testing.T) {
	t.Parallel()
	verifier, err := webhook.NewTwilioVerifier(publicURL, []string{twilioToken})
	require.NoError(t, err)
	c := newCallbacks(1_700_000_000_000, "127.0.0.1:1")
	for n := int64(1); n < 50; n++ {
		raw := c.appendRequest(nil, n, c.sign(n))
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		require.NoError(t, err)
		body, err := io.ReadAll(req.Body)
		require.NoError(t, err)
		form, err := webhook.ParseForm(body)
		require.NoError(t, err)
		_, err = verifier.VerifyForm(req.RequestURI, form, req.Header.Get("X-Twilio-Signature"))
		require.NoError(t, err)
		require.Equal(t, sidOf(n), form.Get("MessageSid"))
		require.Equal(t, phoneOf(n), form.Get("To"))
		require.Equal(t, madeID(c.base, idMessage, n).String(), req.URL.Query().Get("m"))
	}
}

func TestMadeID(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	id := madeID(at.UnixMilli(), idMessage, 7)
	require.Equal(t, uuid.Version(7), id.Version())
	require.Equal(t, uuid.RFC4122, id.Variant())
	seconds, nanoseconds := id.Time().UnixTime()
	require.Equal(t, at.Add(7*time.Millisecond), time.Unix(seconds, nanoseconds).UTC())
	require.NotEqual(t, id, madeID(at.UnixMilli(), idReceipt, 7))
	require.Equal(t, -1, bytes.Compare(id[:], func() []byte { next := madeID(at.UnixMilli(), idMessage, 8); return next[:] }()), "ordered by time")
}
