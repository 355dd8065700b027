package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

// write makes a file of a test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// The whole round (the environment is set: no test beside it).
func TestImport_businesses(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	file := write(t, "leads.csv", "\xef\xbb\xbfName,PHONE,External ID,Stars\r\n"+
		"Ana,305 555 0001,x1,5\r\n"+
		"\"Bo,\r\nthe baker\",+1 305 555 0002,,4\r\n"+
		"Bo,+13055550002,,4\r\n"+ // the same phone: an update
		"Cy,12,x3,1\r\n"+
		"Dee,+13055550003,x4,1,2\r\n")
	refused := file + ".refused.csv"
	count := func(sql string) int { return countOf(t, db.Pool, sql) }

	code, out, errs := onward(t, db.DSN, "import", "businesses", file, "--country", "us", "--dry-run")
	require.Equal(t, 0, code, errs)
	require.Equal(t, "would be: 2 created, 1 updated, 0 unchanged, 2 refused (see "+refused+")\n", out)
	require.Equal(t, "ignored: the column Stars\n", errs)
	require.Zero(t, count(`SELECT count(*) FROM businesses`))
	require.Zero(t, count(`SELECT count(*) FROM operator_actions`))

	code, out, errs = onward(t, db.DSN, "import", "businesses", file, "--country", "us")
	require.Equal(t, 0, code, errs)
	require.Equal(t, "2 created, 1 updated, 0 unchanged, 2 refused (see "+refused+")\n", out)
	written, err := os.ReadFile(refused)
	require.NoError(t, err)
	require.Equal(t, "line,reason,Name,PHONE,External ID,Stars\n"+
		"6,phone: is too short for its country,Cy,12,x3,1\n"+
		"7,\"has 5 cells, and the head has 4: a cell with a separator in it needs quotes\",Dee,+13055550003,x4,1,2\n", string(written))
	require.Equal(t, 2, count(`SELECT count(*) FROM businesses WHERE phone IN ('+13055550001', '+13055550002') AND country = 'US'`))
	require.Equal(t, 1, count(`SELECT count(*) FROM operator_actions WHERE action = 'businesses.import' AND target_id = 'leads.csv' AND details ->> 'created' = '2'`))

	// Again: Bo's first row says otherwise than his second, which is the last to say so.
	code, out, _ = onward(t, db.DSN, "import", "businesses", file, "--country", "us", "--json")
	require.Equal(t, 0, code)
	var summary map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &summary))
	require.Equal(t, map[string]any{
		"file": "leads.csv", "dry_run": false, "created": 0.0, "updated": 2.0, "unchanged": 1.0, "refused": 2.0, "refused_file": refused, "ignored_columns": []any{"Stars"},
	}, summary)

	// A receipt that waited for a number is applied once the number is known.
	receipt := posted(t, db.Pool, "twilio", "inbound_message", "sms:+13055550009", "From=%2B13055550009", "")
	_, err = db.Pool.Exec(t.Context(), `INSERT INTO receipt_outcomes (receipt_id, outcome, match_key) VALUES ($1, 'unmatched', 'sms:+13055550009')`, receipt)
	require.NoError(t, err)
	more := write(t, "more.csv", "name;phone\nEve;+13055550009\n")
	code, out, errs = onward(t, db.DSN, "import", "businesses", more)
	require.Equal(t, 0, code, errs)
	require.Equal(t, "1 created, 0 updated, 0 unchanged, 0 refused\n", out)
	require.NoFileExists(t, more+".refused.csv")
	require.Equal(t, 1, count(`SELECT count(*) FROM river_job WHERE kind = 'reply'`))

	code, out, errs = onward(t, db.DSN, "import", "businesses", more)
	require.Equal(t, []any{0, "0 created, 0 updated, 1 unchanged, 0 refused\n", ""}, []any{code, out, errs})
	require.Equal(t, 3, count(`SELECT count(*) FROM operator_actions`), "what changed nothing leaves no trace")
}

