package app

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Each job and each webhook logs a line. Written by itself it is a system call, and wakes the scheduler's monitor for
// another. Lines below a warning wait for others, but not long: who looks at the log does not see it, and a process that is
// killed loses that much of it.
const (
	linesFor   = 100 * time.Millisecond
	linesBytes = 32 << 10
)

// lineBuffer gathers lines of a log and writes them together.
type lineBuffer struct {
	out io.Writer

	mu      sync.Mutex
	lines   []byte
	timer   *time.Timer // runs while there are lines
	through bool        // from close on
}

func newLineBuffer(out io.Writer) *lineBuffer {
	b := &lineBuffer{out: out}
	b.timer = time.AfterFunc(time.Hour, b.flush)
	b.timer.Stop()
	return b
}

// Write implements io.Writer, for whole lines.
func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.through {
		return b.out.Write(line)
	}
	if len(b.lines) == 0 {
		b.timer.Reset(linesFor)
	}
	b.lines = append(b.lines, line...)
	if len(b.lines) >= linesBytes {
		b.write()
	}
	return len(line), nil
}

func (b *lineBuffer) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write()
}

// close writes what there is, and from now on every line as it comes. A nil buffer has nothing.
func (b *lineBuffer) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write()
	b.through = true
}

func (b *lineBuffer) write() {
	b.timer.Stop()
	if len(b.lines) > 0 {
		_, _ = b.out.Write(b.lines) // a log that is gone can't be told so
		b.lines = b.lines[:0]
	}
}

// promptHandler logs to a lineBuffer, which it has written at every warning and error.
type promptHandler struct {
	slog.Handler
	lines *lineBuffer
}

// Handle implements slog.Handler.
func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h promptHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup implements slog.Handler.
func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.lines}
}

// newLineLogger is [NewLogger] by way of a lineBuffer.
func newLineLogger(cfg Config, out io.Writer) (*slog.Logger, *lineBuffer) {
	lines := newLineBuffer(out)
	return slog.New(promptHandler{NewLogger(cfg, lines).Handler(), lines}), lines
}
