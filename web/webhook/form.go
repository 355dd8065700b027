package webhook

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxParameters is how many a form may have, as for net/url.
const maxParameters = 10_000

// Form is a POST form, decoded. A slice and not [url.Values], whose map costs a callback more than its signature does.
type Form []Parameter

// Parameter is one of a form's.
type Parameter struct{ Key, Value string }

// ParseForm takes what [url.ParseQuery] takes, and reads the same in it. It never returns nil without an error.
func ParseForm(body []byte) (Form, error) {
	n := bytes.Count(body, []byte{'&'}) + 1
	if n > maxParameters {
		return nil, fmt.Errorf("%w: more than %d parameters", errMalformed, maxParameters)
	}
	form := make(Form, 0, n)
	for rest := string(body); rest != ""; {
		var pair string
		if pair, rest, _ = strings.Cut(rest, "&"); pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		var err error
		if key, err = url.QueryUnescape(key); err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil || strings.Contains(pair, ";") {
			return nil, fmt.Errorf("%w: not a form", errMalformed) // err would quote the body
		}
		form = append(form, Parameter{key, value})
	}
	return form, nil
}

// Get returns the first value of a key, or "".
func (f Form) Get(key string) string {
	for _, p := range f {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// appendSigned appends the text that Twilio signs of the parameters: keys in bytewise order, each value once and in order,
// its key repeated before it. It sorts the form by key; values of one key keep their order.
func (f Form) appendSigned(text []byte) []byte {
	slices.SortStableFunc(f, func(a, b Parameter) int { return cmp.Compare(a.Key, b.Key) })
	for len(f) > 0 {
		same := 1
		for same < len(f) && f[same].Key == f[0].Key {
			same++
		}
		values := f[:same]
		if same > 1 {
			values = slices.Clone(values)
			slices.SortFunc(values, func(a, b Parameter) int { return cmp.Compare(a.Value, b.Value) })
			values = slices.Compact(values)
		}
		for _, p := range values {
			text = append(append(text, p.Key...), p.Value...)
		}
		f = f[same:]
	}
	return text
}
