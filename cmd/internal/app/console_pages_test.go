package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// furnish fills a database so that no page is empty, and returns the address of every page of the console, by its route.
func (s *stack) furnish() map[string]string {
	s.Helper()
	_, err := pgstore.Generate(s.Context(), s.db.Pool, pgstore.GenerateOptions{Businesses: 150, Facts: 1500, Seed: 1, Outreach: true})
	require.NoError(s, err)
	id, phone, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+id, object{
		"name": strings.Repeat("Una panadería con un nombre muy largo ", 4), "city": "Quetzaltenango", "category": "bakery",
		"email": "una.direccion.que.no.termina.nunca." + strings.Repeat("x", 40) + "@panaderia.example", "tags": []string{"vip", "asked twice"},
	}, nil, 200)
	site := s.site(id, "su_1")
	s.call("POST", "/crm/businesses/"+id+"/events", object{"event": "ticket_opened", "note": "asks for a photo"}, nil, 202)
	campaign := s.campaign("sms", id)
	message := s.awaitMessage(campaign, id, "delivered").str("id")
	require.Equal(s, http.StatusOK, s.reply(newSID("SM"), phone, "How much is it? "+strings.Repeat("aaaaaaaaaaaaaaaaaaaa", 8)))
	s.awaitStatus(id, "contact_status", "replied")
	_, _, err = s.sim.Charge(providersim.Charge{SiteID: site, SubscriptionID: "su_1", AmountInCents: 123456789, Currency: "GTQ"})
	require.NoError(s, err)
	s.awaitStatus(id, "contact_status", "purchased")

	lost, _, _ := s.business(providersim.MagicDrop)
	held := s.awaitMessage(s.campaign("sms", lost), lost, "held").str("id")
	refused, _, _ := s.business(providersim.MagicBadToken)
	paused := s.campaign("sms", refused)
	s.awaitCampaign(paused, "paused")
	var draft, bulk object
	s.call("POST", "/campaigns", object{"name": "Draft", "channel": "email", "subject": "Hi {{.Name}}", "body": "Hi {{.Name}}", "audience": object{"filter": object{}}}, &draft, 201)
	s.call("POST", "/crm/businesses/bulk", object{"action": "tag", "tag": "seen", "filter": object{"city": "Quetzaltenango"}, "reason": "to see them"}, &bulk, 202)
	s.call("POST", "/suppressions", object{"channel": "sms", "address": "+12025550199", "reason": "asked by phone"}, nil, 201)
	s.call("POST", "/queues/billing/pause", object{"reason": "Recurrente is down"}, nil, 200)
	s.exec(`
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, attempted_at, finalized_at, errors)
		SELECT 'reply', 'inbound', 'discarded', jsonb_build_object('receipt_id', gen_random_uuid()), 25, 25, now(), now(),
			ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'error', 'could not extend file "base/` + strings.Repeat("1234567890", 12) + `": No space left on device (SQLSTATE 53100)', 'trace', 'goroutine 7')]
		FROM generate_series(1, 3)`)
	var job, receipt, acted string
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), `SELECT max(id)::text FROM river_job WHERE state = 'discarded'`).Scan(&job))
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), `SELECT id::text FROM webhook_events WHERE kind = 'inbound_message' ORDER BY id DESC LIMIT 1`).Scan(&receipt))
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), `
		INSERT INTO operator_actions (actor, action, target_type, target_id, reason, details)
		VALUES ('ana', 'jobs.retry', 'jobs', 'kind=reply', 'the disk has room again', '{"matched": 3, "done": 3, "refused": 0}')
		RETURNING id::text`).Scan(&acted))
	var inbox page
	s.call("GET", "/replies?limit=1", nil, &inbox, 200)
	s.eventually("analytics have followed", func() bool {
		var revenue struct {
			Totals []struct {
				Gross int64 `json:"gross_in_cents"`
			}
		}
		s.call("GET", "/analytics/revenue", nil, &revenue, 200)
		return len(revenue.Totals) > 0 && revenue.Totals[0].Gross >= 123456789
	})
	return map[string]string{
		"/": "/", "/businesses": "/businesses", "/businesses/{id}": "/businesses/" + id, "/businesses/bulk": "/businesses/bulk?city=Denver",
		"/businesses/bulk/{id}": "/businesses/bulk/" + bulk.str("id"),
		"/campaigns":            "/campaigns", "/campaigns/new": "/campaigns/new", "/campaigns/{id}": "/campaigns/" + campaign,
		"/campaigns/{id}/edit": "/campaigns/" + draft.str("id") + "/edit", "/campaigns/{id}/launch": "/campaigns/" + draft.str("id") + "/launch",
		"/replies": "/replies?state=all", "/replies/{id}": "/replies/" + inbox.Items[0].str("id"),
		"/messages": "/messages", "/messages/{id}": "/messages/" + message, "a held message": "/messages/" + held, "a paused campaign": "/campaigns/" + paused,
		"/webhooks": "/webhooks", "/webhooks/{id}": "/webhooks/" + receipt, "/webhooks/{id}/replay": "/webhooks/" + receipt + "/replay",
		"/queue": "/queue", "/queue/jobs": "/queue/jobs", "/queue/jobs/{id}": "/queue/jobs/" + job, "/queue/act": "/queue/act?verb=retry&kind=reply&state=discarded",
		"/queue/acts/{id}": "/queue/acts/" + acted,
		"/analytics":       "/analytics", "cohorts by campaign": "/analytics?by=campaign", "/analytics/campaigns": "/analytics/campaigns",
		"/analytics/revenue": "/analytics/revenue", "money by week": "/analytics/revenue?by=week", "/analytics/at-risk": "/analytics/at-risk",
		"/settings": "/settings", "/settings/senders": "/settings/senders", "/settings/suppressions": "/settings/suppressions",
		"/settings/suppressions/import": "/settings/suppressions/import", "/settings/tokens": "/settings/tokens", "/settings/log": "/settings/log",
		"a page that is not there": "/nothing-here", "a filter without a match": "/businesses?q=nobody-has-this-name", "a filter that is wrong": "/businesses?country=Guatemala",
	}
}

