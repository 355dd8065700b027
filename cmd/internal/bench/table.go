package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Print writes the report as tables: the median of the rounds and, in brackets, the least and the most.
func (r *Report) Print(w io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, "onward %s, %s run of %s, %s UTC, %.0f s\n", r.Version, r.Size, rounds(r.Rounds), r.StartedAt.Format("2006-01-02 15:04"), r.Seconds)
	for _, line := range r.Machine.lines() {
		fmt.Fprintln(&s, line)
	}
	for _, p := range r.Parts {
		p.print(&s)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds (median, least–most)", n)
}

// column is one figure over a part's lines.
type column struct {
	head string
	of   func(*Line) *Stat
}

func columns() []column {
	return []column{
		{"per second", func(l *Line) *Stat { return l.PerSecond }},
		{"ratio", func(l *Line) *Stat { return l.Ratio }},
		{"p50 ms", func(l *Line) *Stat { return l.P50 }},
		{"p99 ms", func(l *Line) *Stat { return l.P99 }},
		{"p50 busy", func(l *Line) *Stat { return l.BusyP50 }},
		{"p99 busy", func(l *Line) *Stat { return l.BusyP99 }},
		{"µs PostgreSQL", func(l *Line) *Stat { return l.PostgresCPU }},
		{"µs process", func(l *Line) *Stat { return l.ProcessCPU }},
		{"µs driver", func(l *Line) *Stat { return l.DriverCPU }},
		{"MiB", func(l *Line) *Stat { return l.PeakRSS }},
	}
}

func (p *Part) print(s *strings.Builder) {
	fmt.Fprintf(s, "\n%s\n", p.Title)
	rows := [][]string{{""}}
	for _, l := range p.Lines {
		rows = append(rows, []string{l.Name})
	}
	for _, c := range columns() {
		any := false
		cells := []string{c.head}
		for _, l := range p.Lines {
			cell := c.of(l).String()
			any = any || cell != ""
			cells = append(cells, cell)
		}
		if any {
			for i := range rows {
				rows[i] = append(rows[i], cells[i])
			}
		}
	}
	writeAligned(s, rows)
	for _, l := range p.Lines {
		if l.RatioTo != "" && l.RatioTo != p.Lines[0].Name {
			fmt.Fprintf(s, "  ratio of %q is to %q\n", l.Name, l.RatioTo)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(s, "  %s\n", n)
	}
}

// writeAligned writes rows with the first column to the left and the others to the right.
func writeAligned(s *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(s, strings.TrimRight(line.String(), " "))
	}
}

// String is "3,610 (3,402–3,700)", or without the brackets where the rounds agree; "" for none.
func (s *Stat) String() string {
	if s == nil {
		return ""
	}
	median, least, most := number(s.Median), number(s.Min), number(s.Max)
	if least == median && most == median {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, least, most)
}

// number writes three digits at least, and no more behind the point than they need.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1000:
		return thousands(int64(math.Round(v)))
	case abs >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
