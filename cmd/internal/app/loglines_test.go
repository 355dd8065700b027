package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// chunks are what was written, each in one call.
type chunks struct {
	mu   sync.Mutex
	list []string
}

func (c *chunks) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, string(p))
	return len(p), nil
}

func (c *chunks) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.list...)
}

// sleep lets the timers of the meantime run.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestLineBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &chunks{}
		b := newLineBuffer(out)
		write := func(s string) {
			n, err := b.Write([]byte(s))
			require.NoError(t, err)
			require.Equal(t, len(s), n)
		}
		write("one\n")
		write("two\n")
		require.Empty(t, out.all())
		sleep(linesFor)
		require.Equal(t, []string{"one\ntwo\n"}, out.all(), "together, within its time")

		sleep(10 * linesFor)
		require.Len(t, out.all(), 1, "nothing to write")

		long := strings.Repeat("x", linesBytes/4-1) + "\n"
		for range 4 {
			write(long)
		}
		require.Equal(t, strings.Repeat(long, 4), out.all()[1], "at once when full")

		write("three\n")
		b.close()
		require.Equal(t, "three\n", out.all()[2], "at the end")
		write("four\n")
		require.Equal(t, "four\n", out.all()[3], "and nothing is kept afterwards")
	})
}

// A warning does not wait, nor what was logged before it.
func TestLineLogger_warnings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &chunks{}
		log, _ := newLineLogger(Config{LogFormat: "text", LogLevel: "info"}, out)
		log.Info("calm")
		log.Debug("not logged")
		require.Empty(t, out.all())
		log.With("a", 1).WithGroup("g").Warn("trouble", "b", 2)
		require.Len(t, out.all(), 1)
		require.Contains(t, out.all()[0], "calm")
		require.Contains(t, out.all()[0], "level=WARN msg=trouble a=1 g.b=2\n")
		log.Error("worse")
		require.Len(t, out.all(), 2)
		require.False(t, log.Enabled(t.Context(), slog.LevelDebug))
	})
}

// Lines of many goroutines stay whole, and none is lost.
func TestLineBuffer_manyWrite(t *testing.T) {
	t.Parallel()
	out := &chunks{}
	b := newLineBuffer(out)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 2000 {
				_, _ = fmt.Fprintf(b, "%d says %d\n", g, n)
			}
		})
	}
	wg.Wait()
	b.close()
	seen := map[string]bool{}
	for line := range bytes.Lines([]byte(strings.Join(out.all(), ""))) {
		var g, n int
		_, err := fmt.Sscanf(string(line), "%d says %d\n", &g, &n)
		require.NoError(t, err, string(line))
		seen[string(line)] = true
	}
	require.Len(t, seen, 8*2000)
}
