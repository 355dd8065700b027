package app_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// From a business's timeline to the raw request that moved it, on to what came of it, and once more through the rules.
func TestConsole_aReceiptIsFollowedAndReplayed(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+id, object{"name": "Café Quetzal"}, nil, 200)
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	sid := newSID("SM")
	require.Equal(t, 200, s.reply(sid, phone, "How much is it?"))
	s.awaitStatus(id, "contact_status", "replied")
	source, _ := s.transitions(id, "reply_received")[0]["source"].(map[string]any)
	receipt := source["id"].(string)

	b := s.browse(apitoken.Operator)
	b.open("/businesses/" + id)
	b.do(chromedp.WaitVisible(chromedp.CSS(`.timeline a[href="/webhooks/`+receipt+`"]`)), chromedp.Click(chromedp.CSS(`.timeline a[href="/webhooks/`+receipt+`"]`)))
	b.shows("What came of it")
	b.shows("MessageSid")
	b.shows(sid)
	b.shows("How much is it?")
	require.Equal(t, []string{"SMS sent", "replied", "applied"}, eval[[]string](b, `[...document.querySelectorAll(".came .moves .badge")].map(e => e.textContent)`))
	require.True(t, eval[bool](b, `!!document.querySelector('.came a[href="/businesses/`+id+`"]') && !!document.querySelector('.came a[href^="/queue/jobs/"]')`))

	// It is found by the phone, in any spelling, and the address says how.
	b.open("/webhooks")
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=q]`), phone[:2]+" ("+phone[2:5]+") "+phone[5:]+"\n"))
	require.Eventually(t, func() bool {
		return b.holds(`location.href.includes("/webhooks?q=") && !!document.getElementById("r` + receipt + `")`)
	}, patience, 20*time.Millisecond, "the list narrows")

	// What arrives shows by itself, above what was there.
	eval[bool](b, `window.sameDocument = true`)
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Well?"))
	require.Eventually(t, func() bool {
		return b.holds(`[...document.querySelectorAll("#list tbody tr")].findIndex(r => r.id === "r` + receipt + `") > 0`)
	}, patience, 20*time.Millisecond, "the new one stands above")
	require.True(t, eval[bool](b, `window.sameDocument === true`))

	// A replay: first what would change, then why, then what came of it.
	b.open("/webhooks/" + receipt + "/replay")
	b.shows("Nothing would change")
	require.Equal(t, 0, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'receipt.replay'`))
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=reason]`), "to be sure"), chromedp.Click(chromedp.CSS(`main form button.primary`)))
	b.shows("It is being applied again")
	b.shows("to be sure")
	require.Eventually(t, func() bool {
		return b.holds(`[...document.querySelectorAll(".plainlist .badge")].filter(e => e.textContent === "completed").length === 2`)
	}, patience, 20*time.Millisecond, "the second job is done, and shows without a reload")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'receipt.replay' AND reason = 'to be sure' AND actor = 'a operator'`))
	require.Len(t, s.transitions(id, "reply_received"), 2, "the replay recorded nothing twice")
	b.quiet()
}

