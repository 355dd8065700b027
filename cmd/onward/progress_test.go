package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testProgress is one whose clock the test moves; columns 0 is a pipe.
func testProgress(columns int) (p *progress, out *bytes.Buffer, tick func(time.Duration)) {
	out = &bytes.Buffer{}
	now := time.Unix(0, 0)
	p = &progress{w: out, noun: "businesses", clock: func() time.Time { return now }, every: time.Second, begun: now, last: now}
	if columns > 0 {
		p.width = func() int { return columns }
	}
	return p, out, func(d time.Duration) { now = now.Add(d) }
}

func TestProgress_inAPipeIsALineNowAndThen(t *testing.T) {
	t.Parallel()
	p, out, tick := testProgress(0)
	for i := range int64(25) {
		tick(100 * time.Millisecond)
		p.set(i*1000, 100_000)
	}
	p.print(func() { out.WriteString("found\n") })
	p.end()
	require.Equal(t, "9 % · 9,000 of 100,000 businesses · 9,000/s · 11 s left\n"+
		"19 % · 19,000 of 100,000 businesses · 9,500/s · 9 s left\n"+"found\n", out.String())
}

func TestProgress_onATerminalIsABar(t *testing.T) {
	t.Parallel()
	p, out, tick := testProgress(100)
	tick(time.Second)
	p.set(50_000, 100_000)
	require.Equal(t, "\r["+strings.Repeat("#", 19)+strings.Repeat(".", 20)+"] 50 % · 50,000 of 100,000 businesses · 50,000/s · 1 s left", out.String())
	require.Less(t, len([]rune(out.String())), 101)
	out.Reset()
	// What is printed meanwhile stands where the bar stood; the bar comes back below.
	p.print(func() { out.WriteString("found\n") })
	require.Equal(t, "\r\x1b[Kfound\n", out.String())
	tick(time.Second)
	p.set(100_000, 100_000)
	out.Reset()
	p.end()
	p.end()
	require.Equal(t, "\r\x1b[K", out.String())
}

func TestProgress_narrowTerminalNeverWraps(t *testing.T) {
	t.Parallel()
	for columns := 1; columns < 90; columns++ {
		p, out, tick := testProgress(columns)
		tick(time.Hour)
		p.set(1, 100_000)
		line := []rune(strings.TrimPrefix(out.String(), "\r"))
		require.Less(t, len(line), max(columns, 1)+1)
		require.LessOrEqual(t, len(line), columns)
	}
}

func TestProgress_text(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 100, time.Second, "0 % · 0 of 100 businesses · 0/s"},
		{0, 0, 0, "0 businesses · 0/s"},
		{1234, 0, 2 * time.Second, "1,234 businesses · 617/s"},
		{100, 100, time.Second, "100 % · 100 of 100 businesses · 100/s"},
		{1, 1000, time.Second, "0 % · 1 of 1,000 businesses · 1/s · 17 min left"},
		{1, 10_000_000, time.Second, "0 % · 1 of 10,000,000 businesses · 1/s · 2777 h 46 min left"},
	} {
		p, _, _ := testProgress(0)
		p.done, p.total = c.done, c.total
		require.Equal(t, c.want, p.text(c.took))
	}
}
