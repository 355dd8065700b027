package messagetext

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is a piece of a text: plain, or a link.
type span struct {
	text string
	link bool
}

// spans cuts a text at its links: whatever begins with http:// or https:// at the start of a word, up to
// the next space or quote. Punctuation at its end belongs to the sentence, and a closing bracket too,
// unless the link opened it.
func spans(text string) []span {
	var list []span
	plain := 0
	for at := 0; at < len(text); {
		n := linkLength(text, at)
		if n == 0 {
			_, size := utf8.DecodeRuneInString(text[at:])
			at += size
			continue
		}
		if plain < at {
			list = append(list, span{text: text[plain:at]})
		}
		list = append(list, span{text: text[at : at+n], link: true})
		at += n
		plain = at
	}
	if plain < len(text) {
		list = append(list, span{text: text[plain:]})
	}
	return list
}

// linkLength is the length of the link that begins at a byte, 0 where none does.
func linkLength(text string, at int) int {
	if c := text[at]; c != 'h' && c != 'H' {
		return 0
	}
	if before, _ := utf8.DecodeLastRuneInString(text[:at]); unicode.IsLetter(before) || unicode.IsDigit(before) {
		return 0
	}
	rest := text[at:]
	if !hasPrefixFold(rest, "http://") && !hasPrefixFold(rest, "https://") {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>\"`{}|\\^", r) || r == utf8.RuneError
	})
	if end < 0 {
		end = len(rest)
	}
	link := trimSentence(rest[:end])
	u, err := url.Parse(link)
	if err != nil || u.Hostname() == "" {
		return 0
	}
	return len(link)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// trimSentence drops what ends a sentence rather than a link.
func trimSentence(link string) string {
	balance := strings.Count(link, "(") - strings.Count(link, ")")
	for {
		last, size := utf8.DecodeLastRuneInString(link)
		switch {
		case strings.ContainsRune(".,;:!?'*_]»”’…", last):
		case last == ')' && balance < 0:
			balance++
		default:
			return link
		}
		link = link[:len(link)-size]
	}
}
