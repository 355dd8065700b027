package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
	"onward/web/apitoken"
)

// types replaces what a field of a form holds, as somebody who types does.
func (b *tab) types(selector, text string) {
	b.Helper()
	eval[bool](b, `(() => { document.querySelector(`+quote(selector)+`).value = ""; return true })()`)
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func quote(s string) string { return "`" + strings.ReplaceAll(s, "`", "\\`") + "`" }

// reads wants an element's text to become this.
func (b *tab) reads(selector, text string) {
	b.Helper()
	require.Eventually(b, func() bool {
		return b.holds(`document.querySelector(` + quote(selector) + `).textContent.includes(` + quote(text) + `)`)
	}, patience, 20*time.Millisecond, "%s reads %q", selector, text)
}

// press opens an act, gives its reason and does it.
func (b *tab) press(act, reason string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(act+` > summary`)),
		chromedp.SendKeys(chromedp.CSS(act+` input[name=reason]`), reason),
		chromedp.Click(chromedp.CSS(act+` .pop button`)))
}

func TestConsole_aCampaign(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, name := range []string{"Café Quetzal", "Café Tikal", "Café Copán"} {
		id, _, _ := s.business("")
		s.call("PATCH", "/crm/businesses/"+id, object{"name": name, "city": "Antigua"}, nil, 200)
	}
	s.business("") // elsewhere
	left, _, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+left, object{"name": "Bar Atitlán", "city": "Antigua"}, nil, 200)
	s.call("POST", "/crm/businesses/"+left+"/events", object{"event": "opted_out"}, nil, 202)
	b := s.browse(apitoken.Operator)

	// The preview follows what is typed; a mistake is shown at its field, with the place.
	b.open("/campaigns/new")
	b.types(`#editor input[name=name]`, "Spring offer")
	b.types(`#editor input[name=city]`, "Antigua")
	b.types(`#editor textarea[name=body]`, "Hi {{.Nme}}")
	b.reads(`#wrong-body`, "there is no field {{.Nme}}")
	b.types(`#editor textarea[name=body]`, "Hi {{.Name}}, a website?")
	b.reads(`#preview .bubble`, "Hi Café")
	b.reads(`#preview .stats`, "3of 4 recipients")
	b.reads(`#preview [aria-label="Recipients by status"]`, "pending 3")
	b.reads(`#preview [aria-label="Recipients by status"]`, "unsubscribed 1")
	require.Equal(t, 4, eval[int](b, `[...document.querySelectorAll('#preview [aria-label="Recipients by status"] b')].reduce((sum, e) => sum + Number(e.textContent), 0)`),
		"the statuses are those of all recipients")
	b.reads(`#preview [aria-label="Recipients that get nothing"]`, "suppressed 1")
	b.reads(`#wrong-body`, "")
	b.reads(`#preview`, "GSM-7")
	b.types(`input[name=for]`, "Tikal")
	b.reads(`#preview .bubble`, "Hi Café Tikal, a website?")
	require.Zero(t, s.count(`SELECT count(*) FROM campaigns`), "a preview stores nothing")

	// Slow, so that there is something to pause; the launch asks for the count.
	b.types(`#editor input[name=per_second]`, "0.2")
	b.click(`#editor button[value=launch]`)
	b.shows("Send 3 messages")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM campaigns WHERE status = 'draft' AND name = 'Spring offer' AND per_second = 0.2`))
	b.click(`.launch button.primary`)
	b.shows("of 4 done")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM campaigns WHERE status IN ('sending', 'sent')`))

	// Live: the first is delivered while somebody looks.
	eval[bool](b, `window.sameDocument = true`)
	b.reads(`.chips a[href$="state=delivered"] b`, "1")
	require.True(t, eval[bool](b, `window.sameDocument === true`))

	b.press(`#act-pause`, "the link is broken")
	b.reads(`#campaign-head`, "the link is broken")
	id := eval[string](b, `location.pathname.split("/")[2]`)
	s.awaitCampaign(id, "paused")
	b.press(`#act-resume`, "mended")
	b.reads(`#campaign-head .badge`, "sending")
	b.press(`#act-cancel`, "no longer needed")
	b.reads(`#campaign-head .badge`, "cancelled")
	s.awaitCampaign(id, "cancelled")
	require.Equal(t, 3, s.count(`SELECT count(*) FROM operator_actions WHERE target_id = $1 AND reason IN ('the link is broken', 'mended', 'no longer needed')`, id))
	b.quiet()
}

