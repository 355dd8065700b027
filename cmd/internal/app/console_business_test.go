package app_test

import (
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// What is done to all that match: counted and shown first, then done while one looks, then taken back.
func TestConsole_aBulkAction(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.contacts("bakery", 30)
	s.contacts("gym", 5)
	tagged := func() int { return s.count(`SELECT count(*) FROM business_tags WHERE tag = 'vip'`) }
	b := s.browse(apitoken.Operator)
	b.open("/businesses?category=bakery")
	b.reads(`.bulkbar`, "For all that match")
	b.click(`.bulkbar a[href^="/businesses/bulk"]`)
	b.shows("30 businesses")
	b.reads(`#preview`, "Nothing is done before you saw it here")

	b.do(chromedp.SendKeys(chromedp.CSS(`#bulk input[name=tag]`), "VIP"), chromedp.SendKeys(chromedp.CSS(`#bulk input[name=reason]`), "good customers"))
	b.click(`#bulk button.primary`)
	b.reads(`#preview`, "for 30 businesses. The first of them")
	require.Equal(t, 10, eval[int](b, `document.querySelectorAll("#preview tbody tr").length`), "a sample")
	require.Zero(t, tagged(), "a dry run changes nothing")
	require.Zero(t, s.count(`SELECT count(*) FROM operator_actions`))

	b.click(`#preview button`)
	b.shows("Begun, for 30 businesses.")
	eval[bool](b, `window.sameDocument = true`)
	b.reads(`[aria-label=Progress] .badge`, "done")
	b.reads(`[aria-label=Progress]`, "30 done")
	require.True(t, eval[bool](b, `window.sameDocument === true`), "the progress shows without a reload")
	require.Equal(t, 30, tagged())
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE reason = 'good customers' AND actor = 'a operator'`))

	// The filter of the tag has them, and the last bulk actions name it.
	done := eval[string](b, `location.pathname`)
	b.open("/businesses?tag=vip")
	require.Equal(t, 30, eval[int](b, `document.querySelectorAll("#list tbody tr").length`))
	b.open("/businesses/bulk")
	require.True(t, eval[bool](b, `!!document.querySelector('a[href="`+done+`"]')`))

	b.open(done)
	b.do(chromedp.Click(chromedp.CSS(`details.act > summary`)), chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=reason]`), "the wrong ones"),
		chromedp.Click(chromedp.CSS(`details.act[open] button`)))
	b.shows("It is being taken back.")
	b.reads(`[aria-label=Progress] .badge`, "done")
	require.Zero(t, tagged())
	b.open(done)
	b.shows("Taken back")
	require.True(t, eval[bool](b, `!document.querySelector("details.act")`), "once")
	b.quiet()
}

// A business is edited: only what was changed is written, what two changed is refused, and viewers see no form.
func TestConsole_aBusinessIsEdited(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+id, object{"name": "Café Quetzal", "city": "Antigua", "country": "US", "email": "old@example.com"}, nil, 200)
	field := func(name string) any {
		var now object
		s.call("GET", "/crm/businesses/"+id, nil, &now, 200)
		return now[name]
	}
	b := s.browse(apitoken.Operator)
	b.open("/businesses/" + id)
	// Not by the mouse: the form is as high as the window, which scrolls as its fields get the focus.
	open := func() { eval[bool](b, `(document.querySelector("#edit").open = true)`) }
	save := func() { eval[bool](b, `document.querySelector("#edit button.primary").click() === undefined`) }
	open()
	b.types(`#edit input[name=phone]`, "555")
	save()
	b.reads(`#edit .form-error`, "Phone:")
	b.types(`#edit input[name=phone]`, "(202) 555-0143")
	b.types(`#edit input[name=city]`, "Quetzaltenango")
	b.types(`#edit input[name=tags]`, "vip, Asked Twice")
	b.types(`#edit input[name=category]`, "café")
	s.call("PATCH", "/crm/businesses/"+id, object{"email": "new@example.com"}, nil, 200) // meanwhile, and elsewhere
	save()
	b.shows("Changed.")
	require.Equal(t, []any{"+12025550143", "Quetzaltenango", "café", "new@example.com"}, []any{field("phone"), field("city"), field("category"), field("email")})
	require.Equal(t, []any{"asked twice", "vip"}, field("tags"))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'business.update' AND actor = 'a operator'`))
	b.shows("new@example.com")

	open()
	b.types(`#edit input[name=city]`, "Cobán")
	s.call("PATCH", "/crm/businesses/"+id, object{"city": "Flores"}, nil, 200)
	save()
	b.reads(`#edit .form-error`, "City was changed by somebody else meanwhile, to “Flores”")
	require.Equal(t, "Flores", field("city"))

	// Empty takes a value away; nothing changed is no change.
	b.open("/businesses/" + id)
	open()
	b.types(`#edit input[name=category]`, "")
	save()
	b.shows("Changed.")
	require.Nil(t, field("category"))
	open()
	save()
	b.shows("Nothing was changed.")

	viewer := s.browse(apitoken.Viewer)
	viewer.open("/businesses/" + id)
	require.False(t, eval[bool](viewer, `!!document.querySelector("#edit")`))
	require.Equal(t, http.StatusForbidden, eval[int](viewer, `(() => { const r = new XMLHttpRequest(); r.open("POST", location.pathname, false); r.send(); return r.status })()`))
}

