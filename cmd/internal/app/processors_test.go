package app

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// next takes the same look several times and returns what changed.
func (l *load) steps(cores float64, looks int) (changes []change) {
	for range looks {
		if c := l.next(cores); c != asIs {
			changes = append(changes, c)
		}
	}
	return changes
}

func TestLoad(t *testing.T) {
	t.Parallel()
	l := load{average: 1}
	require.Empty(t, l.steps(1.2, 20), "busy from the start")
	require.Equal(t, []change{toOne}, l.steps(0.1, 20))
	require.Empty(t, l.steps(0.55, 50), "between calm and busy all stays as it is")
	require.Equal(t, []change{toAll}, l.steps(0.7, 50), "busy, though never more than a burst")
	require.Empty(t, l.steps(0.5, 50), "between calm and busy all stays as it is")
	require.Equal(t, []change{toOne}, l.steps(0.2, 50))
	require.Equal(t, toAll, l.next(0.9), "a burst needs no average")
	require.Empty(t, l.steps(0.1, 1), "and is not over with one look")
	require.Equal(t, []change{toOne}, l.steps(0.1, 20))
}

// A process that does nothing gets one processor, one that is busy all of them, and so does one that ends. Not parallel: it is
// about the whole process.
func TestFollowLoad(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	if all == 1 {
		t.Skip("there is one processor")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { FollowLoad(ctx) })
	eventually := func(n int, why string) {
		t.Helper()
		require.Eventually(t, func() bool { return runtime.GOMAXPROCS(0) == n }, time.Minute, 5*time.Millisecond, why)
	}
	eventually(1, "nothing to do")
	var stop atomic.Bool
	var work sync.WaitGroup
	work.Go(func() {
		for !stop.Load() { // computes
		}
	})
	eventually(all, "busy")
	stop.Store(true)
	work.Wait()
	eventually(1, "calm again")
	cancel()
	ended.Wait()
	require.Equal(t, all, runtime.GOMAXPROCS(0))
}
