package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows on stderr how far a long command is: a bar with rate and remaining time on a terminal, in a pipe a
// plain line every few seconds. It is safe for concurrent use.
type progress struct {
	w     io.Writer
	noun  string     // what is counted: "businesses"
	width func() int // of the terminal, in columns; nil: not a terminal
	clock func() time.Time
	every time.Duration // between two drawings

	mu          sync.Mutex
	begun, last time.Time
	done, total int64
	drawn       bool // a bar stands on the last line
}

// newProgress begins to count nouns.
func (t *terminal) newProgress(noun string) *progress {
	p := &progress{w: t.stderr, noun: noun, clock: time.Now, every: 5 * time.Second}
	if f, ok := t.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.every = 100 * time.Millisecond
		p.width = func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80
			}
			return columns
		}
	}
	p.begun = p.clock()
	p.last = p.begun
	return p
}

// set says how far the command is. A total of 0 is one that is not known.
func (p *progress) set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total = done, total
	if now := p.clock(); now.Sub(p.last) >= p.every {
		p.last = now
		p.draw(now)
	}
}

// print lets fn print without a bar in between, whatever it prints to.
func (p *progress) print(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fn()
}

// end takes the bar away. What the command did is for its own last line to say.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *progress) draw(now time.Time) {
	text := p.text(now.Sub(p.begun))
	if p.width == nil {
		fmt.Fprintln(p.w, text)
		return
	}
	width := p.width()
	if bar := p.bar(width - len([]rune(text)) - 2); bar != "" {
		text = bar + " " + text
	}
	// A line that wraps could not be taken away again.
	if runes := []rune(text); len(runes) >= width {
		text = string(runes[:max(width-1, 0)])
	}
	p.clear()
	fmt.Fprint(p.w, "\r", text)
	p.drawn = true
}

// barWidth is the most that a bar takes; below 10 columns it says nothing and is left out.
const barWidth = 40

func (p *progress) bar(room int) string {
	inner := min(room-2, barWidth)
	if inner < 10 || p.total <= 0 {
		return ""
	}
	full := int(int64(inner) * min(p.done, p.total) / p.total)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", inner-full) + "]"
}

// text is "12 % · 120,000 of 1,000,000 businesses · 40,000/s · 22 s left".
func (p *progress) text(took time.Duration) string {
	rate := float64(p.done) / max(took.Seconds(), 0.001)
	if p.total <= 0 {
		return fmt.Sprintf("%s %s · %s/s", grouped(p.done), p.noun, grouped(int64(rate)))
	}
	s := fmt.Sprintf("%d %% · %s of %s %s · %s/s", 100*p.done/p.total, grouped(p.done), grouped(p.total), p.noun, grouped(int64(rate)))
	if left := p.total - p.done; left > 0 && rate > 0 {
		s += " · " + roughly(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	return s
}

// roughly rounds a remaining time to what can be known of it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.999))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// grouped writes a number with commas: 1,000,000.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
