package recipienttime_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"

	"onward/jobs/recipienttime"
)

func TestZonesOf(t *testing.T) {
	t.Parallel()
	usa := []string{
		"America/Adak", "America/Anchorage", "America/Chicago", "America/Denver", "America/Los_Angeles",
		"America/New_York", "America/Phoenix", "Pacific/Honolulu",
	}
	for _, tc := range []struct {
		name      string
		recipient recipienttime.Recipient
		want      []string // sorted
	}{
		{"own zone", recipienttime.Recipient{Timezone: "America/Chicago", Country: "GT", Phone: "+12125550123"}, []string{"America/Chicago"}},
		{"own zone that does not exist", recipienttime.Recipient{Timezone: "America/Gotham", Phone: "+12125550123"}, []string{"America/New_York"}},
		{"the server's zone is nobody's", recipienttime.Recipient{Timezone: "Local", Country: "GT"}, []string{"America/Guatemala"}},
		{"a path is no zone", recipienttime.Recipient{Timezone: "../../etc/passwd", Country: "GT"}, []string{"America/Guatemala"}},
		{"area code", recipienttime.Recipient{Phone: "+14155550123"}, []string{"America/Los_Angeles"}},
		{"area code, same country", recipienttime.Recipient{Country: "us", Phone: "+14155550123"}, []string{"America/Los_Angeles"}},
		{"area code over two zones", recipienttime.Recipient{Phone: "+19075550123"}, []string{"America/Adak", "America/Anchorage"}},
		{"number and country disagree: both", recipienttime.Recipient{Country: "GT", Phone: "+14155550123"}, []string{"America/Guatemala", "America/Los_Angeles"}},
		{"toll-free number: the country", recipienttime.Recipient{Phone: "+18005550123"}, usa},
		{"US alone: contiguous, Alaska, Hawaii", recipienttime.Recipient{Country: "US"}, usa},
		{"Guatemala by number", recipienttime.Recipient{Phone: "+50255551234"}, []string{"America/Guatemala"}},
		{"Guatemala by country", recipienttime.Recipient{Country: " gt "}, []string{"America/Guatemala"}},
		{"national number with country", recipienttime.Recipient{Country: "GT", Phone: "5555 1234"}, []string{"America/Guatemala"}},
		{"the Caribbean within +1", recipienttime.Recipient{Country: "DO"}, []string{"America/Santo_Domingo"}},
		{"Brazil by area code", recipienttime.Recipient{Phone: "+559221234567"}, []string{"America/Manaus"}},
		{"Brazil alone", recipienttime.Recipient{Country: "BR"}, []string{"America/Manaus", "America/Noronha", "America/Rio_Branco", "America/Sao_Paulo"}},
		{"Canada alone", recipienttime.Recipient{Country: "CA"}, []string{
			"America/Edmonton", "America/Halifax", "America/Regina", "America/St_Johns", "America/Toronto", "America/Vancouver", "America/Winnipeg",
		}},
		{"Nicaragua has no summer time", recipienttime.Recipient{Phone: "+50581234567"}, []string{"America/Managua"}},
		{"unknown country, known calling code", recipienttime.Recipient{Country: "XX", Phone: "+50255551234"}, []string{"America/Guatemala"}},
		{"unknown area code of +1: the main country", recipienttime.Recipient{Phone: "+15555550123"}, usa},
		{"satellite phone", recipienttime.Recipient{Phone: "+8816123456789"}, []string{"America/Managua"}},
		{"nothing known", recipienttime.Recipient{}, []string{"America/Managua"}},
		{"rubbish", recipienttime.Recipient{Timezone: "?", Country: "ZZ", Phone: "call me"}, []string{"America/Managua"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			finder := recipienttime.NewZones(zones(t, "America/Managua")[0])
			require.Equal(t, tc.want, names(finder.Of(tc.recipient)))
			require.Equal(t, tc.want, names(finder.Of(tc.recipient)), "the second time, from memory")
		})
	}
}

func names(zones []*time.Location) []string {
	var list []string
	for _, z := range zones {
		list = append(list, z.String())
	}
	slices.Sort(list)
	return list
}

// TestEveryCountryHasZonesAndOpens: for a recipient of whom the country alone is known there are zones,
// and the default window has a minute common to all of them, on every day of a year.
func TestEveryCountryHasZonesAndOpens(t *testing.T) {
	t.Parallel()
	finder := recipienttime.NewZones(time.UTC)
	w := window(t, "08:00-21:00")
	for country := range phonenumbers.GetSupportedRegions() {
		found := finder.Of(recipienttime.Recipient{Country: country})
		require.NotEmpty(t, found, country)
		require.NotContains(t, found, time.UTC, "%s: only the fallback was found", country)
		for day := range 365 {
			now := time.Date(2026, 1, 1+day, 0, 0, 0, 0, time.UTC)
			at, ok := recipienttime.NextOpen(now, w, found)
			require.True(t, ok, "%s on %s", country, now)
			require.Less(t, at.Sub(now), 25*time.Hour, "%s on %s", country, now)
		}
	}
}

func TestUnknownRecipientWithoutFallbackIsInUTC(t *testing.T) {
	t.Parallel()
	require.Equal(t, []*time.Location{time.UTC}, recipienttime.NewZones(nil).Of(recipienttime.Recipient{}))
}

func FuzzZonesOf(f *testing.F) {
	f.Add("America/Chicago", "US", "+12125550123")
	f.Add("", "GT", "5555 1234")
	f.Add("../../etc/passwd", "\xff\xfe", "+1800;ext=5")
	f.Add("Local", "", "tel:0800-FLOWERS;phone-context=+44")
	finder := recipienttime.NewZones(time.UTC)
	w := window(f, "08:00-21:00")
	f.Fuzz(func(t *testing.T, timezone, country, phone string) {
		found := finder.Of(recipienttime.Recipient{Timezone: timezone, Country: country, Phone: phone})
		require.NotEmpty(t, found)
		now := time.Unix(1780000000, 0)
		if at, ok := recipienttime.NextOpen(now, w, found); ok {
			require.True(t, w.Open(at, found))
		}
	})
}