// colorRules is the part of a script that tells how well two colours can be told apart, by WCAG 2.2.
const colorRules = `
	const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
	const draw = canvas.getContext("2d", {willReadFrequently: true});
	const rgba = (css) => { // whatever notation the browser computes
		draw.clearRect(0, 0, 1, 1); draw.fillStyle = css; draw.fillRect(0, 0, 1, 1);
		const d = draw.getImageData(0, 0, 1, 1).data;
		return [d[0], d[1], d[2], d[3] / 255];
	};
	const over = (a, b, alpha) => [0, 1, 2].map(i => a[i] * alpha + b[i] * (1 - alpha));
	const ground = (e) => {
		const chain = [];
		for (; e; e = e.parentElement) chain.unshift(e);
		let g = [255, 255, 255];
		for (const x of chain) {
			const c = rgba(getComputedStyle(x).backgroundColor);
			if (c[3] > 0) g = over(c, g, c[3]);
		}
		return g;
	};
	const faded = (e) => { let o = 1; for (; e; e = e.parentElement) o *= parseFloat(getComputedStyle(e).opacity); return o; };
	const light = (c) => { const l = c.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
	const ratio = (a, b) => { const x = light(a), y = light(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
`

// pageRules is a script that returns what is wrong with the page as it stands, at this width and in this theme.
const pageRules = `(() => {
	const wrong = [], seen = new Set();
	const say = (what, e) => {
		const line = what + ": " + (e.outerHTML || "").replace(/\s+/g, " ").slice(0, 160);
		if (!seen.has(line)) { seen.add(line); wrong.push(line); }
	};
	const shown = (e) => e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) && !e.closest(".sr, [aria-hidden=true], .skip");

	// Nothing scrolls sideways, and nothing sticks out of the page but what scrolls in a box of its own.
	if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is " + document.documentElement.scrollWidth + " wide");
	for (const e of document.querySelectorAll("main *")) {
		const r = e.getBoundingClientRect();
		if (r.width === 0 || r.right <= innerWidth + 1 || !shown(e)) continue;
		let box = e.parentElement;
		while (box && !["auto", "scroll", "hidden"].includes(getComputedStyle(box).overflowX)) box = box.parentElement;
		if (!box) say("sticks out", e);
	}

	// Everything has a name for those who do not see it.
	for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea")) if (!e.labels.length && !e.ariaLabel) say("no label", e);
	for (const e of document.querySelectorAll("button, a[href], summary")) {
		if (!(e.ariaLabel || e.title || e.textContent.trim() || e.querySelector("img[alt]:not([alt=''])"))) say("no name", e);
	}
	for (const e of document.querySelectorAll("img:not([alt])")) say("no alt", e);
	for (const e of document.querySelectorAll("svg[role=img]")) if (!e.getAttribute("aria-label") && !e.querySelector("title")) say("a drawing without a name", e);
	for (const e of document.querySelectorAll("th:not([scope])")) say("a head of neither column nor row", e);
	const ids = new Set();
	for (const e of document.querySelectorAll("[id]")) { if (ids.has(e.id)) say("an id twice", e); ids.add(e.id); }
	if (document.querySelectorAll("h1").length !== 1) wrong.push(document.querySelectorAll("h1").length + " first headings");
	if (!document.documentElement.lang || !document.title) wrong.push("no language or title");

	// WCAG 2.2, 1.4.3: text stands out 4.5 to 1 from its ground, large text 3 to 1. What is disabled is exempt.
` + colorRules + `
	const check = (e, color, back, what) => {
		const style = getComputedStyle(e), size = parseFloat(style.fontSize), c = rgba(color), o = c[3] * faded(e);
		const need = size >= 24 || size >= 18.66 && parseInt(style.fontWeight) >= 700 ? 3 : 4.5;
		const has = ratio(over(c, back, o), back);
		if (has < need) say(what + " " + has.toFixed(2) + " to 1", e);
	};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION", "TITLE", "title"].includes(e.tagName) || !shown(e)) continue;
		if (e.closest(":disabled, [aria-disabled=true]")) continue;
		const box = e.tagName === "text" && e.parentElement.querySelector("rect");
		if (box) check(e, getComputedStyle(e).fill, over(rgba(getComputedStyle(box).fill), ground(e), 1), "text on its box");
		else check(e, getComputedStyle(e).color, ground(e), "text");
	}
	for (const e of document.querySelectorAll("input[placeholder], textarea[placeholder]")) {
		if (shown(e) && !e.disabled) check(e, getComputedStyle(e, "::placeholder").color, ground(e), "placeholder");
	}
	return wrong;
})()`

