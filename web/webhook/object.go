package webhook

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"
)

// object is a JSON object of which little is known: what is missing or of another type reads as empty.
type object map[string]json.RawMessage

// parseObject refuses what is not one JSON object.
func parseObject(body []byte) (object, error) {
	var o object
	if err := json.Unmarshal(body, &o); err != nil || o == nil {
		return nil, fmt.Errorf("%w: not a JSON object", errMalformed) // err could quote the body
	}
	return o, nil
}

func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return s
}

func (o object) object(key string) object {
	var child object
	if json.Unmarshal(o[key], &child) != nil {
		return nil
	}
	return child
}

// firstText reads a string, or the first of an array of strings.
func (o object) firstText(key string) string {
	var list []json.RawMessage
	if json.Unmarshal(o[key], &list) != nil {
		return o.text(key)
	}
	if len(list) == 0 {
		return ""
	}
	return object{key: list[0]}.text(key)
}

// emailAddress returns the bare address in lower case, as messages are addressed. It is not ok for what is no address.
func emailAddress(s string) (string, bool) {
	if parsed, err := mail.ParseAddress(s); err == nil {
		s = parsed.Address
	}
	s = strings.ToLower(strings.TrimSpace(s))
	if at := strings.LastIndexByte(s, '@'); at < 1 || at == len(s)-1 {
		return "", false
	}
	return s, true
}
