package console

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPrice(t *testing.T) {
	t.Parallel()
	for amount, want := range map[string]string{
		"2.8361": "2.84", "0.025783": "0.026", "0.5": "0.50", "0": "0.00", "12": "12.00", "0.000091": "0.000091", "0.00123": "0.0012", "": "", "much": "much",
	} {
		require.Equal(t, want, price(amount), amount)
	}
}

func TestDeed(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{
		"event.ticket_opened": "Ticket opened", "business.create": "Business: create", "message.resolve.not_sent": "Message: resolve not sent", "import": "Import",
	} {
		require.Equal(t, want, deed(action), action)
	}
}

func TestPlainly(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"query.country: expected length <= 2": "query.country: at most 2 characters",
		"expected length >= 1":                "at least 1 character",
		"expected number <= 365":              "at most 365",
		"expected length <= of a rope":        "expected length <= of a rope",
		"too late":                            "too late",
	} {
		require.Equal(t, want, plainly(said), said)
	}
}

// What the pointer meets in a chart tells the time of who looks.
func TestChart_place(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Asia/Kolkata")
	require.NoError(t, err)
	at := time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC).In(zone)
	require.Equal(t, "02:00 IST", chart{At: []time.Time{at, at.Add(time.Minute)}}.place(0))
	require.Equal(t, "Mon 2 Mar 2026", chart{At: []time.Time{at, at.AddDate(0, 0, 7)}}.place(0))
}
