package segments_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/jobs/segments"
)

func TestCount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		body     string
		segments int
		encoding string
		chars    int
	}{
		{"empty", "", 0, "GSM-7", 0},
		{"one character", "a", 1, "GSM-7", 1},
		{"fills one GSM-7 segment", strings.Repeat("a", 160), 1, "GSM-7", 160},
		{"one over", strings.Repeat("a", 161), 2, "GSM-7", 161},
		{"fills two parts", strings.Repeat("a", 306), 2, "GSM-7", 306},
		{"one over two parts", strings.Repeat("a", 307), 3, "GSM-7", 307},
		{"extended characters count double", strings.Repeat("€", 80), 1, "GSM-7", 160},
		{"extended over the single limit", strings.Repeat("€", 81), 2, "GSM-7", 162},
		{"every extended character", "^{}\\[]~|€", 1, "GSM-7", 18},
		{"an escape does not straddle parts", strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), 3, "GSM-7", 306},
		{"the same length without the escape", strings.Repeat("a", 306), 2, "GSM-7", 306},
		{"Spanish that GSM-7 has", "¿Qué año?", 1, "GSM-7", 9},
		{"Spanish that GSM-7 lacks", "Adiós", 1, "UCS-2", 5},
		{"fills one UCS-2 segment", strings.Repeat("ó", 70), 1, "UCS-2", 70},
		{"one over one UCS-2 segment", strings.Repeat("ó", 71), 2, "UCS-2", 71},
		{"fills two UCS-2 parts", strings.Repeat("ó", 134), 2, "UCS-2", 134},
		{"one over two UCS-2 parts", strings.Repeat("ó", 135), 3, "UCS-2", 135},
		{"emoji are two units", strings.Repeat("🙂", 35), 1, "UCS-2", 70},
		{"emoji over the limit", strings.Repeat("🙂", 36), 2, "UCS-2", 72},
		{"a surrogate pair does not straddle parts", strings.Repeat("ó", 66) + "🙂" + strings.Repeat("ó", 66), 3, "UCS-2", 134},
		{"one foreign character turns all to UCS-2", strings.Repeat("a", 100) + "✓", 2, "UCS-2", 101},
		{"in UCS-2 an extended character is one unit", "€✓", 1, "UCS-2", 2},
		{"lower-case c cedilla is not in GSM-7", "ç", 1, "UCS-2", 1},
		{"backtick is not in GSM-7", "`", 1, "UCS-2", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n, encoding, chars := segments.Count(tc.body)
			require.Equal(t, tc.encoding, encoding)
			require.Equal(t, tc.chars, chars)
			require.Equal(t, tc.segments, n)
		})
	}
}

func TestCount_segmentsHoldTheirText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringOfN(rapid.RuneFrom([]rune("ab€[ñé ó✓🙂\n")), 0, 700, -1).Draw(t, "body")
		n, encoding, chars := segments.Count(body)
		single, part := 160, 153
		if encoding == segments.EncodingUCS2 {
			single, part = 70, 67
			require.Equal(t, len(utf16.Encode([]rune(body))), chars)
		}
		switch {
		case chars == 0:
			require.Zero(t, n)
		case chars <= single:
			require.Equal(t, 1, n)
		default:
			// A part can lose at most one unit to a character that would straddle.
			require.GreaterOrEqual(t, n*part, chars)
			require.LessOrEqual(t, (n-1)*(part-1), chars)
		}
	})
}

func FuzzCount(f *testing.F) {
	f.Add("Hello")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, body string) {
		n, encoding, chars := segments.Count(body)
		require.Contains(t, []string{segments.EncodingGSM7, segments.EncodingUCS2}, encoding)
		require.LessOrEqual(t, n, chars)
		require.Equal(t, body == "", n == 0)
	})
}

func ExampleCount() {
	n, encoding, chars := segments.Count("Your new website is ready 🙂")
	fmt.Println(n, encoding, chars)
	// Output: 1 UCS-2 28
}
