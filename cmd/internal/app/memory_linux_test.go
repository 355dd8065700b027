package app_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// residentFile is how much of mapped files is in memory, in KiB.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	match := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, match)
	n, err := strconv.Atoi(string(match[1]))
	require.NoError(t, err)
	return n
}

func TestGiveBackStartup(t *testing.T) { //nolint:paralleltest // others would map pages meanwhile
	before := residentFile(t)
	require.NoError(t, app.GiveBackStartup())
	require.Less(t, residentFile(t), before)
}