// A cause of failures is put right: a dry run says what would be left and why, the reason is kept, the progress shows.
func TestConsole_aFailureGroupIsRetried(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	campaign := s.campaign("sms", id)
	s.awaitMessage(campaign, id, "delivered")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Hello?"))
	s.awaitStatus(id, "contact_status", "replied")
	exec := func(sql string, args ...any) {
		_, err := s.db.Pool.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	const failed = `ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'error', 'could not extend file "base/' || n || '": No space left on device (SQLSTATE 53100)', 'trace', 'goroutine 7')]`
	exec(`
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, attempted_at, finalized_at, errors)
		SELECT 'reply', 'inbound', 'discarded', jsonb_build_object('receipt_id', (SELECT id FROM webhook_events WHERE kind = 'inbound_message')), 25, 25, now(), now(), ` + failed + `
		FROM generate_series(1, 3) n`)
	// One that may have been sent is left.
	other, _, _ := s.business("")
	exec(`
		WITH m AS (
			INSERT INTO messages (public_id, business_id, channel, address, body, state)
			SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'unknown' FROM businesses WHERE public_id = $1
			RETURNING id
		)
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, attempted_at, finalized_at, errors)
		SELECT 'send', 'send_sms', 'discarded', jsonb_build_object('message_id', m.id, 'channel', 'sms'), 25, 25, now(), now(), `+failed+`
		FROM m, generate_series(4, 4) n`, other)

	viewer := s.browse(apitoken.Viewer)
	viewer.open("/queue")
	viewer.shows("No space left on device")
	require.Empty(t, eval[[]string](viewer, `[...document.querySelectorAll("main form button, main .toolbar button")].filter(e => !e.disabled).map(e => e.textContent)`), "a viewer finds nothing to press")
	viewer.quiet()

	b := s.browse(apitoken.Operator)
	b.open("/queue")
	b.shows("No space left on device")
	b.shows("4 jobs")
	// From the list of all jobs, too, an act is on those that the list shows.
	b.open("/queue/jobs?kind=send&state=discarded")
	b.do(chromedp.Click(chromedp.CSS(`.panel-strip a[href*="verb=retry"]`)))
	b.shows("Retry jobs")
	require.Equal(t, "?kind=send&state=discarded&verb=retry", eval[string](b, `"?" + [...new URLSearchParams(location.search)].sort().map(p => p.join("=")).join("&")`))
	b.open("/queue")
	b.do(chromedp.Click(chromedp.CSS(`a[href*="verb=retry"]`)), chromedp.WaitVisible(chromedp.CSS(`#would`)))
	require.Equal(t, "3", eval[string](b, `document.querySelector("#would").textContent`))
	b.shows("the message may have gone out")
	require.Equal(t, 4, s.count(`SELECT count(*) FROM river_job WHERE state = 'discarded'`), "a dry run changes nothing")

	b.do(
		chromedp.SendKeys(chromedp.CSS(`input[name=reason]`), "the disk has room again"),
		chromedp.SendKeys(chromedp.CSS(`input[name=per_second]`), "5"),
		chromedp.Click(chromedp.CSS(`.act-form button`)),
	)
	b.shows("3 jobs put back. 1 left as they were.")
	b.shows("the disk has room again")
	require.Eventually(t, func() bool {
		return b.holds(`[...document.querySelectorAll(".stat")].some(s => s.innerText.startsWith("Done since") && s.innerText.trim().endsWith("3"))`)
	}, patience, 20*time.Millisecond, "the progress shows without a reload")
	require.Equal(t, 3, s.count(`SELECT count(*) FROM river_job WHERE state = 'completed' AND metadata ? 'onward_action'`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'jobs.retry' AND reason = 'the disk has room again' AND actor = 'a operator'`))

	// The one that was left tells its error, its stack and its message.
	var left string
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT id::text FROM river_job WHERE state = 'discarded'`).Scan(&left))
	b.open("/queue/jobs/" + left)
	b.shows("SQLSTATE 53100")
	require.True(t, eval[bool](b, `!!document.querySelector('a[href^="/messages/"]') && !!document.querySelector('a[href="/businesses/`+other+`"]')`))

	// A queue is paused with a reason, and goes on.
	b.open("/queue")
	for _, verb := range []string{"pause", "resume"} {
		eval[bool](b, `document.querySelector("#qbilling summary").click() === undefined`)
		b.do(chromedp.SendKeys(chromedp.CSS(`#qbilling input[name=reason]`), "Recurrente is down: "+verb), chromedp.Click(chromedp.CSS(`#qbilling form button`)))
		b.shows(map[string]string{"pause": "is paused: what runs goes on", "resume": "is worked again"}[verb])
		want := 0
		if verb == "pause" {
			b.shows("by a operator: Recurrente is down: pause")
			want = 1
		}
		require.Equal(t, want, s.count(`SELECT count(*) FROM river_queue WHERE name = 'billing' AND paused_at IS NOT NULL`))
	}
	b.quiet()
}

// The numbers of the charts are the API's.
func TestConsole_analytics(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	b := s.browse(apitoken.Viewer)
	b.open("/analytics")
	b.shows("Nobody was contacted")

	first, phone, _ := s.business("")
	second, _, _ := s.business("")
	campaign := s.campaign("sms", first, second)
	s.awaitMessage(campaign, first, "delivered")
	s.awaitMessage(campaign, second, "delivered")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Yes"))
	s.awaitStatus(first, "contact_status", "replied")

	type stage struct {
		Stage      string
		Businesses int
	}
	var funnel struct{ Total []stage }
	s.eventually("analytics have followed", func() bool {
		s.call("GET", "/analytics/funnel", nil, &funnel, 200)
		return len(funnel.Total) > 4 && funnel.Total[0].Businesses == 2 && funnel.Total[4].Businesses == 1
	})
	b.open("/analytics?by=campaign")
	var want []string
	for _, f := range funnel.Total {
		want = append(want, f.Stage+" "+strconv.Itoa(f.Businesses))
	}
	require.Equal(t, want, eval[[]string](b, `[...document.querySelectorAll("#funnel tbody tr")].map(r => r.cells[0].textContent + " " + r.cells[1].textContent)`))
	require.Equal(t, len(want), eval[int](b, `document.querySelectorAll("figure.row-chart li svg[role=img] title").length`), "each bar says what it shows")
	require.True(t, eval[bool](b, `!!document.querySelector('table.heat a[href="/campaigns/`+campaign+`"]')`))

	var results struct{ Items []map[string]any }
	s.call("GET", "/analytics/campaigns", nil, &results, 200)
	require.Len(t, results.Items, 1)
	b.open("/analytics/campaigns")
	var numbers []float64
	for _, name := range []string{"sent", "delivered", "opened", "clicked", "replied", "purchased", "opted_out", "failed"} {
		numbers = append(numbers, results.Items[0][name].(float64))
	}
	require.Equal(t, numbers, eval[[]float64](b, `[...document.querySelectorAll("#results tbody tr td")].slice(1, 9).map(c => parseInt(c.innerText))`))

	// The table leads out as CSV, through the session.
	csv := eval[string](b, `(() => { const r = new XMLHttpRequest(); r.open("GET", document.querySelector("a[download]").href, false); r.send(); return r.status + " " + r.responseText })()`)
	require.True(t, strings.HasPrefix(csv, "200 campaign_id,"), csv)
	require.Contains(t, csv, campaign)

	b.open("/analytics/revenue")
	b.shows("Nobody paid")
	b.open("/analytics/at-risk")
	b.shows("No customer is at risk")
	b.do(chromedp.EmulateViewport(360, 740))
	for _, path := range []string{
		"/analytics", "/analytics/campaigns", "/analytics/revenue", "/analytics/at-risk", "/webhooks", "/queue", "/queue/jobs",
	} {
		b.open(path)
		require.LessOrEqual(t, eval[int](b, `document.documentElement.scrollWidth`), 360, "%s scrolls sideways", path)
		require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
			.filter(e => !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)`), "%s: every field has a label", path)
	}
	b.quiet()
}
