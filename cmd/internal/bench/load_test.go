package bench

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		status int
		keep   bool
		fails  bool
	}{
		"no content":       {"HTTP/1.1 204 No Content\r\nX-Request-Id: 1\r\n\r\n", 204, true, false},
		"body":             {"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n", 503, true, false},
		"close":            {"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\n", 413, false, false},
		"cut in the head":  {"HTTP/1.1 204 No", 0, false, true},
		"cut in the body":  {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno", 200, false, true},
		"another protocol": {"SSH-2.0-OpenSSH_9.2\r\n", 0, false, true},
		"no length":        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 200, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, keep, err := readAnswer(bufio.NewReader(strings.NewReader(c.text)))
			require.Equal(t, c.fails, err != nil)
			require.Equal(t, c.status, status)
			require.Equal(t, c.keep, keep)
		})
	}
}

// web counts posts and answers them with a status.
func web(t *testing.T, status int) (address string, posts *atomic.Int64) {
	t.Helper()
	posts = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), posts
}

func generate(t *testing.T, s loadSettings) loadResult {
	t.Helper()
	g := newGenerator(s)
	defer g.close()
	measured := 0
	require.NoError(t, g.run(t.Context(), func() error {
		measured++
		return nil
	}))
	require.Equal(t, 1, measured)
	return g.result
}

func TestGenerator_closedLoopSendsEachOnce(t *testing.T) {
	t.Parallel()
	address, posts := web(t, http.StatusNoContent)
	r := generate(t, loadSettings{Address: address, First: 1, Count: 100, Connections: 3, Lasts: time.Nanosecond})
	require.LessOrEqual(t, posts.Load(), int64(100))
	require.LessOrEqual(t, int64(r.Answered), posts.Load())
	require.Zero(t, r.Refused)

	// More than a loop sends before it begins to measure, on whatever machine.
	r = generate(t, loadSettings{Address: address, First: 1, Count: 20_000, Connections: 3, Lasts: 100 * time.Millisecond})
	require.Positive(t, r.Answered)
	require.Positive(t, r.P50)
	require.GreaterOrEqual(t, r.P99, r.P50)
}

func TestGenerator_openLoopIsTheSameForASeed(t *testing.T) {
	t.Parallel()
	address, posts := web(t, http.StatusNoContent)
	s := loadSettings{Address: address, First: 11, Count: 400, Connections: 2, PerSecond: 1000, Lasts: 100 * time.Millisecond, Seed: 7}
	first := generate(t, s)
	require.Equal(t, int64(first.Answered), posts.Load())
	require.Len(t, first.Sent, first.Answered)
	require.InDelta(t, 100, first.Answered, 50)
	for i, c := range first.Sent {
		require.Equal(t, int64(11+i), c.N)
		require.GreaterOrEqual(t, c.Answered, c.At)
	}
	require.Len(t, generate(t, s).Sent, len(first.Sent))
}

func TestGenerator_countsRefusals(t *testing.T) {
	t.Parallel()
	address, _ := web(t, http.StatusServiceUnavailable)
	r := generate(t, loadSettings{Address: address, First: 1, Count: 20, Connections: 2, Lasts: 500 * time.Millisecond})
	require.Zero(t, r.Answered)
	require.Positive(t, r.Refused)
	require.Equal(t, "status 503", r.Error)
}
