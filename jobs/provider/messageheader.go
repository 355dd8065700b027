package provider

import (
	"strconv"
	"strings"
)

// MessageHeader is the mail header that names our message and attempt. Delivery
// events of mail providers repeat the headers of the mail, so it matches an
// event to an attempt even where the Message-ID was rewritten on the way.
const MessageHeader = "X-Onward-Message"

// FormatMessageHeader is the value of MessageHeader: "ID; attempt=N".
func FormatMessageHeader(id string, attempt int) string {
	return id + "; attempt=" + strconv.Itoa(attempt)
}

// ParseMessageHeader reads what FormatMessageHeader wrote. ok is false for
// anything else, since the value comes back from outside.
func ParseMessageHeader(value string) (id string, attempt int, ok bool) {
	id, rest, found := strings.Cut(value, ";")
	id = strings.TrimSpace(id)
	digits, isAttempt := strings.CutPrefix(strings.TrimSpace(rest), "attempt=")
	attempt, err := strconv.Atoi(digits)
	if !found || !isAttempt || err != nil || attempt < 0 || id == "" {
		return "", 0, false
	}
	return id, attempt, true
}
