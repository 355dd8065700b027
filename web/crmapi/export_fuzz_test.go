package crmapi

import (
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever other people write, no cell begins as a formula does, and none is lost on the way through a CSV file.
func FuzzCSVCell(f *testing.F) {
	for _, s := range []string{"", "=1+1", "+50255551234", "-5", "@SUM(A1)", "\t=1", "a,\"b\"\n", "+1+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, '\r') {
			return // JSON replaces the one, a CSV reader the other
		}
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		cell, err := csvCell(raw)
		if err != nil {
			t.Fatal(err)
		}
		if cell != "" && strings.ContainsRune("=@\t\r\n", rune(cell[0])) {
			t.Fatalf("%q begins as a formula", cell)
		}
		if cell != "" && strings.ContainsRune("+-", rune(cell[0])) && !number.MatchString(cell) {
			t.Fatalf("%q begins as a formula", cell)
		}
		if strings.TrimPrefix(cell, "'") != s && cell != s {
			t.Fatalf("%q became %q", s, cell)
		}
		var out strings.Builder
		w := csv.NewWriter(&out)
		if err := w.Write([]string{"x", cell}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		back, err := csv.NewReader(strings.NewReader(out.String())).Read()
		if err != nil || back[1] != cell {
			t.Fatalf("%q was read as %q: %v", cell, back, err)
		}
	})
}

// A list of words is one cell, from which it can be read again, and which is no formula either.
func FuzzCSVCell_words(f *testing.F) {
	f.Add("vip", "spring fair")
	f.Add("", "a;b")
	f.Add("=1", "@x")
	f.Add("]", "\"")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // JSON replaces them
		}
		words := []string{a, b}
		raw, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		cell, err := csvCell(raw)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune("=@\t\r\n", rune(cell[0])) {
			t.Fatalf("%q begins as a formula", cell)
		}
		var back []string
		if json.Unmarshal([]byte(cell), &back) != nil {
			if back = strings.Split(strings.TrimPrefix(cell, "'"), ";"); strings.HasPrefix(a, "'") {
				back = strings.Split(cell, ";")
			}
		}
		if !slices.Equal(back, words) {
			t.Fatalf("%q became %q", words, cell)
		}
	})
}

func TestCSVCell_lists(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`[]`: "", `null`: "", `["vip"]`: "vip", `["spring fair","vip"]`: "spring fair;vip", `["=1","b"]`: "'=1;b",
		`"＝1+1"`: "'＝1+1", `"＠x"`: "'＠x", `"é=1"`: "é=1",
		`["a;b","c"]`: `["a;b","c"]`, `[{"reason":"silent"}]`: `[{"reason":"silent"}]`, `[1,2]`: `[1,2]`, `{}`: `{}`,
	} {
		got, err := csvCell([]byte(raw))
		if err != nil || got != want {
			t.Errorf("%s became %q, not %q: %v", raw, got, want, err)
		}
	}
}

// A cursor comes from outside: it is read or refused, and nothing else.
func FuzzCursor(f *testing.F) {
	f.Add("eyJsIjoiam9icyIsInAiOnsiaSI6MX19")
	f.Add("")
	f.Add("%%%")
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = position[byID](Paging{Cursor: s}, "jobs")
		_, _ = position[receiptPosition](Paging{Cursor: s}, "webhook-events")
	})
}
