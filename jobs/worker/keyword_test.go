package worker

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, optOutType string
		want             action
	}{
		{"STOP", "", actionOptOut},
		{"stop", "", actionOptOut},
		{"  Stop \r\n", "", actionOptOut},
		{"Stop.", "", actionOptOut},
		{"STOP!!", "", actionOptOut},
		{"\u200bstop\ufeff", "", actionOptOut},
		{"STOPALL", "", actionOptOut},
		{"unsubscribe", "", actionOptOut},
		{"End", "", actionOptOut},
		{"QUIT", "", actionOptOut},
		{"Cancel", "", actionOptOut},
		{"REVOKE", "", actionOptOut},
		{"OptOut", "", actionOptOut},
		{"opt  out", "", actionOptOut},
		{"Opt-Out", "", actionOptOut},
		{"ALTO", "", actionOptOut},
		{"parar", "", actionOptOut},
		{"Baja", "", actionOptOut},
		{"CANCELAR", "", actionOptOut},
		{"salir", "", actionOptOut},
		{"please stop texting me", "", actionReply},
		{"no me escriban más", "", actionReply},
		{"Stop by tomorrow", "", actionReply},
		{"START", "", actionOptIn},
		{"yes", "", actionOptIn},
		{"Unstop", "", actionOptIn},
		{"HELP", "", actionHelp},
		{"info", "", actionHelp},
		{"AYUDA", "", actionHelp},
		{"", "", actionReply},
		{"whatever my carrier calls it", "STOP", actionOptOut},
		{"whatever", "start", actionOptIn},
		{"STOP", "HELP", actionHelp},
	} {
		require.Equal(t, c.want, classify(c.text, c.optOutType), "%q %q", c.text, c.optOutType)
	}
}

func TestDecodeBody(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// nyaruka/courier, handlers/twiml/handlers_test.go: cut off within a character.
		"QmFubm9uIEV4cGxhaW5zIFRoZSBXb3JsZCAuLi4K4oCcVGhlIENhbXAgb2YgdGhlIFNhaW50c+KA": "Bannon Explains The World ...\n“The Camp of the Saints",
		"STOP":                         "STOP",
		"abcd":                         "abcd",
		"Internationalisierungsfreund": "Internationalisierungsfreund",
		"a perfectly ordinary message": "a perfectly ordinary message",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAA": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		require.Equal(t, want, decodeBody(in))
	}
}

func TestStripChannel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"+14133881111": "+14133881111", " +14133881111 ": "+14133881111", "whatsapp:+14133881111": "+14133881111", "": "", "rcs:x:y": "y",
	} {
		require.Equal(t, want, stripChannel(in))
	}
}

func TestCleanKey_fitsAnIndex(t *testing.T) {
	t.Parallel()
	require.Equal(t, "SM1", cleanKey("SM1"))
	long := cleanKey(strings.Repeat("x", 1<<20))
	require.Less(t, len(long), maxKey)
	require.NotEqual(t, long, cleanKey(strings.Repeat("y", 1<<20)))
	require.True(t, utf8.ValidString(cleanKey("\xff\x00")))
	require.NotContains(t, cleanKey("a\x00b"), "\x00")
}

func FuzzInboundText(f *testing.F) {
	for _, s := range []string{"STOP", "Stop.", "QmFubm9uIEV4cGxhaW5zIFRoZSBXb3JsZCAuLi4K", "\xff\xfe", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := decodeBody(s)
		a := classify(text, "")
		// What is kept can be stored, and says the same: nothing is decided on text that an operator can't see.
		kept := clean(text)
		if !utf8.ValidString(kept) || strings.Contains(kept, "\x00") {
			t.Fatalf("%q can't be stored", kept)
		}
		if utf8.ValidString(text) && !strings.Contains(text, "\x00") && classify(kept, "") != a {
			t.Fatalf("%q reads otherwise once stored", s)
		}
	})
}
