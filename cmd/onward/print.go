package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// listing prints a list: aligned columns under their names on a terminal, plain lines with tabs in between in a pipe,
// or an object a line.
type listing struct {
	columns *tabwriter.Writer // nil: plain lines
	w       io.Writer
	json    *json.Encoder // nil: not asked for
}

// newListing begins a list whose columns have these names.
func (t *terminal) newListing(asJSON bool, names ...string) *listing {
	l := &listing{w: t.stdout}
	switch {
	case asJSON:
		l.json = json.NewEncoder(t.stdout)
	case t.isTerminal():
		l.columns = tabwriter.NewWriter(t.stdout, 0, 8, 2, ' ', 0)
		l.w = l.columns
		fmt.Fprintln(l.w, strings.ToUpper(strings.Join(names, "\t")))
	}
	return l
}

// row prints one entry: the object where JSON was asked for, else its cells. An empty cell is a dash.
func (l *listing) row(object any, cells ...string) error {
	if l.json != nil {
		return l.json.Encode(object)
	}
	for i, c := range cells {
		// Neither a tab nor a line's end in a cell may pass for one of ours.
		if c = visible(strings.Join(strings.Fields(c), " ")); c == "" {
			c = "-"
		}
		cells[i] = c
	}
	_, err := fmt.Fprintln(l.w, strings.Join(cells, "\t"))
	return err
}

// end prints what is left.
func (l *listing) end() error {
	if l.columns != nil {
		return l.columns.Flush()
	}
	return nil
}

// isTerminal reports whether somebody reads stdout as it comes.
func (t *terminal) isTerminal() bool {
	f, ok := t.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// visible writes control characters out, so that what somebody else wrote can't command the terminal that shows it.
// Line ends and tabs stay.
func visible(s string) string {
	if strings.IndexFunc(s, controls) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if controls(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func controls(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// when writes a time for people and programs alike.
func when(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

// plural is "1 receipt" or "2 receipts".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// timeFlag reads a time: an age such as 90m, 24h or 7d, a day, or RFC 3339.
type timeFlag struct {
	at  time.Time
	now func() time.Time
}

// String is the time as it was understood.
func (f *timeFlag) String() string {
	if f == nil || f.at.IsZero() {
		return ""
	}
	return f.at.UTC().Format(time.RFC3339)
}

// Set reads one.
func (f *timeFlag) Set(s string) error {
	now := time.Now
	if f.now != nil {
		now = f.now
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err == nil && n >= 0 && fmt.Sprint(n) == days {
			f.at = now().AddDate(0, 0, -n)
			return nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		f.at = now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, s); err == nil {
			f.at = at
			return nil
		}
	}
	return fmt.Errorf("is no time: write an age (90m, 24h, 7d), a day (2026-05-03) or 2026-05-03T12:00:00Z")
}

// parseMixed reads flags wherever they stand among the arguments, which it returns.
func parseMixed(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := parse(fs, args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

// splitList reads values separated by commas.
func splitList(s string) []string {
	var list []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
