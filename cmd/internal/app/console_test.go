package app_test

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// tab is a window of the tests' Chromium, with cookies of its own. Whatever its console says beyond what the test expects
// fails the test: errors, refusals of the content security policy, files that are not found.
type tab struct {
	*stack
	ctx  context.Context
	base string

	mu       sync.Mutex
	complain []string
}

// browse opens a tab that is logged in with a role.
func (s *stack) browse(role apitoken.Role) *tab {
	s.Helper()
	return s.browseIn("UTC", role)
}

// browseIn is browse for somebody whose clock has a time zone.
func (s *stack) browseIn(zone string, role apitoken.Role) *tab {
	s.Helper()
	ctx, cancel := chromedp.NewContext(chromium.started(s), chromedp.WithNewBrowserContext())
	s.Cleanup(cancel)
	require.NoError(s, chromedp.Do(ctx)) // without a time-out: the tab ends with the context of its first step
	b := &tab{stack: s, ctx: ctx, base: "http://" + s.app.PrivateAddr()}
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		return cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: zone})
	})
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == chromedp.ConsoleException || strings.Contains(m.Text, "Content Security Policy") {
				b.mu.Lock()
				b.complain = append(b.complain, m.Text+" "+m.URL)
				b.mu.Unlock()
			}
		}
	}()
	_, secret, err := apitoken.Create(s.Context(), s.db.Pool, "a "+string(role), role)
	require.NoError(s, err)
	b.do(chromedp.Navigate(b.base + "/businesses?q=nobody"))
	require.Contains(s, b.location(), "/login?next=", "a stranger is asked to log in")
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=token]`), secret+"\n"), chromedp.WaitVisible(chromedp.CSS(`nav.nav`)))
	require.Contains(s, b.location(), "/businesses?q=nobody", "and comes where it wanted to go")
	return b
}

// sharedBrowser is a Chromium that tests share: to start and end one costs seconds of CPU. Its zero value is not running.
type sharedBrowser struct {
	mu   sync.Mutex
	ctx  context.Context
	stop func()
}

// chromium is the one that [TestMain] stops.
var chromium sharedBrowser

// started returns the context of the browser, which runs. On a loaded machine a browser may not come up in chromedp's
// time, and a context that failed to start one can't be used again: there are three tries.
func (b *sharedBrowser) started(t testing.TB) context.Context {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx != nil && b.ctx.Err() == nil {
		return b.ctx
	}
	path := ""
	// The shell has no window to draw, which is a seventh to two fifths of the CPU time of these tests. By its path: what is on PATH
	// is a script there, which dies without it.
	for _, name := range []string{"/usr/lib/chromium/chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	require.NotEmpty(t, path, "the console's tests need a browser: make test installs chromium, or apt-get install chromium")
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("force-prefers-reduced-motion", true), // what is looked at is not on its way to what it will be
	})
	for left := 2; ; left-- {
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		err := chromedp.Do(ctx) // without a time-out: the browser ends with the context of its first step
		if err == nil {
			b.ctx, b.stop = ctx, func() { cancel(); stop() }
			return ctx
		}
		stop() // not cancel: it waits for ever for a browser that never began
		require.Positive(t, left, "the browser does not start: %v", err)
		t.Logf("the browser did not start, another is tried: %v", err)
	}
}

// end stops the browser, if one runs.
func (b *sharedBrowser) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
	}
}

// quiet wants that the browser had nothing to complain of.
func (b *tab) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b, b.complain)
}

// do takes steps. A step that found its node only to have the page exchanged under it has not begun: it is taken again.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeoutCause(b.ctx, patience, context.DeadlineExceeded)
	defer cancel()
	for _, step := range steps {
		err := chromedp.Do(ctx, step)
		for ; err != nil && ctx.Err() == nil && nodeIsGone(err); err = chromedp.Do(ctx, step) {
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(b, err)
	}
}

// nodeIsGone tells whether the browser refused a command because its node was no longer of the page. Steps send such commands
// (scroll to it, focus it, give it files) before they press anything.
func nodeIsGone(err error) bool {
	var refused *cdproto.Error
	return errors.As(err, &refused) && refused.Code == -32000 && slices.Contains([]string{
		"Could not find node with given id", "No node with given id found", "Node with given id does not belong to the document",
		"Node is detached from document", "Could not compute box model.",
	}, refused.Message)
}

// open goes to a page of the console.
func (b *tab) open(path string) {
	b.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitVisible(chromedp.CSS(`#main`)))
}

func (b *tab) click(selector string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

func (b *tab) location() string {
	b.Helper()
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	require.NoError(b, err)
	return at
}

// parsed is an expression in a page that is there as a whole: what stands in it may be seen before what follows it.
func parsed(script string) string { return `document.readyState !== "loading" && (` + script + `)` }

// eval asks the page.
func eval[T any](b *tab, script string) T {
	b.Helper()
	require.Eventually(b, func() bool { return b.holds(`true`) }, patience, 20*time.Millisecond, "the page is there")
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	require.NoError(b, err, script)
	return v
}

// holds asks the page whether something holds by now: not while it is being exchanged for another.
func (b *tab) holds(script string) bool {
	b.Helper()
	is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](parsed(script)))
	return err == nil && is
}