// A message's page tells what was reported of it, from the provider's word to the raw request and its job.
func TestConsole_aMessageTellsItsReports(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	campaign := s.campaign("sms", id)
	message := s.awaitMessage(campaign, id, "delivered").str("id")
	s.awaitApplied()
	b := s.browse(apitoken.Viewer)
	b.open("/messages/" + message)
	b.reads(`#reports`, "delivered")
	require.Equal(t, s.count(`SELECT count(*) FROM webhook_events`), eval[int](b, `document.querySelectorAll('#reports a[href^="/webhooks/"]').length`), "each report")
	require.True(t, eval[bool](b, `[...document.querySelectorAll("#reports li time")].map(e => e.dateTime).every((at, i, all) => i === 0 || at <= all[i - 1])`), "the newest is first")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM facts WHERE event = 'sms_sent'`))
	bySend := s.count(`SELECT count(*) FROM facts WHERE event = 'sms_sent' AND receipt_id IS NULL`) // 0: a report came before the send had its answer
	require.Equal(t, bySend, eval[int](b, `[...document.querySelectorAll("#reports li b")].filter(e => e.textContent === "SMS sent").length`), "the send itself is among them")
	require.True(t, eval[bool](b, `[...document.querySelectorAll("#reports li")].every(e => e.querySelector('a[href^="/queue/jobs/"]'))`), "each has its job")
	b.click(`#reports a[href^="/webhooks/"]`)
	b.shows("MessageStatus")
	require.True(t, eval[bool](b, `!!document.querySelector('.came a[href="/messages/`+message+`"], a[href="/messages/`+message+`"]')`), "and back")
	b.quiet()
}

