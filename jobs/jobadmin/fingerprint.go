package jobadmin

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"sync"
)

// Fingerprint is what an error's text has in common with others of the same cause: ids, numbers, addresses and what is
// quoted are taken out; the codes of PostgreSQL and of providers stay.
type Fingerprint struct {
	ID   string // short, for commands and addresses
	Text string
}

// fingerprintLength is how much of an error counts, in bytes: causes are told apart long before that.
const fingerprintLength = 1000

// variable finds what may differ between two errors of one cause. Each alternative is told from the others by its group.
var variable = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled once, never changed
	return regexp.MustCompile(strings.Join([]string{
		`(?P<keep>SQLSTATE [0-9A-Z]{5}|http_[0-9]{3}|\bcode [0-9]+|\([0-9]{3,6}\))`,
		`(?P<quoted>"[^"]*"|` + "`[^`]*`" + `|\B'[^']*'\B)`,
		`(?P<address>[\w.+-]+@[\w-]+\.[\w.-]+)`,
		`(?P<id>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\b(?:SM|MM|AC|MG)[0-9a-fA-F]{32}\b|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{15,}\b)`,
		`(?P<number>\+?[0-9]+(?:[.,:][0-9]+)*)`,
	}, "|"))
})

// FingerprintOf makes an error's fingerprint.
func FingerprintOf(errorText string) Fingerprint {
	text := errorText
	if len(text) > fingerprintLength {
		text = strings.ToValidUTF8(text[:fingerprintLength], "")
	}
	pattern := variable()
	names := pattern.SubexpNames()
	var out strings.Builder
	end := 0
	for _, at := range pattern.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[end:at[0]])
		end = at[1]
		for group := 1; group < len(names); group++ {
			if at[2*group] < 0 {
				continue
			}
			switch names[group] {
			case "keep":
				out.WriteString(text[at[0]:at[1]])
			case "quoted":
				out.WriteString(text[at[0]:at[0]+1] + "…" + text[at[1]-1:at[1]])
			default:
				out.WriteString("<" + names[group] + ">")
			}
		}
	}
	out.WriteString(text[end:])
	normal := strings.Join(strings.Fields(out.String()), " ")
	sum := sha256.Sum256([]byte(normal))
	return Fingerprint{ID: hex.EncodeToString(sum[:4]), Text: normal}
}

// shape writes numbers that stand alone as 0, which a fingerprint takes out anyway: texts of one shape have one fingerprint.
// That is found in a hundredth of the time of a fingerprint, and thousands of failures differ in nothing else.
func shape(text string) string {
	if len(text) > fingerprintLength {
		return text // where it is cut off must not move
	}
	var out []byte
	end := 0
	for i := 0; i < len(text); i++ {
		if !digit(text[i]) || i > 0 && text[i-1] != ' ' {
			continue
		}
		from := i
		for i < len(text) && digit(text[i]) {
			i++
		}
		// What is long may be an id, and what stands behind these words is kept.
		if i-from > 15 || !endsNumber(text[i:]) || strings.HasSuffix(text[:from], "code ") || strings.HasSuffix(text[:from], "SQLSTATE ") {
			continue
		}
		out = append(append(out, text[end:from]...), '0')
		end = i
	}
	if end == 0 {
		return text
	}
	return string(append(out, text[end:]...))
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// endsNumber reports whether a number that this follows goes on no further.
func endsNumber(rest string) bool {
	if rest != "" && strings.IndexByte(":,;)", rest[0]) >= 0 {
		rest = rest[1:]
	}
	return rest == "" || rest[0] == ' '
}