// focusRules is a script that returns what keeps those without a mouse from using the page: what cannot be reached by Tab,
// does not show that it has the focus, or cannot be left by Escape.
const focusRules = `(() => {
	const wrong = [], seen = new Set();
	const say = (what, e) => {
		const line = what + ": " + e.outerHTML.replace(/\s+/g, " ").slice(0, 160);
		if (!seen.has(line)) { seen.add(line); wrong.push(line); }
	};
` + colorRules + `
	const cutOff = (r, from, what, e) => { // by a box that does not scroll that way; what is fixed is cut off by none
		for (let at = from, box = from.parentElement; box && box !== document.body; at = box, box = box.parentElement) {
			if (getComputedStyle(at).position === "fixed") return;
			const b = box.getBoundingClientRect(), s = getComputedStyle(box);
			if (s.overflowY !== "visible" && box.scrollHeight <= box.clientHeight && (r.top < b.top - 0.5 || r.bottom > b.bottom + 0.5)) say(what, e);
			if (s.overflowX !== "visible" && box.scrollWidth <= box.clientWidth && (r.left < b.left - 0.5 || r.right > b.right + 0.5)) say(what + " at a side", e);
		}
	};
	const stops = (within) => {
		for (const e of within.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]")) {
			if (e.id === "main" || e.disabled || !e.checkVisibility({visibilityProperty: true})) continue;
			if (e.tabIndex < 0) { say("Tab does not come here", e); continue; }
			if (e.tabIndex > 0) say("it jumps the queue", e);
			e.focus({preventScroll: true, focusVisible: true});
			if (document.activeElement !== e) { say("it takes no focus", e); continue; }
			const style = getComputedStyle(e), width = parseFloat(style.outlineWidth), more = width + parseFloat(style.outlineOffset);
			if (style.outlineStyle === "none" || width < 2) { say("it shows no focus", e); continue; }
			const back = ground(e.parentElement), ring = rgba(style.outlineColor), has = ratio(over(ring, back, ring[3]), back);
			if (has < 3) say("its ring stands out " + has.toFixed(2) + " to 1", e);
			const r = e.getBoundingClientRect();
			cutOff({top: r.top - more, bottom: r.bottom + more, left: r.left - more, right: r.right + more}, e, "its ring is cut off", e);
		}
	};
	const acts = document.querySelectorAll("details.act");
	for (const d of acts) d.open = false;
	stops(document.body);
	for (const d of acts) {
		d.open = true;
		const pop = d.querySelector(".pop"), r = pop.getBoundingClientRect();
		stops(pop);
		if (r.left < 0 || r.right > innerWidth) say("it opens beyond the page", d);
		for (let box = d; box && getComputedStyle(pop).position !== "fixed"; box = box.parentElement) {
			if (box === document.body) break;
			const s = getComputedStyle(box), b = box.getBoundingClientRect();
			if ((s.overflowX !== "visible" || s.overflowY !== "visible") && (r.bottom > b.bottom || r.left < b.left)) say("what it opens is cut off", d);
		}
		pop.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true}));
		if (d.open || document.activeElement !== d.querySelector("summary")) say("Escape does not close it, or loses the focus", d);
		d.open = false;
	}
	for (const e of document.querySelectorAll("[hx-get], [hx-post], [data-do]")) {
		if (!e.hasAttribute("hx-trigger") && !e.matches("a[href], button, form, input, select, textarea")) say("only a mouse can press it", e);
	}
	return wrong;
})()`

