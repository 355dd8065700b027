package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// A campaign for later: its time is the reader's, it waits in the list and on its page, nothing of it goes out, and it can
// be called off.
func TestConsole_aScheduledCampaign(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, name := range []string{"Café Quetzal", "Café Tikal"} {
		id, _, _ := s.business("")
		s.call("PATCH", "/crm/businesses/"+id, object{"name": name, "city": "Antigua"}, nil, 200)
	}
	zone, err := time.LoadLocation("America/Guatemala")
	require.NoError(t, err)
	b := s.browseIn("America/Guatemala", apitoken.Operator)
	b.open("/campaigns/new")
	b.reads(`[data-zone-name]`, "America/Guatemala")
	b.types(`#editor input[name=name]`, "Opening hours")
	b.types(`#editor input[name=city]`, "Antigua")
	b.types(`#editor textarea[name=body]`, "Hi {{.Name}}, when are you open?")
	pick := func(at time.Time) { // as somebody who picks it from the calendar
		t.Helper()
		require.True(t, eval[bool](b, `(() => {
			const e = document.querySelector("#editor input[name=send_at]");
			e.value = "`+at.Format("2006-01-02T15:04")+`";
			return e.dispatchEvent(new Event("input", {bubbles: true}));
		})()`))
	}

	pick(time.Now().In(zone).AddDate(0, 0, -1))
	b.reads(`#preview`, "it goes out at once")
	at := time.Now().In(zone).AddDate(0, 0, 3).Truncate(time.Minute)
	pick(at)
	b.reads(`#preview`, "it goes to this one at")
	b.click(`#editor button[value=launch]`)
	b.shows("Schedule 2 messages")
	utc := at.UTC().Format("2006-01-02T15:04:05.000Z")
	require.Equal(t, utc, eval[string](b, `new Date(document.querySelector(".launch .when time").dateTime).toISOString()`))
	b.click(`.launch button.primary`)
	b.reads(`#campaign-head .badge`, "scheduled")
	b.shows("begins")
	id := eval[string](b, `location.pathname.split("/")[2]`)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM campaigns WHERE public_id = $1 AND status = 'scheduled' AND send_at = $2`, id, at))

	// In the list, too, with its time in words of the reader's.
	b.open("/campaigns?status=scheduled")
	b.reads(`#campaign-`+id+` .badge`, "scheduled")
	require.Equal(t, eval[string](b, `new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"}).format(new Date("`+utc+`"))`),
		eval[string](b, `document.querySelector("#campaign-`+id+` .status time").textContent`))
	require.Empty(t, s.sim.Calls(), "nothing goes out")

	// Called off, it stays so.
	b.open("/campaigns/" + id)
	b.press(`#act-cancel`, "they are closed that week")
	b.reads(`#campaign-head .badge`, "cancelled")
	s.awaitCampaign(id, "cancelled")
	s.eventually("no message of it waits", func() bool {
		return s.count(`SELECT count(*) FROM messages WHERE state <> 'canceled'`) == 0 &&
			s.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state NOT IN ('cancelled', 'completed')`) == 0
	})
	require.Empty(t, s.sim.Calls())
	b.open("/campaigns?status=scheduled")
	b.shows("No campaign matches")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_id = $1 AND action = 'campaign.cancel' AND reason = 'they are closed that week'`, id))
	b.quiet()
}

// A test send: from the editor to the draft, from there one message to an address of one's own, written as for somebody
// who would get it. It moves nobody, and the draft stays one.
func TestConsole_aTestSend(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.business("")
	business, phone, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+business, object{"name": "Café Tikal"}, nil, 200)
	b := s.browse(apitoken.Operator)
	b.open("/campaigns/new")
	b.types(`#editor input[name=name]`, "Spring offer")
	b.types(`#editor textarea[name=body]`, "Hi {{.Name}}, a website?")
	b.click(`#editor button.primary`)
	b.reads(`#campaign-head .badge`, "draft")
	id := eval[string](b, `location.pathname.split("/")[2]`)

	test := func(to, as string) {
		t.Helper()
		b.click(`#act-test > summary`)
		b.types(`#act-test input[name=to]`, to)
		b.types(`#act-test input[name=for]`, as)
		b.click(`#act-test .pop button`)
	}
	// What cannot be is said beside the form, which keeps what was typed.
	test("+1 202 555 0142", "Nobody by this name")
	b.reads(`#act-test .form-error`, "No business is found by that name")
	require.Equal(t, "+1 202 555 0142", eval[string](b, `document.querySelector("#act-test input[name=to]").value`))
	b.types(`#act-test input[name=for]`, "Tikal")
	b.click(`#act-test .pop button`)
	b.shows("A test goes to +12025550142")
	b.reads(`.page-head .badge`, "delivered")
	calls := s.sim.Calls()
	require.Len(t, calls, 1)
	require.Equal(t, "+12025550142", calls[0].To)
	require.NotEqual(t, phone, calls[0].To)
	require.Equal(t, "Hi Café Tikal, a website?", calls[0].Body)

	s.awaitCampaign(id, "draft")
	require.Equal(t, 2, s.count(`SELECT count(*) FROM businesses WHERE contact_status = 'pending'`), "it moves nobody")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE target_id = $1 AND action = 'campaign.test'`, id))
	b.open("/campaigns/" + id)
	b.shows("Launch…")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.complain {
		require.Contains(t, line, "status of 422", "the browser complains") // of the name that nobody has
	}
}
