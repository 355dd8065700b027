package crmapi

import (
	"encoding/csv"
	"encoding/json"
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
