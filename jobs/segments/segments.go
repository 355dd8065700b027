// Package segments counts what a text message will be billed as. It does no I/O and imports the standard library
// alone.
package segments

import "strings"

// Encodings that [Count] names.
const (
	EncodingGSM7 = "GSM-7"
	EncodingUCS2 = "UCS-2"
)

// Limits of one segment. A segment of a long text loses six or seven units to
// the header that joins the parts (3GPP TS 23.040, 9.2.3.24.1).
const (
	gsmSingle, gsmPart = 160, 153 // septets
	ucsSingle, ucsPart = 70, 67   // UTF-16 units
)

// gsmBasic and gsmExtended are the default alphabet of 3GPP TS 23.038, 6.2.1.
// An extended character costs an escape and itself, so it counts double.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "^{}\\[]~|€\f"
)

// Count says what a text will be billed as: the number of segments, the
// encoding that its characters force, and the length in that encoding's units
// (septets for GSM-7, UTF-16 units for UCS-2). An empty text has no segment.
//
// A character of two units never straddles two segments, so a long text can
// need one segment more than its length divided by the limit.
func Count(body string) (segments int, encoding string, chars int) {
	widths := make([]int, 0, len(body))
	encoding = EncodingGSM7
	for _, r := range body {
		w := gsmWidth(r)
		if w == 0 {
			encoding = EncodingUCS2
			break
		}
		widths = append(widths, w)
	}
	single, part := gsmSingle, gsmPart
	if encoding == EncodingUCS2 {
		single, part = ucsSingle, ucsPart
		widths = widths[:0]
		for _, r := range body {
			widths = append(widths, utf16Width(r))
		}
	}
	for _, w := range widths {
		chars += w
	}
	if chars <= single {
		return min(chars, 1), encoding, chars
	}
	segments = 1
	used := 0
	for _, w := range widths {
		if used+w > part {
			segments++
			used = 0
		}
		used += w
	}
	return segments, encoding, chars
}

// gsmWidth is the number of septets of a character, 0 when GSM-7 lacks it.
func gsmWidth(r rune) int {
	switch {
	case strings.ContainsRune(gsmExtended, r):
		return 2
	case strings.ContainsRune(gsmBasic, r):
		return 1
	default:
		return 0
	}
}

func utf16Width(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}