// Every page, as narrow as a phone and as wide as a desk, light and dark: nothing scrolls sideways, everything has a name,
// all text can be read, and all of it can be used without a mouse. A page that is missing here fails the test.
func TestConsole_everyPage(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	pages := s.furnish()
	for route, need := range authorization() {
		path, get := strings.CutPrefix(route, "GET ")
		if !get || need.role == anybody || isPart(path) {
			continue
		}
		require.Contains(t, pages, path, "say above where this page is, or that it is a part of one")
	}
	b := s.browse(apitoken.Admin)
	var wrong []string
	for route, path := range pages {
		b.do(chromedp.EmulateViewport(1440, 900))
		b.open(path)
		for _, open := range []string{"false", "true"} { // also what opens on demand
			eval[bool](b, `document.querySelectorAll("main details").forEach(d => d.open = `+open+`) === undefined`)
			for _, width := range []int64{1440, 360} {
				b.do(chromedp.EmulateViewport(width, 800))
				for _, theme := range []string{"light", "dark"} {
					eval[bool](b, `(document.documentElement.dataset.theme = "`+theme+`") !== ""`)
					for _, what := range eval[[]string](b, pageRules) {
						wrong = append(wrong, fmt.Sprintf("%s at %d px, %s: %s", route, width, theme, what))
					}
					if open == "true" && (width == 360) == (theme == "dark") { // each width and each theme once
						for !eval[bool](b, `document.hasFocus()`) { // a browser without a window may lose it
							b.do(chromedp.MouseClickXY(2, 2))
						}
						for _, what := range eval[[]string](b, focusRules) {
							wrong = append(wrong, fmt.Sprintf("%s at %d px, %s: %s", route, width, theme, what))
						}
						eval[bool](b, `document.querySelectorAll("main details").forEach(d => d.open = true) === undefined`)
					}
				}
			}
		}
	}
	require.Empty(t, wrong)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.complain {
		require.Contains(t, line, "status of 404", "the browser complains") // of the page that is not there
	}
}

