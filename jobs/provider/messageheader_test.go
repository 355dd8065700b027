package provider_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
)

func TestMessageHeader(t *testing.T) {
	t.Parallel()
	id, attempt, ok := provider.ParseMessageHeader(provider.FormatMessageHeader("0199", 3))
	require.True(t, ok)
	require.Equal(t, "0199", id)
	require.Equal(t, 3, attempt)
	for _, bad := range []string{"", "0199", "0199;", "; attempt=1", "0199; attempt=x", "0199; attempt=-1", "0199; tries=1"} {
		_, _, ok := provider.ParseMessageHeader(bad)
		require.False(t, ok, bad)
	}
}

func FuzzParseMessageHeader(f *testing.F) {
	f.Add("0199; attempt=1")
	f.Fuzz(func(t *testing.T, value string) {
		id, attempt, ok := provider.ParseMessageHeader(value)
		if ok {
			require.NotEmpty(t, id)
			require.GreaterOrEqual(t, attempt, 0)
		}
	})
}