// shows waits until the page's text has a part.
func (b *tab) shows(text string) {
	b.Helper()
	require.Eventually(b, func() bool {
		at, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](parsed(`document.body.innerText`)+` || ""`))
		return err == nil && strings.Contains(at, text)
	}, patience, 20*time.Millisecond, "the page shows %q", text)
}

// What an operator does with a contact: find it, look at its life, follow it, act on it. The page that is open shows what
// others do, without being asked again.
func TestConsole_aContact(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+id, object{"name": "Café Quetzal", "city": "Antigua", "country": "US"}, nil, 200)
	other, _, _ := s.business("")
	s.call("PATCH", "/crm/businesses/"+other, object{"name": "Taller Rodríguez"}, nil, 200)
	campaign := s.campaign("sms", id)
	s.awaitMessage(campaign, id, "delivered")

	b := s.browse(apitoken.Operator)
	b.open("/")
	b.shows("Nothing needs you")

	// Search as one types, with the filter in the address.
	b.open("/businesses")
	b.shows("Taller Rodríguez")
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name=q]`), "quetz"))
	require.Eventually(t, func() bool {
		return b.holds(`!document.querySelector("#list").innerText.includes("Taller")`) && strings.HasSuffix(b.location(), "/businesses?q=quetz")
	}, patience, 20*time.Millisecond, "the list narrows, and the address says how")
	b.do(chromedp.Click(chromedp.CSS(`#list a.name`)), chromedp.WaitVisible(chromedp.CSS(`svg.states.contact`)))
	b.shows("Antigua")
	require.True(t, eval[bool](b, `document.querySelector("svg.states.contact .state.here text").textContent === "SMS sent"`))

	// A reply arrives while somebody looks: the page is not loaded again.
	eval[bool](b, `window.sameDocument = true`)
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "How much is it?"))
	b.shows("How much is it?")
	require.Eventually(t, func() bool {
		return b.holds(`document.querySelector("svg.states.contact .state.here text").textContent === "replied"`)
	}, patience, 20*time.Millisecond, "the diagram follows")
	require.True(t, eval[bool](b, `window.sameDocument === true`))
	require.Equal(t, 1, eval[int](b, `document.querySelectorAll("svg.states.contact .way.taken").length - 1`), "it came by two ways")

	// From the timeline to the raw webhook, and to our message.
	b.do(chromedp.Click(chromedp.CSS(`.timeline li[data-kind=reply] .trail a[href^="/webhooks/"]`)))
	require.Eventually(t, func() bool {
		return b.holds(`document.body.textContent.includes("Body=How+much+is+it")`)
	}, patience, 20*time.Millisecond, "the request as it came")
	b.open("/businesses/" + id)
	b.do(chromedp.Click(chromedp.CSS(`.timeline li[data-kind=message] .trail a`)))
	b.shows("Hello Café Quetzal")
	b.open("/businesses/" + id)

	// An act wants a reason, and says what came of it.
	eval[bool](b, `[...document.querySelectorAll("details.act summary")].find(s => s.textContent.startsWith("Opt out")).click() === undefined`)
	b.do(
		chromedp.SendKeys(chromedp.CSS(`details[open] input[name=reason]`), "asked for it by phone"),
		chromedp.Click(chromedp.CSS(`details[open] button`)),
	)
	b.shows("from now on nothing is sent")
	s.awaitStatus(id, "contact_status", "unsubscribed")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM operator_actions WHERE action = 'event.opted_out' AND reason = 'asked for it by phone' AND actor = 'a operator'`))
	require.Equal(t, 1, s.count(`SELECT count(*) FROM suppressions WHERE channel = 'sms' AND address = $1 AND lifted_at IS NULL`, phone))
	b.quiet()

	// Erasing is for admins: the button says so, and the server does not rely on it.
	require.True(t, eval[bool](b, `document.querySelector("form[action$='/erase'] button").disabled`))
	require.Equal(t, http.StatusForbidden, eval[int](b, `(() => { const r = new XMLHttpRequest(); r.open("POST", location.pathname + "/erase", false); r.send(); return r.status })()`))
}

// At 360 px no page scrolls sideways, and in either theme every page is there without a complaint of the browser.
func TestConsole_narrow(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, _, _ := s.business("")
	campaign := s.campaign("sms", id)
	message := s.awaitMessage(campaign, id, "delivered").str("id")
	b := s.browse(apitoken.Viewer)
	b.do(chromedp.EmulateViewport(360, 740))
	for _, path := range []string{"/", "/businesses", "/businesses/" + id, "/messages", "/messages/" + message} {
		b.open(path)
		require.LessOrEqual(t, eval[int](b, `document.documentElement.scrollWidth`), 360, "%s scrolls sideways", path)
		require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
			.filter(e => !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)`), "%s: every field has a label", path)
	}
	require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("form[method=post] button")].filter(e => !e.disabled).map(e => e.textContent)
		.filter(t => t !== "Log out" && t !== "Save")`), "a viewer finds nothing to press")

	// The theme is a choice that stays.
	b.click(`[data-do=theme]`)
	b.open("/")
	require.Equal(t, "dark", eval[string](b, `document.documentElement.dataset.theme`))
	b.quiet()

	b.do(chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)), chromedp.WaitVisible(chromedp.CSS(`input[name=token]`)))
	b.do(chromedp.Navigate(b.base + "/"))
	require.Contains(t, b.location(), "/login")
}