// isPart reports whether a path of the private listener is no page of the console: a part of one, a file, the API's or
// River's.
func isPart(path string) bool {
	for _, prefix := range []string{"/api/", "/jobs", "/debug/", "/docs", "/openapi.json", "/home/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	for _, suffix := range []string{"/list", "/rows", "/now", "/progress", "/life", "/came", "/talk", ".csv", "/queue/failures", "/queue/queues"} {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return false
}

// Without a mouse: the first stop skips to the content, every stop shows where it is, keys lead from page to page, an
// act opens, takes its reason and closes.
func TestConsole_keyboard(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+id, object{"name": "Café Quetzal"}, nil, 200)
	b := s.browse(apitoken.Operator)
	key := func(keys string) { b.do(chromedp.KeyEvent(keys)) }
	at := func(script, what string) {
		t.Helper()
		require.Eventually(t, func() bool { return b.holds(script) }, patience, 20*time.Millisecond, what)
	}

	b.open("/businesses/" + id)
	key("\t")
	require.Equal(t, "#main", eval[string](b, `document.activeElement.getAttribute("href")`))
	require.True(t, eval[bool](b, `document.activeElement.getBoundingClientRect().left >= 0`), "it is seen once it has the focus")
	key("\r")
	at(`document.activeElement.id === "main"`, "behind the navigation")
	stops := map[string]bool{}
	for range 40 {
		key("\t")
		if eval[bool](b, `document.activeElement === document.body`) {
			break
		}
		require.True(t, eval[bool](b, `(() => {
			const s = getComputedStyle(document.activeElement);
			return document.activeElement.matches(":focus-visible") && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
		})()`), "it shows where one is: %s", eval[string](b, `document.activeElement.outerHTML.slice(0, 200)`))
		stops[eval[string](b, `document.activeElement.textContent.trim()`)] = true
	}
	for _, act := range []string{"Open ticket…", "Opt out…", "Edit…"} {
		require.True(t, stops[act], "%s is among %v", act, stops)
	}

	// The act opens by key and has the focus in its first field; Escape closes it and gives the focus back.
	eval[bool](b, `[...document.querySelectorAll("details.act > summary")].find(e => e.textContent === "Open ticket…").focus() === undefined`)
	key("\r")
	at(`document.activeElement.name === "reason"`, "the reason is asked for")
	key("\x1b")
	at(`!document.querySelector("details.act[open]") && document.activeElement.textContent === "Open ticket…"`, "Escape closes it")
	key("\r")
	at(`document.activeElement.name === "reason"`, "it opens again")
	b.do(chromedp.KeyEvent("asks for a photo\r"))
	b.shows("Ticket opened.")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE reason = 'asks for a photo'`))

	// From page to page, and to the search.
	for k, path := range map[string]string{"h": "/", "c": "/campaigns", "r": "/replies", "w": "/webhooks", "j": "/queue", "a": "/analytics", "s": "/settings", "b": "/businesses"} {
		// Again where the two keys came too far apart, which on a busy machine they may.
		require.Eventually(t, func() bool {
			if b.holds(`location.pathname === "` + path + `" && document.readyState === "complete"`) {
				return true
			}
			key("g")
			key(k)
			return false
		}, patience, 300*time.Millisecond, "g %s leads to %s", k, path)
	}
	b.open("/businesses")
	key("/")
	at(`document.activeElement.name === "q"`, "/ is for the search")
	eval[bool](b, `(document.activeElement.value = "") === ""`) // the browser's driver types the key also where the page took it
	b.do(chromedp.KeyEvent("quetzal"))
	at(`location.search === "?q=quetzal"`, "and it searches as one types")
	b.open("/")
	key("?")
	at(`document.querySelector("#keys").open && document.querySelector("#keys").contains(document.activeElement)`, "? lists the keys")
	key("\x1b")
	at(`!document.querySelector("#keys").open`, "Escape closes the list")
	b.quiet()
}

// What somebody has opened to read stays open while the part around it is renewed: here the last hour, minute by minute.
func TestConsole_whatIsOpenStaysOpen(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	s.awaitApplied()
	b := s.browse(apitoken.Viewer)
	b.open("/")
	b.click(`#minutes > summary`)
	const sum = `[...document.querySelectorAll("#minutes tbody tr")].reduce((n, r) => n + Number(r.cells[1].textContent), 0)`
	before := eval[int](b, sum)
	require.Equal(t, s.count(`SELECT count(*) FROM webhook_events`), before)
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), phone, "How much is it?"))
	require.Eventually(t, func() bool { return b.holds(sum + fmt.Sprintf(" === %d", before+1)) }, patience, 20*time.Millisecond, "it is renewed")
	require.True(t, eval[bool](b, `document.querySelector("#minutes").open && document.querySelector("#minutes table").checkVisibility()`))
	b.quiet()
}

