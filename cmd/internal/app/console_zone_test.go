package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// Times are the reader's: what a chart and a diagram tell on hover, and the day that webhooks are narrowed to. In two
// places whose days never agree, since 25 hours are between them.
func TestConsole_readersZone(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), phone, "How much is it?"))
	s.awaitStatus(id, "contact_status", "replied")
	var received time.Time
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT received_at FROM webhook_events WHERE kind = 'inbound_message'`).Scan(&received))

	zones := []string{"Pacific/Kiritimati", "Pacific/Niue"}
	day := func(zone string) string {
		at, err := time.LoadLocation(zone)
		require.NoError(t, err)
		return received.In(at).Format(time.DateOnly)
	}
	require.NotEqual(t, day(zones[0]), day(zones[1]))
	for i, zone := range zones {
		b := s.browseIn(zone, apitoken.Viewer)

		b.open("/")
		b.reads(`figure.chart .hit:last-of-type title`, "webhooks accepted")
		require.True(t, eval[bool](b, `[...document.querySelectorAll("figure.chart")].every(f => {
			const at = new Date([...f.querySelectorAll(".axis-x time")].pop().dateTime);
			const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"}).format(at);
			return [...f.querySelectorAll(".hit title")].pop().textContent.startsWith(clock + " ");
		})`), "%s: %s", zone, eval[string](b, `[...document.querySelectorAll(".hit title")].pop().textContent`))

		b.open("/businesses/" + id)
		b.reads(`svg.states.contact .way.taken title`, "SMS sent by SMS sent")
		at, err := time.LoadLocation(zone)
		require.NoError(t, err)
		require.Contains(t, eval[string](b, `[...document.querySelectorAll("svg.states.contact .way.taken title")].pop().textContent`), received.In(at).Format("2 Jan 2006 15:04:"))
		require.NotContains(t, eval[string](b, `document.querySelector("#main").innerText`), "UTC")

		b.open("/webhooks?day=" + day(zone))
		b.reads(`#list`, "inbound message")
		b.open("/webhooks?day=" + day(zones[1-i]))
		b.reads(`#list`, "No webhook matches")
		b.quiet()
	}
}