func TestConsole_aHeldSend(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, _ := s.business(providersim.MagicDrop)
	campaign := s.campaign("sms", business)
	message := s.awaitMessage(campaign, business, "held").str("id")
	b := s.browse(apitoken.Operator)
	b.open("/campaigns/" + campaign + "?state=held")
	b.do(chromedp.Click(chromedp.CSS(`#message-` + message + ` a.btn`)))
	b.shows("It was sent…")
	b.do(chromedp.Click(chromedp.CSS(`details.act > summary`)),
		chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=reason]`), "in Twilio's log"),
		chromedp.Click(chromedp.CSS(`details.act[open] button`)))
	b.shows("Taken as sent")
	require.Equal(t, "accepted", s.awaitMessage(campaign, business, "accepted").str("state"))
	s.awaitStatus(business, "contact_status", "sms_sent")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'message.resolve.sent' AND reason = 'in Twilio''s log'`))
	b.quiet()
}

func TestConsole_replies(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	ana, anas, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+ana, object{"name": "Ana"}, nil, 200)
	ben, bens, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+ben, object{"name": "Ben"}, nil, 200)
	campaign := s.campaign("sms", ana, ben)
	s.awaitMessage(campaign, ana, "delivered")
	s.awaitMessage(campaign, ben, "delivered")
	b := s.browse(apitoken.Operator)
	b.open("/replies")
	b.shows("Nobody waits for an answer")

	// They come in while the page is open.
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), anas, "How much is it?"))
	b.shows("How much is it?")
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), bens, "Please take me off your list"))
	b.shows("Please take me off your list")

	// An answer is a text like any other; the conversation shows what becomes of it.
	b.do(chromedp.Click(chromedp.CSS(`#inbox-open li:nth-child(2) a.name`)), chromedp.SendKeys(chromedp.CSS(`#answer textarea`), "99 a month."))
	b.click(`#answer button`)
	b.shows("The answer goes out")
	b.reads(`.talk li.ours:last-child .badge`, "delivered")
	require.Equal(t, []string{"ours", "theirs", "ours"}, eval[[]string](b, `[...document.querySelectorAll(".talk li")].map(e => e.className)`))
	calls := s.sim.Calls()
	require.Equal(t, anas, calls[len(calls)-1].To)
	require.Equal(t, 1, s.count(`SELECT count(*) FROM messages WHERE body = '99 a month.'`))

	// One press opts out, with what was written as the reason.
	b.open("/replies")
	b.shows("answered by a operator")
	b.do(chromedp.Click(chromedp.CSS(`#inbox-open button.danger`)))
	b.shows("Ben is opted out")
	b.shows("Nobody waits for an answer")
	s.awaitStatus(ben, "contact_status", "unsubscribed")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM suppressions WHERE channel = 'sms' AND address = $1 AND lifted_at IS NULL`, bens))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'event.opted_out' AND reason LIKE '%Please take me off your list'`))
	b.quiet()
}