// What is awaited says so; a part that cannot be read says so, beside the others; when nobody answers, the page says how
// old it is, and goes on by itself.
func TestConsole_loadingAndErrors(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	b := s.browse(apitoken.Viewer)
	holds := func(script, what string) {
		t.Helper()
		require.Eventually(t, func() bool { return b.holds(script) }, patience, 20*time.Millisecond, what)
	}

	b.open("/businesses")
	eval[bool](b, `(() => {
		const real = window.fetch;
		window.go = () => { window.fetch = real; window.goOn(); };
		window.fetch = (...a) => new Promise((yes) => { window.goOn = () => yes(real(...a)); });
		return true;
	})()`)
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=q]`), "nobody-has-this-name"))
	holds(`document.querySelector("#list").getAttribute("aria-busy") === "true" && getComputedStyle(document.querySelector("#list"), "::after").content.includes("Loading")`, "the list is awaited")
	eval[bool](b, `window.go() === undefined`)
	b.reads(`#list`, "Nobody matches")
	holds(`!document.querySelector("#list").hasAttribute("aria-busy")`, "and is there")

	b.open("/")
	b.shows("Nothing needs you")
	eval[bool](b, `(() => { const real = window.fetch; window.fetch = () => Promise.reject(new TypeError("offline")); window.online = () => { window.fetch = real; }; return true; })()`)
	b.shows("The console does not answer.")
	eval[bool](b, `window.online() === undefined`)
	holds(`document.querySelector("#offline").hidden`, "it goes on by itself")

	s.exec(`ALTER TABLE webhook_events RENAME TO webhook_events_gone`)
	b.open("/webhooks")
	b.shows("An unexpected error, which is in the log.")
	require.True(t, eval[bool](b, `!!document.querySelector("main h1") && !!document.querySelector("main [role=alert]") && !!document.querySelector("main form select")`), "the filter is there")
	s.exec(`ALTER TABLE webhook_events_gone RENAME TO webhook_events`)
	b.shows("twilio message status")
	require.False(t, eval[bool](b, `!!document.querySelector("main [role=alert]")`), "the page mends by itself")

	b.open("/businesses/00000000-0000-7000-8000-000000000000")
	b.reads(`h1`, "Not Found")
}