func TestImport_refusesFilesAndCalls(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	latin := write(t, "latin.csv", "name,phone\nAna,+13055550001\nPanader\xeda,+13055550002\n")
	code, _, errs := onward(t, db.DSN, "import", "businesses", latin)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "onward import: latin.csv: line 3 is not UTF-8: the file is most likely ISO-8859-1")
	require.Zero(t, countOf(t, db.Pool, `SELECT count(*) FROM businesses`), "nothing of it is imported")

	all := write(t, "all.csv", "name,phone\nAna,1\n")
	code, out, errs := onward(t, db.DSN, "import", "businesses", all)
	require.Equal(t, 1, code)
	require.Contains(t, out, "1 refused")
	require.Equal(t, "onward import: no row could be taken\n", errs)

	for want, args := range map[string][]string{
		"say businesses":      nil,
		"nothing imports":     {"cats"},
		"name one file":       {"businesses"},
		"no such file":        {"businesses", "/nowhere.csv"},
		"is a folder":         {"businesses", t.TempDir()},
		"ISO 3166":            {"businesses", all, "--country", "USA"},
		"the head has no":     {"businesses", write(t, "head.csv", "phone\n1\n")},
		"flag provided but":   {"businesses", all, "--lines"},
		"in Excel":            {"businesses", write(t, "wide.csv", "\xff\xfen\x00")},
		"names the columns":   {"businesses", write(t, "empty.csv", "")},
		"the column phone tw": {"businesses", write(t, "twice.csv", "name,phone,Phone\n")},
	} {
		code, _, errs := onward(t, db.DSN, append([]string{"import"}, args...)...)
		require.NotZero(t, code, want)
		require.Contains(t, errs, want)
	}
	code, out, _ = onward(t, db.DSN, "import", "-h")
	require.Equal(t, 0, code)
	require.Contains(t, out, "Examples:")
}

// From stdin, bad bytes show when they come: what was before them is imported, and the error says so.
func TestImport_stdin(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	t.Setenv("DATABASE_URL", db.DSN)
	refused := filepath.Join(t.TempDir(), "r.csv")
	var in bytes.Buffer
	in.WriteString("name,phone\n")
	for i := range 1200 {
		fmt.Fprintf(&in, "Business %d,+1305555%04d\n", i, i)
	}
	in.WriteString("Panader\xeda,+13055559999\n")
	var out, errs bytes.Buffer
	code := run(t.Context(), &terminal{stdin: &in, stdout: &out, stderr: &errs}, []string{"import", "businesses", "-", "--refused", refused})
	require.Equal(t, 1, code)
	require.Equal(t, "1,200 created, 0 updated, 0 unchanged, 0 refused\n", out.String())
	require.Equal(t, "onward import: stdin: line 1202 is not UTF-8: the file is most likely ISO-8859-1 or Windows-1252; convert it first, e.g. with "+
		"`iconv -f WINDOWS-1252 -t UTF-8 FILE > UTF8.csv`\n", errs.String())
	require.Equal(t, 1200, countOf(t, db.Pool, `SELECT count(*) FROM businesses`))
}

