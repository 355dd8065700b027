package worker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// action is what an inbound message asks for.
type action string

const (
	actionReply  action = "reply"
	actionOptOut action = "opt_out"
	actionOptIn  action = "opt_in"
	actionHelp   action = "help"
)

// classify names the action of an inbound message. Twilio's own word (OptOutType, sent with Advanced Opt-Out)
// counts first; else Twilio's default keywords, the hyphenated forms and the Spanish ones, matched on the
// whole text. Anything else is a reply: a free-text revocation needs an operator's eye.
func classify(text, optOutType string) action {
	switch strings.ToUpper(strings.TrimSpace(optOutType)) {
	case "STOP":
		return actionOptOut
	case "START":
		return actionOptIn
	case "HELP":
		return actionHelp
	}
	switch keyword(text) {
	case "STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT", "OPT OUT", "OPT-OUT",
		"ALTO", "PARAR", "BAJA", "CANCELAR", "SALIR":
		return actionOptOut
	case "START", "YES", "UNSTOP":
		return actionOptIn
	case "HELP", "INFO", "AYUDA":
		return actionHelp
	}
	return actionReply
}

// isYes reports whether an opt-in is the ambiguous keyword.
func isYes(text string) bool { return keyword(text) == "YES" }

// keyword is the form in which a whole text is compared. Trailing punctuation counts for nothing: "Stop." is
// meant as STOP, and refusing to see that would be a text after STOP.
func keyword(text string) string {
	text = strings.TrimFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r)
	})
	return strings.ToUpper(strings.Join(strings.Fields(text), " "))
}

// stripChannel takes a channel's prefix off an address ("whatsapp:+1…").
func stripChannel(address string) string {
	address = strings.TrimSpace(address)
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		return strings.TrimSpace(address[i+1:])
	}
	return address
}

// minBase64 is the shortest text taken for base64: shorter ones are likelier to be a word.
const minBase64 = 24

// decodeBody undoes the base64 in which Twilio sometimes delivers a long text. Only what decodes to readable
// text with a space in it is taken for that; a cut-off last character is dropped.
func decodeBody(text string) string {
	if len(text) < minBase64 || strings.ContainsAny(text, " \t\r\n") {
		return text
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	for range utf8.UTFMax - 1 {
		if utf8.Valid(raw) || len(raw) == 0 {
			break
		}
		raw = raw[:len(raw)-1]
	}
	decoded := string(raw)
	if !utf8.ValidString(decoded) || !strings.ContainsRune(decoded, ' ') {
		return text
	}
	for _, r := range decoded {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return text
		}
	}
	return decoded
}

// clean makes text storable: PostgreSQL takes neither NUL nor broken UTF-8.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// maxKey keeps what a provider names within what an index can hold (PostgreSQL: 2,704 bytes); real ids have
// some 40 characters.
const maxKey = 200

// cleanKey is [clean] for ids that end up in a key: one that is too long becomes its digest.
func cleanKey(s string) string {
	s = clean(s)
	if len(s) <= maxKey {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}
