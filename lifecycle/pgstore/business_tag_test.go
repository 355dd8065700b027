package pgstore_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

func TestNormalizeTag(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{"VIP": "vip", "  second   row ": "second row", "Ñandú": "ñandú", strings.Repeat("x", 50): strings.Repeat("x", 50)} {
		tag, err := pgstore.NormalizeTag(raw)
		require.NoError(t, err)
		require.Equal(t, want, tag)
	}
	for raw, why := range map[string]string{
		"": "empty", " \t": "empty", "a,b": "comma", "a\x00b": "control", "\xff": "UTF-8", strings.Repeat("x", 51): "longer than 50",
	} {
		_, err := pgstore.NormalizeTag(raw)
		require.ErrorContains(t, err, why)
	}
}

// What was made normal is normal.
func FuzzNormalizeTag(f *testing.F) {
	f.Add("VIP")
	f.Add(" a  b ")
	f.Add("İ")
	f.Fuzz(func(t *testing.T, raw string) {
		tag, err := pgstore.NormalizeTag(raw)
		if err != nil {
			return
		}
		require.True(t, utf8.ValidString(tag) && tag != "" && utf8.RuneCountInString(tag) <= pgstore.MaxTag)
		again, err := pgstore.NormalizeTag(tag)
		require.NoError(t, err)
		require.Equal(t, tag, again)
	})
}
