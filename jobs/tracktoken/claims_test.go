package tracktoken

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode feeds the decoder what only a leaked key could: it must stand that, too, and what it accepts
// must be the one encoding of its claims.
func FuzzDecode(f *testing.F) {
	for _, p := range Purposes() {
		c := Claims{MessageID: "0197b5c2-7d1e-7c3a-9f00-0123456789ab", Channel: "email", Address: "ana@example.com"}
		if p == PurposeClick {
			c.URL = "https://example.com"
		}
		plain, err := c.encode(p)
		require.NoError(f, err)
		f.Add(string(p), plain)
	}
	f.Add("open", []byte{})
	f.Fuzz(func(t *testing.T, purpose string, plain []byte) {
		p := Purpose(purpose)
		claims, err := decode(p, plain)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			return
		}
		again, err := claims.encode(p)
		require.NoError(t, err)
		require.Equal(t, plain, again)
	})
}