func TestConsole_settings(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, _ := s.business("")
	s.awaitMessage(s.campaign("sms", business), business, "delivered")
	b := s.browse(apitoken.Admin)
	b.open("/settings")
	b.shows("TWILIO_AUTH_TOKEN")
	text := eval[string](b, `document.body.textContent`)
	for _, secret := range []string{authToken, recurrenteSecret, resendSecret(), s.db.DSN} {
		require.NotContains(t, text, secret)
	}
	b.open("/settings/senders")
	b.do(chromedp.Click(chromedp.CSS(`#main details.act > summary`)))
	b.types(`details.act[open] input[name=per_second]`, "7")
	b.do(chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=reason]`), "the carrier allows it"), chromedp.Click(chromedp.CSS(`details.act[open] button`)))
	b.shows("The pace is set")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM senders WHERE per_second = 7`))

	b.open("/settings/suppressions")
	b.do(chromedp.Click(chromedp.CSS(`#main .panel-head details.act > summary`)),
		chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=address]`), "+1 202 555 0199"),
		chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=reason]`), "asked by phone"),
		chromedp.Click(chromedp.CSS(`details.act[open] button`)))
	b.shows("no send to it starts")
	b.do(chromedp.Click(chromedp.CSS(`td details.act > summary`)),
		chromedp.SendKeys(chromedp.CSS(`td details.act[open] input[name=reason]`), "asked again"),
		chromedp.Click(chromedp.CSS(`td details.act[open] button`)))
	b.shows("No address is suppressed")

	b.open("/settings/tokens")
	b.do(chromedp.Click(chromedp.CSS(`#main .panel-head details.act > summary`)),
		chromedp.SendKeys(chromedp.CSS(`details.act[open] input[name=name]`), "a script"),
		chromedp.Click(chromedp.CSS(`details.act[open] button`)))
	b.reads(`#secret`, "onw_")
	secret := eval[string](b, `document.querySelector("#secret").textContent`)
	_, err := apitoken.Authenticate(t.Context(), s.db.Pool, secret)
	require.NoError(t, err)
	b.open("/settings/tokens")
	require.NotContains(t, eval[string](b, `document.body.textContent`), secret, "once")

	b.open("/settings/log?action=sender.")
	b.shows("the carrier allows it")
	b.quiet()
}

// Who reads sees all of it and can do nothing; at 360 px nothing scrolls sideways.
func TestConsole_aViewer(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, phone, _ := s.business("")
	campaign := s.campaign("sms", business)
	s.awaitMessage(campaign, business, "delivered")
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), phone, "How much is it?"))
	s.awaitStatus(business, "contact_status", "replied")
	var inbox page
	s.call("GET", "/replies", nil, &inbox, http.StatusOK)
	var draft object
	s.call("POST", "/campaigns", object{"name": "Draft", "channel": "sms", "body": "Hi", "audience": object{"filter": object{}}}, &draft, 201)
	b := s.browse(apitoken.Viewer)
	b.do(chromedp.EmulateViewport(360, 740))
	for _, path := range []string{
		"/campaigns", "/campaigns/" + campaign, "/campaigns/" + draft.str("id"), "/replies", "/replies?state=all", "/replies/" + inbox.Items[0].str("id"),
		"/settings", "/settings/senders", "/settings/suppressions", "/settings/log",
	} {
		b.open(path)
		require.LessOrEqual(t, eval[int](b, `document.documentElement.scrollWidth`), 360, "%s scrolls sideways", path)
		require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("form[method=post] button")].filter(e => !e.disabled && e.textContent !== "Log out").map(e => e.textContent)`),
			"%s: a viewer finds nothing to press", path)
		require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
			.filter(e => !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)`), "%s: every field has a label", path)
	}
	b.quiet()
	post := func(path string) int {
		return eval[int](b, `(() => { const r = new XMLHttpRequest(); r.open("POST", "`+path+`", false); r.send(); return r.status })()`)
	}
	require.Equal(t, http.StatusForbidden, post("/campaigns/"+campaign+"/pause"))
	require.Equal(t, http.StatusForbidden, post("/replies/"+inbox.Items[0].str("id")+"/answer"))
	require.Equal(t, http.StatusForbidden, post("/replies/"+inbox.Items[0].str("id")+"/opt-out"))
	require.Equal(t, http.StatusForbidden, post("/settings/tokens"))
}
