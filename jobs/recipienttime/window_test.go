package recipienttime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/jobs/recipienttime"
)

func TestParseWindow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want, wantErr string }{
		{in: "08:00-21:00", want: "08:00-21:00"},
		{in: " 09:30 - 20:15 ", want: "09:30-20:15"},
		{in: "00:00-24:00", want: "00:00-24:00"},
		{in: "off", want: "off"},
		{in: "OFF", want: "off"},
		{in: "21:00-08:00", wantErr: "may not pass midnight"},
		{in: "08:00-08:00", wantErr: "the window is empty"},
		{in: "", wantErr: "want the open hours as 08:00-21:00"},
		{in: "8-21", wantErr: "HH:MM"},
		{in: "8:00-21:00", wantErr: "HH:MM"},
		{in: "08:00-24:01", wantErr: "HH:MM"},
		{in: "08:60-21:00", wantErr: "HH:MM"},
		{in: "-8:00-21:00", wantErr: "HH:MM"},
		{in: "+8:00-21:00", wantErr: "HH:MM"},
		{in: "08:00-21:00-22:00", wantErr: "HH:MM"},
		{in: "08.00-21.00", wantErr: "HH:MM"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			t.Parallel()
			w, err := recipienttime.ParseWindow(tc.in)
			if tc.wantErr != "" {
				require.ErrorContains(t, err, tc.wantErr)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, w.String())
		})
	}
}

func window(t require.TestingT, s string) recipienttime.Window {
	w, err := recipienttime.ParseWindow(s)
	require.NoError(t, err)
	return w
}

func zones(t require.TestingT, names ...string) []*time.Location {
	var list []*time.Location
	for _, n := range names {
		z, err := time.LoadLocation(n)
		require.NoError(t, err)
		list = append(list, z)
	}
	return list
}

