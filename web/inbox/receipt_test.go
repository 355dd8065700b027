package inbox

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"onward/jobs"
)

func TestStoredDedupeKey(t *testing.T) {
	t.Parallel()

	require.Equal(t, "ts:SM1:sent", storedDedupeKey("ts:SM1:sent"))
	require.Equal(t, strings.Repeat("k", 200), storedDedupeKey(strings.Repeat("k", 200)))

	long := "ts:" + strings.Repeat("é", 200)
	stored := storedDedupeKey(long)
	require.True(t, strings.HasPrefix(stored, "ts:é"))
	require.True(t, utf8.ValidString(stored))
	require.LessOrEqual(t, len(stored), maxDedupeKey)
	require.Equal(t, stored, storedDedupeKey(long))
	require.NotEqual(t, stored, storedDedupeKey(long+"é"))

	require.NotEqual(t, storedDedupeKey("ts:a\x00"), storedDedupeKey("ts:a\xff"), "both are cleaned to the same text")
}

func TestNewEntry_cutsTheKindByCharacters(t *testing.T) {
	t.Parallel()

	e, err := newEntry(Receipt{Provider: jobs.ProviderResend, Kind: strings.Repeat("é", 101)}, time.Now)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("é", 100), e.kind)
}

func FuzzNewEntry(f *testing.F) {
	f.Add("message_status", "m=1&a=1", "Content-Type", "text/plain", "ts:SM1:sent", "sms:+15550000001", []byte("Body=x"))
	f.Add("\x00", "\xff", "\xed\xa0\x80", `\u0000`, strings.Repeat("\xff", 300), strings.Repeat("é", 200), []byte(nil))
	f.Fuzz(func(t *testing.T, kind, query, header, value, key, contact string, body []byte) {
		e, err := newEntry(Receipt{
			Provider: jobs.ProviderTwilio, Kind: kind, Query: query, Headers: []Header{{Name: header, Values: []string{value}}},
			Body: body, DedupeKey: key, ContactKey: contact, Hold: &Hold{Channel: kind, Address: contact},
		}, time.Now)
		require.NoError(t, err)
		for _, text := range []string{e.kind, e.query, string(e.headers), e.dedupeKey, e.contactKey} {
			require.True(t, utf8.ValidString(text))
			require.NotContains(t, text, "\x00")
		}
		require.NotContains(t, strings.ReplaceAll(string(e.headers), `\\`, ""), `\u0000`)
		require.LessOrEqual(t, utf8.RuneCountInString(e.kind), maxKind)
		require.NotEmpty(t, e.dedupeKey)
		require.LessOrEqual(t, len(e.dedupeKey), maxDedupeKey)
		require.NotNil(t, e.body)
	})
}
