package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWakeGap(t *testing.T) {
	t.Parallel()
	for perSecond, want := range map[float64]time.Duration{
		0: time.Millisecond, 200: time.Millisecond, 1000: 4 * time.Millisecond, 2000: 8 * time.Millisecond,
		3000: 20 * time.Millisecond, 20_000: 20 * time.Millisecond,
	} {
		require.Equal(t, want, wakeGap(perSecond), perSecond)
	}
}