// A list of addresses: looked at first, with the refused rows and why; then suppressed; then in the export.
func TestConsole_suppressionsAreImported(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.call("POST", "/suppressions", object{"channel": "email", "address": "known@example.com"}, nil, 201)
	file := filepath.Join(t.TempDir(), "blocklist.csv")
	require.NoError(t, os.WriteFile(file, []byte("Address;Reason;Rating\n(202) 555-0101;asked by mail;5\nana@example.com;;\nknown@example.com;;\n12;;\nbo@@example.com;;1\n"), 0o600))
	suppressed := func() int { return s.count(`SELECT count(*) FROM suppressions WHERE lifted_at IS NULL`) }
	b := s.browse(apitoken.Operator)
	b.open("/settings/suppressions")
	b.click(`a[href="/settings/suppressions/import"]`)
	b.do(
		chromedp.SetUploadFiles(chromedp.CSS(`#import input[type=file]`), []string{file}),
		chromedp.SendKeys(chromedp.CSS(`#import input[name=country]`), "US"),
		chromedp.SendKeys(chromedp.CSS(`#import input[name=reason]`), "list of the provider before"),
	)
	b.click(`#import button.primary`)
	b.reads(`#result`, "What would come of blocklist.csv")
	b.reads(`#result`, "Suppress 2 addresses")
	require.Equal(t, []string{"2", "1", "2"}, eval[[]string](b, `[...document.querySelectorAll("#result .stat dd")].map(e => e.textContent)`))
	require.Equal(t, []string{"5 12", "6 bo@@example.com"}, eval[[]string](b, `[...document.querySelectorAll("#refused tbody tr")].map(r => r.cells[0].textContent + " " + r.cells[1].textContent)`))
	require.Contains(t, eval[string](b, `document.querySelector("#result").textContent`), "Rating", "a column that nobody knows is named")
	require.Equal(t, 1, suppressed(), "a check changes nothing")

	b.click(`#result button`)
	b.reads(`#result`, "blocklist.csv is imported")
	require.Equal(t, 3, suppressed())
	require.Equal(t, 1, s.count(`SELECT count(*) FROM suppressions WHERE address = '+12025550101' AND reason = 'asked by mail' AND source = 'import'`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'suppressions.import' AND target_id = 'blocklist.csv' AND reason = 'list of the provider before' AND actor = 'a operator'`))

	b.open("/settings/suppressions")
	b.shows("ana@example.com")
	exported := eval[string](b, `(() => { const r = new XMLHttpRequest(); r.open("GET", document.querySelector('a[href="/settings/suppressions.csv"]').href, false); r.send(); return r.responseText })()`)
	rows, err := csv.NewReader(strings.NewReader(exported)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4, "with its head")

	// What is no table is refused in words.
	require.NoError(t, os.WriteFile(file, []byte("name\nAna\n"), 0o600))
	b.open("/settings/suppressions/import")
	b.do(chromedp.SetUploadFiles(chromedp.CSS(`#import input[type=file]`), []string{file}), chromedp.SendKeys(chromedp.CSS(`#import input[name=reason]`), "x"))
	b.click(`#import button.primary`)
	b.reads(`#import .form-error`, "no column address")
}

// Whose weeks: the reader's. A filter by country and campaign is in the address, in the table and in the CSV.
func TestConsole_analyticsFilters(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	here, _, _ := s.business("")
	there, _, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+here, object{"country": "US"}, nil, 200)
	s.call("PATCH", "/crm/businesses/"+there, object{"country": "CA"}, nil, 200)
	first := s.campaign("sms", here)
	s.awaitMessage(first, here, "delivered")
	second := s.campaign("sms", there)
	s.awaitMessage(second, there, "delivered")
	var funnel struct{ Total []struct{ Businesses int } }
	s.eventually("analytics have followed", func() bool {
		s.call("GET", "/analytics/funnel", nil, &funnel, 200)
		return len(funnel.Total) > 1 && funnel.Total[1].Businesses == 2
	})
	b := s.browseIn("America/Guatemala", apitoken.Viewer)
	contacted := func() string {
		return eval[string](b, `document.querySelector("#funnel tbody tr").cells[1].textContent`)
	}
	b.open("/analytics")
	require.Equal(t, "2", contacted())
	require.Contains(t, eval[string](b, `document.querySelector("a[download]").href`), "timezone=America%2FGuatemala")
	monday := eval[string](b, `document.querySelector("table.heat tbody time").dateTime`)
	at, err := time.Parse(time.RFC3339Nano, monday)
	require.NoError(t, err)
	require.Equal(t, "Mon 06:00", at.UTC().Format("Mon 15:04"), "midnight in Guatemala")

	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=country]`), "us\n"))
	b.reads(`#funnel tbody tr td:nth-child(2)`, "1")
	require.Contains(t, b.location(), "country=us")
	require.Contains(t, eval[string](b, `document.querySelector("a[download]").href`), "country=US")
	b.open("/analytics?by=country&campaign_id=" + second)
	require.Equal(t, "1", contacted())
	require.Equal(t, "CA", eval[string](b, `document.querySelector("table.heat tbody th").textContent`))
	require.Equal(t, second, eval[string](b, `document.querySelector("select[name=campaign_id]").value`))
	b.open("/analytics?country=GT")
	b.shows("Nobody was contacted by this filter")

	// A day is the reader's, from its first minute to its last.
	zone, err := time.LoadLocation("America/Guatemala")
	require.NoError(t, err)
	today := time.Now().In(zone)
	b.open("/analytics?from=" + today.AddDate(0, 0, -1).Format(time.DateOnly) + "&to=" + today.AddDate(0, 0, 1).Format(time.DateOnly))
	require.Equal(t, "2", contacted())
	b.open("/analytics?to=" + today.AddDate(0, 0, -2).Format(time.DateOnly))
	b.shows("Nobody was contacted by this filter")
	b.quiet()
}

// Once a session is over, what River's pages fetch by themselves is refused without a window that asks for a password;
// who loads a page comes to the login, and from there back.
func TestConsole_riverUIAfterASession(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	b := s.browse(apitoken.Operator)
	b.do(chromedp.Navigate(b.base + "/jobs/"))
	const ask = `(() => { const r = new XMLHttpRequest(); r.open("GET", "/jobs/api/jobs?limit=1&state=completed", false); r.send(); return r.status + " " + r.getResponseHeader("WWW-Authenticate") })()`
	require.Equal(t, "200 null", eval[string](b, ask))
	s.exec(`DELETE FROM console_sessions`)
	require.Equal(t, `401 Bearer realm="onward"`, eval[string](b, ask))
	b.do(chromedp.Navigate(b.base + "/jobs/"))
	require.Contains(t, b.location(), "/login?next=%2Fjobs%2F")
}
