// Package csvtable reads tables that people made: CSV in UTF-8, whatever stands between its cells, with the columns in any
// order. What is wrong with a row is told with its line, and the next row is read; what is wrong with the file ends it.
//
// It imports the standard library alone.
package csvtable

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxRecord bounds one row of a table: a quote that is never closed must not read the rest of the file into memory.
const maxRecord = 1 << 20

// Table reads rows of CSV, in memory that does not grow with the file. Its first line names the columns, in any order and
// case; of these it keeps those that it is asked for.
type Table struct {
	Head    []string // as written
	Unknown []string // columns that nobody asked for

	in  *guarded
	csv *csv.Reader
	at  map[string]int // where a wanted column is
}

// Row is one row. What is wrong with a row alone stands in Refused.
type Row struct {
	Line    int
	Cells   []string // as written
	Refused string   // why it can't be read; "" where it can
	columns map[string]int
}

// Get is a cell by its column's name, without the space around it; "" where it is missing.
func (r Row) Get(column string) string {
	if i, ok := r.columns[column]; ok && i < len(r.Cells) {
		return strings.TrimSpace(r.Cells[i])
	}
	return ""
}

// New reads the head. The columns in need must be there.
func New(r io.Reader, wanted, need []string) (*Table, error) {
	in := &guarded{r: r}
	buffered := bufio.NewReaderSize(in, 64<<10)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3) // they were peeked at
	} else if bytes.HasPrefix(mark, []byte("\xff\xfe")) || bytes.HasPrefix(mark, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16: save it as UTF-8 (in Excel: \"CSV UTF-8\")")
	}
	first, _ := buffered.Peek(64 << 10) // as much of the head as there is
	line, _, _ := bytes.Cut(first, []byte("\n"))
	t := &Table{in: in, csv: csv.NewReader(buffered), at: map[string]int{}}
	t.csv.FieldsPerRecord = -1
	t.csv.Comma = separator(string(line), wanted)
	head, err := t.csv.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty: its first line names the columns")
	case err != nil:
		return nil, fmt.Errorf("read the head: %w", err)
	}
	if err := t.name(head, wanted, need); err != nil {
		return nil, err
	}
	return t, nil
}

// separator finds out what stands between cells: the one by which most of the wanted columns are found.
func separator(head string, wanted []string) rune {
	best, most := ',', 0
	for _, comma := range ",;\t" {
		r := csv.NewReader(strings.NewReader(head))
		r.Comma = comma
		cells, err := r.Read()
		if err != nil {
			continue
		}
		n := 0
		for _, c := range cells {
			if slices.Contains(wanted, columnName(c)) {
				n++
			}
		}
		if n > most {
			best, most = comma, n
		}
	}
	return best
}

// columnName is a column's name as we know it: "External ID" and "external-id" are external_id, "Time zone" is timezone.
func columnName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return '_'
		}
		return r
	}, strings.ToLower(strings.TrimSpace(s)))
	if s == "time_zone" {
		return "timezone"
	}
	return s
}

func (t *Table) name(head, wanted, need []string) error {
	for i, cell := range head {
		if !utf8.ValidString(cell) {
			return notUTF8(1)
		}
		name := columnName(cell)
		if !slices.Contains(wanted, name) {
			t.Unknown = append(t.Unknown, strings.TrimSpace(cell))
			continue
		}
		if _, twice := t.at[name]; twice {
			return fmt.Errorf("the head has the column %s twice", name)
		}
		t.at[name] = i
	}
	for _, name := range need {
		if _, ok := t.at[name]; !ok {
			return fmt.Errorf("the head has no column %s: the columns are %s", name, strings.Join(wanted, ", "))
		}
	}
	t.Head = slices.Clone(head)
	return nil
}

// Bytes is how many bytes of the file were read.
func (t *Table) Bytes() int64 { return t.in.total }

// Next reads a row; io.EOF at the end. Any other error is of the file: what follows can't be read.
func (t *Table) Next() (Row, error) {
	t.in.since = 0
	cells, err := t.csv.Read()
	row := Row{Cells: cells, columns: t.at}
	var wrong *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return row, io.EOF
	case errors.Is(err, errLongRecord):
		line, _ := t.csv.FieldPos(0)
		return row, fmt.Errorf("line %d: a row does not end within 1 MiB: a quote is not closed there", line)
	case errors.As(err, &wrong):
		row.Line, row.Refused = wrong.StartLine, "is no CSV: "+quoting(wrong)
		return row, t.checkUTF8(row)
	case err != nil:
		return row, fmt.Errorf("read the file: %w", err)
	}
	row.Line, _ = t.csv.FieldPos(0)
	if len(cells) > len(t.Head) {
		row.Refused = fmt.Sprintf("has %d cells, and the head has %d: a cell with a separator in it needs quotes", len(cells), len(t.Head))
	}
	return row, t.checkUTF8(row)
}

func quoting(e *csv.ParseError) string {
	if errors.Is(e.Err, csv.ErrBareQuote) {
		return "a quote within a cell that is not quoted (a quote in a quoted cell is written twice)"
	}
	return "a quoted cell goes on behind its quote, or does not end (a quote in a quoted cell is written twice)"
}

// checkUTF8 refuses the file, not the row: where one letter is of another encoding, all are.
func (t *Table) checkUTF8(row Row) error {
	for _, c := range row.Cells {
		if !utf8.ValidString(c) {
			return notUTF8(row.Line)
		}
	}
	return nil
}

func notUTF8(line int) error {
	return fmt.Errorf("line %d is not UTF-8: the file is most likely ISO-8859-1 or Windows-1252; convert it first, e.g. with "+
		"`iconv -f WINDOWS-1252 -t UTF-8 FILE > UTF8.csv`", line)
}

// errLongRecord ends the reading of a record that is too long.
var errLongRecord = errors.New("a row is too long")

// guarded counts what is read, and ends a row that grows past all reason.
type guarded struct {
	r     io.Reader
	total int64
	since int // the row began
}

// Read reads on, unless the row is too long.
func (g *guarded) Read(p []byte) (int, error) {
	if g.since > maxRecord {
		return 0, errLongRecord
	}
	n, err := g.r.Read(p)
	g.since += n
	g.total += int64(n)
	return n, err
}

// CheckFile looks through a file for what is not UTF-8, before anything of it is imported.
func CheckFile(f *os.File) error {
	defer func() { _, _ = f.Seek(0, io.SeekStart) }() // a file that was just read can be
	r := bufio.NewReaderSize(f, 256<<10)
	if mark, _ := r.Peek(2); bytes.Equal(mark, []byte("\xff\xfe")) || bytes.Equal(mark, []byte("\xfe\xff")) {
		return nil // New has a better word for it
	}
	line := 1
	var held []byte // the beginning of a character that the next part goes on with
	part := make([]byte, 256<<10)
	for {
		n, err := r.Read(part)
		text := append(held, part[:n]...)
		whole := text
		if err == nil {
			whole = text[:len(text)-cutOff(text)]
		}
		if at := invalidUTF8(whole); at >= 0 {
			return notUTF8(line + bytes.Count(whole[:at], []byte("\n")))
		}
		line += bytes.Count(whole, []byte("\n"))
		held = append([]byte(nil), text[len(whole):]...)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the file: %w", err)
		}
	}
}

// cutOff is how many bytes at the end are the beginning of a character.
func cutOff(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if b := text[len(text)-n]; utf8.RuneStart(b) {
			if !utf8.FullRune(text[len(text)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
