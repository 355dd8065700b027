package track

import (
	"strings"
	"unicode/utf8"

	"onward/jobs"
)

const dots = "•••"

// mask shows enough of an address for its owner to know it, and too little for anyone else: links are
// forwarded. "ana@example.com" is shown as "a•••@e•••.com", "+50255551234" as "•••1234".
func mask(channel, address string) string {
	if channel == jobs.ChannelSMS {
		if len(address) < 8 { // a short code: nobody's own
			return dots
		}
		return dots + address[len(address)-4:]
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return dots
	}
	domain := address[at+1:]
	top := ""
	if dot := strings.LastIndexByte(domain, '.'); dot > 0 {
		top = domain[dot:]
		domain = domain[:dot]
	}
	return firstRune(address[:at]) + dots + "@" + firstRune(domain) + dots + top
}

func firstRune(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError {
		return ""
	}
	return s[:size]
}
