package pgstore_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

func TestNormalizePhone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw, country, want, wrong string
	}{
		{raw: "+502 5555-1234", want: "+50255551234"},
		{raw: "5555 1234", country: "GT", want: "+50255551234"},
		{raw: "5555 1234", country: " gt ", want: "+50255551234"},
		{raw: "(415) 555-2671", country: "US", want: "+14155552671"},
		{raw: "+44 (0)161 496 0000", country: "GT", want: "+441614960000"},
		{raw: "0161 496 0000", country: "GB", want: "+441614960000"},
		{raw: "+15551234567", want: "+15551234567"}, // no range in use, yet a length that the country has
		{raw: "5555 1234", wrong: "set country"},
		{raw: "5555 1234", country: "XX", wrong: "country XX"},
		{raw: "not a phone", country: "US", wrong: "is not a phone number"},
		{raw: "+1 415 555 2671 ext. 5", wrong: "extension"},
		{raw: "555-2671", country: "US", wrong: "area code"},
		{raw: "+1 41", wrong: "too short"},
		{raw: "+1 415 555 26711234", wrong: "too long"},
		{raw: strings.Repeat("1", 41), country: "US", wrong: "longer than 40"},
		{raw: "", country: "US", wrong: "is not a phone number"},
	} {
		t.Run(c.raw+" "+c.country, func(t *testing.T) {
			t.Parallel()
			got, err := pgstore.NormalizePhone(c.raw, c.country)
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		" Ana@Example.COM ":    "ana@example.com",
		"ana+news@example.com": "ana+news@example.com",
		"niño@example.com":     "niño@example.com",
	} {
		got, err := pgstore.NormalizeEmail(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got)
	}
	for _, raw := range []string{
		"", "ana", "ana@", "@example.com", "ana@example", "Ana <ana@example.com>", "ana@example.com, bob@example.com",
		"\"a b\"@example.com", "ana@example.com\r\nBcc: eve@example.com", "ana@[127.0.0.1]",
		strings.Repeat("a", 250) + "@example.com",
	} {
		_, err := pgstore.NormalizeEmail(raw)
		require.Error(t, err, raw)
	}
}

func FuzzNormalizePhone(f *testing.F) {
	f.Add("+502 5555-1234", "")
	f.Add("0161 496 0000", "GB")
	f.Fuzz(func(t *testing.T, raw, country string) {
		normal, err := pgstore.NormalizePhone(raw, country)
		if err != nil {
			return
		}
		require.Regexp(t, `^\+[1-9][0-9]{3,16}$`, normal)
		again, err := pgstore.NormalizePhone(normal, "")
		require.NoError(t, err)
		require.Equal(t, normal, again)
	})
}
