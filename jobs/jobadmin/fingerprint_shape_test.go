package jobadmin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShape(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "",
		"disk full":                              "disk full",
		"read message 4711: no such row":         "read message 0: no such row",
		"4711 of 4712":                           "0 of 0",
		"status 503; code 20003, SQLSTATE 23505": "status 0; code 20003, SQLSTATE 23505",
		"at 12:30 (429) x4711 1.5 +120 7":        "at 12:30 (429) x4711 1.5 +120 0",
		"id 1234567890123456":                    "id 1234567890123456",
	} {
		require.Equal(t, want, shape(text), text)
		require.Equal(t, FingerprintOf(text), FingerprintOf(want), text)
	}
}

// Texts of one shape have one fingerprint, whatever they are.
func FuzzShape(f *testing.F) {
	f.Add(`apply receipt 01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11: "x 12 " 'y' +1202 a@b.c 17, code 7 SQLSTATE 12345`)
	f.Add(`' 12 34: '5 6`)
	f.Add("code\t7 code 7 8a 9@b.c 1, 2")
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, FingerprintOf(s), FingerprintOf(shape(s)))
	})
}
