package crmapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What readers of queries and of JSON let pass without a word is refused, for it means other than was asked: a filter that is
// dropped selects everyone.

const (
	unstorableText    = "contains a zero byte or broken UTF-8"
	unexpectedMember  = "unexpected property" // huma's words
	repeatedMember    = "is given more than once"
	repeatedParameter = "is given more than once: separate values with commas where any of them may be"
)

// queries refuses a query that cannot be read to its end, and parameters that are given twice or hold what is no text.
func queries(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeInvalid(w, "query", "is malformed: write % as %25 and ; as %3B")
			return
		}
		if !isText(r.URL.Path) {
			writeProblem(w, http.StatusNotFound, "there is no such path: see /docs")
			return
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if list := values[name]; len(list) > 1 {
				writeInvalid(w, "query."+name, repeatedParameter)
				return
			} else if !isText(list[0]) {
				writeInvalid(w, "query."+name, unstorableText)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// fault is what is wrong at a place in a body.
type fault struct{ place, message string }

// readStrictly finds members of JSON that are given twice, whose name is ours but for its case, and texts with zero bytes. Of what is
// no JSON it says nothing.
func readStrictly(body []byte) *fault {
	if !json.Valid(body) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return strictValue(d)
}

func strictValue(d *json.Decoder) *fault {
	token, _ := d.Token() // valid, as was seen
	switch v := token.(type) {
	case string:
		if !isText(v) {
			return &fault{message: unstorableText}
		}
	case json.Delim:
		var f *fault
		if v == '{' {
			f = strictMembers(d)
		} else {
			f = strictItems(d)
		}
		_, _ = d.Token() // its end
		return f
	}
	return nil
}

func strictMembers(d *json.Decoder) *fault {
	seen := map[string]bool{}
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		switch {
		case !isMember(name):
			return &fault{"." + name, unexpectedMember}
		case seen[name]:
			return &fault{"." + name, repeatedMember}
		}
		seen[name] = true
		if f := strictValue(d); f != nil {
			return &fault{"." + name + f.place, f.message}
		}
	}
	return nil
}

func strictItems(d *json.Decoder) *fault {
	for i := 0; d.More(); i++ {
		if f := strictValue(d); f != nil {
			return &fault{"[" + strconv.Itoa(i) + "]" + f.place, f.message}
		}
	}
	return nil
}

// isMember reports whether a name is written as all of ours are. Go's reader of JSON takes any case, and letters that fold to ours.
func isMember(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}