func TestNextOpen(t *testing.T) {
	t.Parallel()
	usa := []string{
		"America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles",
		"America/Anchorage", "America/Adak", "Pacific/Honolulu",
	}
	for _, tc := range []struct {
		name   string
		window string
		zones  []string
		now    string
		want   string // empty: never
	}{
		{"open now, to the nanosecond", "08:00-21:00", []string{"America/New_York"}, "2026-06-01T15:04:05.123456789Z", "2026-06-01T15:04:05.123456789Z"},
		{"opens on the minute", "08:00-21:00", []string{"America/New_York"}, "2026-06-01T11:59:59.999999999Z", "2026-06-01T12:00:00Z"},
		{"open at the first instant", "08:00-21:00", []string{"America/New_York"}, "2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z"},
		{"closed at the last", "08:00-21:00", []string{"America/New_York"}, "2026-06-02T01:00:00Z", "2026-06-02T12:00:00Z"},
		{"open in the last minute", "08:00-21:00", []string{"America/New_York"}, "2026-06-02T00:59:59Z", "2026-06-02T00:59:59Z"},
		{"off", "off", []string{"America/New_York"}, "2026-06-01T05:00:00Z", "2026-06-01T05:00:00Z"},
		{"to midnight", "20:00-24:00", []string{"UTC"}, "2026-06-01T23:59:59Z", "2026-06-01T23:59:59Z"},
		{"no zone", "08:00-21:00", nil, "2026-06-01T05:00:00Z", "2026-06-01T05:00:00Z"},

		// US: clocks went forward on 2026-03-08 and go back on 2026-11-01, both at 02:00.
		{"US, the night before winter ends", "08:00-21:00", []string{"America/New_York"}, "2026-03-07T12:59:59Z", "2026-03-07T13:00:00Z"},
		{"US, the night that winter ends", "08:00-21:00", []string{"America/New_York"}, "2026-03-08T02:30:00Z", "2026-03-08T12:00:00Z"},
		{"US, the opening falls in the gap", "02:30-21:00", []string{"America/New_York"}, "2026-03-08T06:10:00Z", "2026-03-08T07:00:00Z"},
		{"US, the window is the gap: a day later", "02:15-02:45", []string{"America/New_York"}, "2026-03-08T06:10:00Z", "2026-03-09T06:15:00Z"},
		{"US, the night that summer ends", "08:00-21:00", []string{"America/New_York"}, "2026-11-01T02:00:00Z", "2026-11-01T13:00:00Z"},
		{"US, the hour that comes twice: open, first time", "01:30-21:00", []string{"America/New_York"}, "2026-11-01T05:45:00Z", "2026-11-01T05:45:00Z"},
		{"US, the hour that comes twice: closed again", "01:30-21:00", []string{"America/New_York"}, "2026-11-01T06:10:00Z", "2026-11-01T06:30:00Z"},
		{"US, closing in the hour that comes twice, opens once more", "00:00-01:30", []string{"America/New_York"}, "2026-11-01T05:40:00Z", "2026-11-01T06:00:00Z"},
		{"Arizona keeps winter time", "08:00-21:00", []string{"America/Phoenix"}, "2026-03-08T05:00:00Z", "2026-03-08T15:00:00Z"},

		// EU: clocks went forward on 2026-03-29 and go back on 2026-10-25, both at 01:00 UTC.
		{"EU, the night that winter ends", "08:00-21:00", []string{"Europe/Madrid"}, "2026-03-28T22:00:00Z", "2026-03-29T06:00:00Z"},
		{"EU, the night before", "08:00-21:00", []string{"Europe/Madrid"}, "2026-03-27T22:00:00Z", "2026-03-28T07:00:00Z"},
		{"EU, the night that summer ends", "08:00-21:00", []string{"Europe/Madrid"}, "2026-10-24T22:00:00Z", "2026-10-25T07:00:00Z"},
		{"EU, the opening falls in the gap", "02:30-21:00", []string{"Europe/Madrid"}, "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"},
		{"EU, the hour that comes twice", "02:30-21:00", []string{"Europe/Madrid"}, "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"},

		{"Lord Howe moves by half an hour", "08:00-21:00", []string{"Australia/Lord_Howe"}, "2026-10-03T12:00:00Z", "2026-10-03T21:00:00Z"},
		{"Samoa had no 30 December 2011", "08:00-21:00", []string{"Pacific/Apia"}, "2011-12-30T08:00:00Z", "2011-12-30T18:00:00Z"},
		{"Guatemala has one offset", "08:00-21:00", []string{"America/Guatemala"}, "2026-06-01T05:00:00Z", "2026-06-01T14:00:00Z"},

		// Without a zone within the US: from 08:00 in Honolulu to 21:00 in New York.
		{"all of the US, summer: Honolulu opens last", "08:00-21:00", usa, "2026-06-01T12:00:00Z", "2026-06-01T18:00:00Z"},
		{"all of the US, summer: New York closes first", "08:00-21:00", usa, "2026-06-02T01:00:00Z", "2026-06-02T18:00:00Z"},
		{"all of the US, winter: an hour more", "08:00-21:00", usa, "2026-01-02T01:59:00Z", "2026-01-02T01:59:00Z"},
		{"all of the US, winter: closed", "08:00-21:00", usa, "2026-01-02T02:00:00Z", "2026-01-02T18:00:00Z"},
		{"all of the US, over the end of winter", "08:00-21:00", usa, "2026-03-08T03:00:00Z", "2026-03-08T18:00:00Z"},
		{"only in winter is there a common minute", "12:00-17:05", []string{"America/New_York", "Pacific/Honolulu"}, "2026-06-01T00:00:00Z", "2026-11-01T22:00:00Z"},

		{"the last day of a leap year, where Go's bounds of a zone fail", "08:00-21:00", []string{"America/New_York"}, "2040-12-31T02:00:30Z", "2040-12-31T13:00:00Z"},
		{"zones without a common minute", "10:00-18:00", []string{"Europe/Kaliningrad", "Asia/Kamchatka"}, "2026-06-01T00:00:00Z", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339Nano, tc.now)
			require.NoError(t, err)
			got, ok := recipienttime.NextOpen(now, window(t, tc.window), zones(t, tc.zones...))
			if tc.want == "" {
				require.False(t, ok, "got %s", got)
				return
			}
			require.True(t, ok)
			require.Equal(t, tc.want, got.Format(time.RFC3339Nano))
		})
	}
}

func TestZeroWindowIsNeverOpen(t *testing.T) {
	t.Parallel()
	_, ok := recipienttime.NextOpen(time.Unix(1780000000, 0), recipienttime.Window{}, zones(t, "UTC"))
	require.False(t, ok)
	require.False(t, recipienttime.Window{}.Open(time.Unix(1780000000, 0), nil))
}

