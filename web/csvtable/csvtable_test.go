package csvtable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func columns() []string {
	return []string{"name", "phone", "email", "city", "country", "external_id", "timezone"}
}

// readTable reads a file of businesses to its end: a line for each row.
func readTable(in io.Reader) (rows []string, unknown []string, err error) {
	tab, err := New(in, columns(), []string{"name"})
	if err != nil {
		return nil, nil, err
	}
	for {
		row, err := tab.Next()
		if errors.Is(err, io.EOF) {
			return rows, tab.Unknown, nil
		}
		if err != nil {
			return rows, tab.Unknown, err
		}
		if row.Refused != "" {
			rows = append(rows, fmt.Sprintf("%d refused: %s", row.Line, row.Refused))
			continue
		}
		rows = append(rows, fmt.Sprintf("%d %s|%s|%s", row.Line, row.Get("name"), row.Get("phone"), row.Get("external_id")))
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file    string
		rows    []string
		unknown []string
	}{
		"plain":                 {"name,phone\nAna,1\nBo,2\n", []string{"2 Ana|1|", "3 Bo|2|"}, nil},
		"order, case, spelling": {"External ID, PHONE ,Name\nx1,1,Ana", []string{"2 Ana|1|x1"}, nil},
		"BOM and CRLF":          {"\xef\xbb\xbfname,external-id\r\nAna,x1\r\n", []string{"2 Ana||x1"}, nil},
		"quoted lines":          {"name,phone\n\"Ana,\r\n \"\"the\"\" baker\",1\nBo,2", []string{"2 Ana,\n \"the\" baker|1|", "4 Bo|2|"}, nil},
		"unknown columns":       {"name,Rating,Web site\nAna,5,x", []string{"2 Ana||"}, []string{"Rating", "Web site"}},
		"semicolons":            {"name;phone;city\nAna, Inc.;1;Miami\n", []string{"2 Ana, Inc.|1|"}, nil},
		"tabs":                  {"name\tphone\nAna\t1\n", []string{"2 Ana|1|"}, nil},
		"few cells, no cells":   {"name,phone\nAna\n\n\nBo,2\n", []string{"2 Ana||", "5 Bo|2|"}, nil},
		"too many cells":        {"name,phone\nAna,1,2\nBo,2\n", []string{"2 refused: has 3 cells, and the head has 2: a cell with a separator in it needs quotes", "3 Bo|2|"}, nil},
		"a stray quote":         {"name,phone\nAna \"B\",1\nBo,2\n", []string{"2 refused: is no CSV: a quote within a cell that is not quoted (a quote in a quoted cell is written twice)", "3 Bo|2|"}, nil},
		"behind a quote":        {"name,phone\n\"Ana\" B,1\nBo,2\n", []string{"2 refused: is no CSV: a quoted cell goes on behind its quote, or does not end (a quote in a quoted cell is written twice)", "3 Bo|2|"}, nil},
		"a quote at the end":    {"name,phone\nAna,1\n\"Bo", []string{"2 Ana|1|", "3 refused: is no CSV: a quoted cell goes on behind its quote, or does not end (a quote in a quoted cell is written twice)"}, nil},
		"a head alone":          {"name", nil, nil},
	} {
		for chunk, in := range map[string]io.Reader{"": strings.NewReader(c.file), " a byte at a time": iotest.OneByteReader(strings.NewReader(c.file))} {
			rows, unknown, err := readTable(in)
			require.NoError(t, err, name+chunk)
			require.Equal(t, c.rows, rows, name+chunk)
			require.Equal(t, c.unknown, unknown, name+chunk)
		}
	}
}

func TestTableRefusesTheFile(t *testing.T) {
	t.Parallel()
	long := "name,phone\nAna,1\n\"Bo" + strings.Repeat("x\n", maxRecord)
	for name, c := range map[string]struct{ file, says string }{
		"empty":             {"", "is empty"},
		"no name":           {"phone,city\n1,x\n", "no column name"},
		"a column twice":    {"name,Phone,phone\n", "phone twice"},
		"UTF-16":            {"\xff\xfen\x00a\x00", "UTF-16"},
		"UTF-16, big":       {"\xfe\xff\x00n\x00a", "UTF-16"},
		"Latin-1":           {"name,phone\nAna,1\nPanader\xeda,2\n", "line 3 is not UTF-8: the file is most likely ISO-8859-1"},
		"Latin-1 head":      {"name,tel\xe9fono\n", "line 1 is not UTF-8"},
		"an endless quote":  {long, "line 3: a row does not end within 1 MiB"},
		"an endless head":   {strings.Repeat("a", 2*maxRecord), "head"},
		"a broken CSV head": {"na\"me,phone\n", "head"},
	} {
		_, _, err := readTable(strings.NewReader(c.file))
		require.ErrorContains(t, err, c.says, name)
	}
	_, _, err := readTable(io.MultiReader(strings.NewReader("name\nAna\n"), iotest.ErrReader(errors.New("the disk is gone"))))
	require.ErrorContains(t, err, "the disk is gone")
}

func TestCheckFile(t *testing.T) {
	t.Parallel()
	check := func(content string) error {
		path := filepath.Join(t.TempDir(), "f.csv")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		f, err := os.Open(path)
		require.NoError(t, err)
		defer func() { require.NoError(t, f.Close()) }()
		err = CheckFile(f)
		rest, readErr := io.ReadAll(f)
		require.NoError(t, readErr)
		require.Equal(t, content, string(rest), "it is read from its beginning afterwards")
		return err
	}
	require.NoError(t, check(""))
	require.NoError(t, check("name\nPanadería 🙂\n"))
	// Characters of two to four bytes across every border of the parts in which a file is read.
	for _, s := range []string{"é", "€", "🙂"} {
		for pad := range len(s) {
			require.NoError(t, check(strings.Repeat("a", pad)+strings.Repeat(s, 300<<10/len(s))), s)
		}
	}
	require.ErrorContains(t, check("name\n"+strings.Repeat("Ana\n", 100_000)+"Panader\xeda\n"), "line 100002 is not UTF-8")
	require.ErrorContains(t, check("name\nAna\xc3"), "line 2 is not UTF-8", "cut off in a character")
}

// Whatever bytes come in: rows come out with their lines in order, or an error; no row has more cells than the head or a
// cell that is not text.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{
		"name,phone\nAna,1\n", "\xef\xbb\xbfName;Phone\r\n\"A\r\nb\";1\r\n", "name\n\"", "name,name\n", "\xff\xfen\x00", "name\tcity\n\t\n", "name\nPanader\xeda\n", "\"na\nme\",phone\nx\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tab, err := New(bytes.NewReader(raw), columns(), []string{"name"})
		if err != nil {
			return
		}
		require.Contains(t, tab.at, "name")
		last := 1
		for {
			row, err := tab.Next()
			if err != nil {
				return
			}
			require.Greater(t, row.Line, last, "lines go up")
			last = row.Line
			if row.Refused != "" {
				continue
			}
			require.LessOrEqual(t, len(row.Cells), len(tab.Head))
			for _, c := range columns() {
				require.Equal(t, strings.TrimSpace(row.Get(c)), row.Get(c))
				require.True(t, utf8.ValidString(row.Get(c)))
			}
		}
	})
}
