package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the process changed of its program is not in the file: dropping it would be a crash.
func TestFileOnly(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-01283000 r-xp 00000000 fe:00 1234    /usr/local/bin/onward
Rss:               13084 kB
Anonymous:             0 kB
Swap:                  0 kB
01283000-02584000 r--p 00e83000 fe:00 1234    /usr/local/bin/onward
Anonymous:             8 kB
Swap:                  0 kB
02584000-02600000 r--p 02184000 fe:00 1234    /usr/local/bin/onward
Anonymous:             0 kB
Swap:                  4 kB
02600000-026c2000 rw-p 02200000 fe:00 1234    /usr/local/bin/onward
Anonymous:             0 kB
02700000-02800000 r--p 00000000 fe:00 1235    /usr/local/bin/onward2
Anonymous:             0 kB
7f69e67fe000-7f69e6d00000 rw-p 00000000 00:00 0
Anonymous:          4228 kB
7f69e6e00000-7f69e6f00000 r--p 00000000 fe:00 1234    /usr/local/bin/onward
Anonymous:             0 kB
`
	require.Equal(t, []mapping{{0x400000, 0x1283000}, {0x7f69e6e00000, 0x7f69e6f00000}}, fileOnly([]byte(smaps), "/usr/local/bin/onward"))
	require.Empty(t, fileOnly(nil, "/usr/local/bin/onward"))
	require.Empty(t, fileOnly([]byte("x-y r-xp 0 0 0 f\n\nz"), "f"))
}
