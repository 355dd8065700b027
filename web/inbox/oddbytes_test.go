package inbox_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/inbox"
)

func TestAccept_oddBytesNeverFailAReceipt(t *testing.T) {
	t.Parallel()

	odd := []string{
		"", "\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80" /* a lone surrogate */, "\xc3", "\u2028\u202e\ufffe", `\u0000`, `"\`, "\r\n\t\x1b[0m",
		strings.Repeat("x", 3000), strings.Repeat("é", 3000), strings.Repeat("\x00", 3000), strings.Repeat("\xff", 3000),
		strings.Repeat("😀", 150),
	}

	b := started(t, nil)
	var receipts []inbox.Receipt
	for _, s := range odd {
		receipts = append(receipts, inbox.Receipt{
			Provider:   jobs.ProviderTwilio,
			Kind:       s,
			Query:      s,
			Headers:    []inbox.Header{{Name: "X-" + s, Values: []string{s, s}}, {Name: s}},
			Body:       []byte(s),
			DedupeKey:  "ts:" + s,
			ContactKey: s,
			Hold:       &inbox.Hold{Channel: jobs.ChannelSMS, Address: s},
		}, inbox.Receipt{
			Provider:  jobs.ProviderTwilio,
			Kind:      jobs.KindInboundMessage,
			Body:      []byte(s),
			DedupeKey: "ti:" + s,
			Hold:      &inbox.Hold{Channel: s, Address: s},
		})
	}
	answers := b.acceptAll(t.Context(), receipts)
	for n, a := range answers {
		require.NoErrorf(t, a.err, "receipt %d", n)
		require.Equal(t, inbox.Accepted, a.result, "keys that differ stay different")

		var body []byte
		require.NoError(t, b.pool.QueryRow(t.Context(), "SELECT body FROM webhook_events WHERE id = $1", a.id).Scan(&body))
		require.Equal(t, odd[n/2], string(body), "the body is stored byte for byte")
	}
	b.requireWhole(t, len(receipts))
	require.Zero(t, b.count(t, "webhook_events WHERE length(kind) > 100 OR octet_length(dedupe_key) > 200"))

	for _, a := range b.acceptAll(t.Context(), receipts) {
		require.NoError(t, a.err)
		require.Equal(t, inbox.Duplicate, a.result)
	}
}