// TestNextOpenIsTheFirstOpenMinute compares with a search minute by minute, over zones with every kind of
// change of the clock: by an hour, by half an hour, by two, by a day, over the year's end, none.
func TestNextOpenIsTheFirstOpenMinute(t *testing.T) {
	t.Parallel()
	names := []string{
		"UTC", "America/New_York", "America/Chicago", "America/Phoenix", "America/Los_Angeles", "America/Anchorage",
		"Pacific/Honolulu", "America/Adak", "America/St_Johns", "America/Guatemala", "America/Sao_Paulo", "America/Santiago",
		"Europe/Madrid", "Europe/London", "Europe/Dublin", "Europe/Moscow", "Africa/Casablanca", "Africa/Cairo",
		"Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Chatham", "Pacific/Apia",
		"Pacific/Kiritimati", "Antarctica/Troll",
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64Range(631152000, 2840140800).Draw(t, "now"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC() // 1990 to 2060
		in := zones(t, rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID).Draw(t, "zones")...)
		if rapid.Bool().Draw(t, "near a change of the clock") {
			_, end := now.In(in[0]).ZoneBounds()
			if !end.IsZero() && end.Year() < 2060 {
				now = end.Add(time.Duration(rapid.Int64Range(-int64(26*time.Hour), int64(26*time.Hour)).Draw(t, "by"))).UTC()
			}
		}
		from := rapid.IntRange(0, 1438).Draw(t, "from")
		to := rapid.IntRange(from+1, 1440).Draw(t, "to")
		w := window(t, fmt.Sprintf("%02d:%02d-%02d:%02d", from/60, from%60, to/60, to%60))

		got, ok := recipienttime.NextOpen(now, w, in)
		const far = 3 * 24 * time.Hour // as far as the search by the minute goes
		end := now.Add(far)
		if ok {
			require.True(t, w.Open(got, in), "%s is quiet", got)
			require.False(t, got.Before(now))
			require.True(t, got.Equal(now) || got.Equal(got.Truncate(time.Minute)))
			if got.Before(end) {
				end = got
			}
		}
		for at := now; at.Before(end); at = at.Truncate(time.Minute).Add(time.Minute) {
			require.False(t, w.Open(at, in), "%s is open, before %s", at, got)
		}
	})
}

// TestTheLastDayOfLeapYears: the search ends on the days on which Go's bounds of a zone fail, with the
// system's zones and with those that Go carries.
func TestTheLastDayOfLeapYears(t *testing.T) {
	t.Parallel()
	w := window(t, "08:00-21:00")
	for _, name := range []string{"America/New_York", "Europe/Madrid", "Australia/Sydney", "Australia/Lord_Howe", "America/Santiago"} {
		in := zones(t, name)
		for year := 2024; year <= 2096; year += 4 {
			for now := time.Date(year, 12, 30, 0, 0, 0, 0, time.UTC); now.Year() == year || now.Day() < 2; now = now.Add(time.Hour) {
				at, ok := recipienttime.NextOpen(now, w, in)
				require.True(t, ok)
				require.True(t, w.Open(at, in))
				require.LessOrEqual(t, at.Sub(now), 11*time.Hour)
			}
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{"08:00-21:00", "off", "21:00-08:00", "00:00-24:00", "-", "aa:bb-cc:dd", "08:00-21:0\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := recipienttime.ParseWindow(s)
		if err != nil {
			return
		}
		again, err := recipienttime.ParseWindow(w.String())
		require.NoError(t, err)
		require.Equal(t, w, again)
		_, ok := recipienttime.NextOpen(time.Unix(1780000000, 0), w, []*time.Location{time.UTC})
		require.True(t, ok)
	})
}

func ExampleNextOpen() {
	w, _ := recipienttime.ParseWindow("08:00-21:00")
	zones := recipienttime.NewZones(time.UTC).Of(recipienttime.Recipient{Phone: "+12125550123"})
	now := time.Date(2026, 3, 8, 3, 30, 0, 0, time.UTC) // 22:30 in New York, the night that winter time ends
	at, ok := recipienttime.NextOpen(now, w, zones)
	fmt.Println(zones[0], at.Format(time.RFC3339), ok)
	// Output: America/New_York 2026-03-08T12:00:00Z true
}