func TestSuppressions_roundTrip(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	count := func(sql string) int { return countOf(t, db.Pool, sql) }

	code, out, errs := onward(t, db.DSN, "suppressions", "add", "+1 305 555 0001", "A@Example.com", "--reason", "asked by phone")
	require.Equal(t, []any{0, "2 suppressed, 0 already\n", ""}, []any{code, out, errs})
	_, out, _ = onward(t, db.DSN, "suppressions", "add", "3055550001", "--country", "US", "--reason", "again")
	require.Equal(t, "0 suppressed, 1 already\n", out)
	require.Equal(t, 3, count(`SELECT count(*) FROM operator_actions WHERE action = 'suppression.add' AND target_type = 'suppression'`))

	file := write(t, "block.csv", "channel,address,reason\nsms,+13055550002,stop\n,b@example.com,\nSMS,+13055550001,stop\nfax,+13055550003,x\nsms,12,x\nsms,+13055550004,"+strings.Repeat("r", 201)+"\n")
	code, out, _ = onward(t, db.DSN, "suppressions", "import", file, "--dry-run")
	require.Equal(t, 0, code)
	require.Equal(t, "would be: 2 added, 1 already, 3 refused (see "+file+".refused.csv)\n", out)
	require.Equal(t, 2, count(`SELECT count(*) FROM suppressions`))
	code, out, _ = onward(t, db.DSN, "suppressions", "import", file, "--reason", "the old list", "--json")
	require.Equal(t, 0, code)
	require.Contains(t, out, `"added":2,"already":1`)
	written, err := os.ReadFile(file + ".refused.csv")
	require.NoError(t, err)
	require.Contains(t, string(written), "5,\"address: there is no channel \"\"fax\"\": sms or email\",fax,+13055550003,x\n")
	require.Equal(t, 1, count(`SELECT count(*) FROM operator_actions WHERE action = 'suppressions.import' AND reason = 'the old list'`))

	code, exported, _ := onward(t, db.DSN, "suppressions", "export")
	require.Equal(t, 0, code)
	require.Regexp(t, `^channel,address,reason,source,since\nsms,\+13055550002,stop,import,\S+Z\nemail,b@example.com,import,import,\S+Z\nsms,\+13055550001,operator,operator,\S+Z\nemail,a@example.com,operator,operator,\S+Z\n$`, exported)
	code, out, _ = onward(t, db.DSN, "suppressions", "import", write(t, "exported.csv", exported), "--reason", "back")
	require.Equal(t, 0, code)
	require.Equal(t, "0 added, 4 already, 0 refused\n", out)

	code, out, _ = onward(t, db.DSN, "suppressions", "list", "--channel", "sms")
	require.Equal(t, 0, code)
	require.Regexp(t, `^sms\t\+13055550002\tstop\timport\t\S+\t-\nsms\t\+13055550001\toperator\toperator\t\S+\t-\n$`, out)
	code, out, errs = onward(t, db.DSN, "suppressions", "lift", "+13055550002", "+13055550008", "--reason", "a mistake")
	require.Equal(t, []any{0, "1 lifted, 1 not suppressed\n", ""}, []any{code, out, errs})
	code, _, errs = onward(t, db.DSN, "suppressions", "lift", "+13055550002", "--reason", "a mistake")
	require.Equal(t, []any{1, "onward suppressions: none of the addresses is suppressed\n"}, []any{code, errs})
	_, out, _ = onward(t, db.DSN, "suppressions", "list", "--state", "lifted", "--json")
	require.Len(t, objects(t, out), 1)

	for want, args := range map[string][]string{
		"say list, add":     nil,
		"no verb":           {"delete"},
		"--reason is":       {"add", "+13055550001"},
		"name one address":  {"lift", "--reason", "x"},
		"name one file":     {"import", "--reason", "x"},
		"unexpected":        {"list", "x"},
		"--channel fax":     {"list", "--channel", "fax"},
		"--state old":       {"list", "--state", "old"},
		"has no country":    {"add", "3055550001", "--reason", "x"},
		"no column address": {"import", write(t, "head.csv", "phone\n"), "--reason", "x"},
	} {
		code, _, errs := onward(t, db.DSN, append([]string{"suppressions"}, args...)...)
		require.NotZero(t, code, want)
		require.Contains(t, errs, want)
	}
}

var importRowsFlag = flag.Int("import.rows", 10_000, "rows of the large import")

// A file of any length is imported in the same memory, and again without a change.
func TestImport_largeFile(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	t.Setenv("DATABASE_URL", db.DSN)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	for _, want := range []string{"%s created, 0 updated, 0 unchanged, 0 refused\n", "0 created, 0 updated, %s unchanged, 0 refused\n"} {
		began := time.Now()
		var out, errs bytes.Buffer
		code := run(t.Context(), &terminal{stdin: &endless{of: *importRowsFlag}, stdout: &out, stderr: &errs}, []string{"import", "businesses", "-"})
		require.Equal(t, 0, code, errs.String())
		require.Equal(t, fmt.Sprintf(want, grouped(int64(*importRowsFlag))), out.String())
		t.Logf("%s rows in %s: %.0f a second", grouped(int64(*importRowsFlag)), time.Since(began).Round(time.Millisecond), float64(*importRowsFlag)/time.Since(began).Seconds())
	}
	close(stop)
	most := <-peak >> 20
	t.Logf("heap: %d MiB at most", most)
	require.Less(t, most, uint64(64))
}

// endless makes rows of businesses as they are read, so that a file of any size needs no room.
type endless struct {
	n, of int
	left  []byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.left) == 0 {
		if e.n > e.of {
			return 0, io.EOF
		}
		line := "name,phone,external_id,city,country,timezone,email\n"
		if e.n > 0 {
			line = fmt.Sprintf("Business %d,+1%010d,x%d,Miami,US,America/New_York,c%d@example.com\n", e.n, 3_000_000_000+e.n, e.n, e.n)
		}
		e.left = []byte(line)
		e.n++
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}
