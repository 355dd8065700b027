package console

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"mime"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// pair is a name and its value.
type pair struct{ Name, Value string }

// bodyView is a raw body as people read it.
type bodyView struct {
	Kind  string // form, json, text, binary or empty
	Pairs []pair // of a form, in its order
	Text  string // else
	Raw   string // as it came, to be copied; hexadecimal where it is binary
	Size  int    // in bytes
	Cut   bool   // only the first shownBody bytes are shown
}

// shownBody is how much of a body a page shows, in bytes. Bodies have 1 MiB at most and hardly ever 10 KiB.
const shownBody = 64 << 10

// viewBody makes a body readable. What it is goes by its type, and where that is wrong by how it looks.
func viewBody(body []byte, contentType string) bodyView {
	b := bodyView{Size: len(body)}
	if len(body) == 0 {
		b.Kind = "empty"
		return b
	}
	media, _, _ := mime.ParseMediaType(contentType)
	whole := body
	if len(body) > shownBody {
		body, b.Cut = body[:shownBody], true
	}
	if !utf8.Valid(whole) || bytes.IndexByte(whole, 0) >= 0 {
		b.Kind, b.Text = "binary", hex.Dump(body[:min(len(body), 4<<10)])
		b.Raw = hex.EncodeToString(body)
		return b
	}
	b.Kind, b.Raw = "text", strings.ToValidUTF8(string(body), "")
	b.Text = b.Raw
	var out bytes.Buffer
	if !b.Cut && json.Indent(&out, whole, "", "  ") == nil {
		b.Kind, b.Text = "json", out.String()
		return b
	}
	if media == "application/x-www-form-urlencoded" {
		if pairs := formPairs(b.Raw); len(pairs) > 0 {
			b.Kind, b.Pairs = "form", pairs
		}
	}
	return b
}

// formPairs reads a form or a query, in its order. What cannot be decoded stays as it is.
func formPairs(raw string) []pair {
	var list []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		list = append(list, pair{unescape(name), unescape(value)})
	}
	return list
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil && utf8.ValidString(u) {
		return u
	}
	return s
}

func headerPairs(headers map[string][]string) []pair {
	var list []pair
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			list = append(list, pair{name, value})
		}
	}
	return list
}

func headerOf(headers map[string][]string, name string) string {
	for key, values := range headers {
		if textproto.CanonicalMIMEHeaderKey(key) == name && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// pairQuery is a query of one value.
func pairQuery(name, value string) string { return url.Values{name: {value}}.Encode() }
