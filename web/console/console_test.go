package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// Every route is refused to whoever lacks its role, by the server, before anything is done. Routes that change something
// need more than a viewer, but for what a viewer keeps for itself, and for previews.
func TestRoutes_authorization(t *testing.T) {
	t.Parallel()
	b := setup(t)
	harmless := map[string]bool{"POST /businesses/views": true, "POST /businesses/views/{id}/delete": true, "POST /campaigns/preview": true}
	cookies := map[apitoken.Role]string{}
	for _, role := range apitoken.Roles() {
		cookies[role] = b.login(role)
	}
	require.NotEmpty(t, b.console.Routes())
	id := regexp.MustCompile(`\{[^}]+\}`)
	for _, route := range b.console.Routes() {
		name := route.Method + " " + route.Path
		require.True(t, route.Method == http.MethodGet || harmless[name] || route.Role.Allows(apitoken.Operator), "%s changes something", name)
		path := id.ReplaceAllString(route.Path, "01a20851-d619-7a1b-bf9c-62925414be2c")
		var form url.Values
		if route.Method != http.MethodGet {
			form = url.Values{}
		}
		require.Equal(t, http.StatusSeeOther, b.send("", route.Method, path, form).StatusCode, "%s without a session", name)
		for _, role := range apitoken.Roles() {
			b.asked = nil
			res := b.send(cookies[role], route.Method, path, form)
			require.Equal(t, !role.Allows(route.Role), res.StatusCode == http.StatusForbidden, "%s as %s: %d", name, role, res.StatusCode)
			if !role.Allows(route.Role) {
				require.Empty(t, b.asked, name)
			}
		}
	}
}

// What the API refuses is shown in its words, as text.
func TestRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Operator)
	const path = "/businesses/01a20851-d619-7a1b-bf9c-62925414be2c/events"
	form := url.Values{"event": {"ticket_opened"}, "reason": {"calls"}}
	res := b.send(cookie, http.MethodPost, path, form)
	require.Equal(t, http.StatusConflict, res.StatusCode)
	page := res.Body
	require.Contains(t, page, "Note: &lt;b&gt;too late&lt;/b&gt;.")
	res = b.send(cookie, http.MethodPost, path, form, "Hx-Request", "true")
	require.Equal(t, "text/plain; charset=utf-8", res.Header.Get("Content-Type"))
	require.Equal(t, "Note: <b>too late</b>.", res.Body)

	form.Del("reason")
	b.asked = nil
	require.Equal(t, http.StatusUnprocessableEntity, b.send(cookie, http.MethodPost, path, form).StatusCode, "without a reason nothing is done")
	require.Empty(t, b.asked)
}

// Nothing is loaded from elsewhere, nothing is inline, and a page's files stay with the browser.
func TestPages_policy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	res := b.send(b.login(apitoken.Admin), http.MethodGet, "/", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'", res.Header.Get("Content-Security-Policy"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	page := res.Body
	require.NotRegexp(t, `\son[a-z]+=|\sstyle=|<style|<script(?:>|[^>]*[^r]>[^<])|javascript:`, page)
	require.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, page)
	files := regexp.MustCompile(`/static/[^"]+`).FindAllString(page, -1)
	require.GreaterOrEqual(t, len(files), 4)
	for _, f := range files {
		res := b.send("", http.MethodGet, f, nil, "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, res.StatusCode, f)
		require.Equal(t, "public, max-age=31536000, immutable", res.Header.Get("Cache-Control"))
		require.Equal(t, "gzip", res.Header.Get("Content-Encoding"))
	}
	require.Equal(t, http.StatusNotFound, b.send("", http.MethodGet, "/static/app.css", nil).StatusCode, "only under the name of its content")
}

// A part that has not changed is not sent again.
func TestFragment_notModified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	res := b.send(cookie, http.MethodGet, "/home/latest", nil, "Hx-Request", "true", "X-Live", "1")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.False(t, strings.Contains(res.Body, "<html"))
	tag := res.Header.Get("Etag")
	require.NotEmpty(t, tag)
	require.Equal(t, http.StatusNotModified, b.send(cookie, http.MethodGet, "/home/latest", nil, "Hx-Request", "true", "If-None-Match", tag).StatusCode)
}

// One panel whose query fails shows that; the others are there.
func TestHome_aPanelFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	b.exec(`ALTER TABLE river_queue RENAME TO river_queue_gone`)
	res := b.send(cookie, http.MethodGet, "/", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	page := res.Body
	require.Contains(t, page, "An unexpected error, which is in the log.")
	require.Contains(t, page, "Latest changes")
	require.NotContains(t, page, "Nothing needs you")
}

func TestHome_needs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	page := b.send(cookie, http.MethodGet, "/home/needs", nil).Body
	require.Contains(t, page, "No worker is running")

	b.exec(`INSERT INTO worker_processes (client_id, host, pid, version, queues, capacity) VALUES ('a', 'h', 1, 'v', '{}', 1)`)
	page = b.send(cookie, http.MethodGet, "/home/needs", nil).Body
	require.Contains(t, page, "Nothing needs you")
	require.Contains(t, page, "1 worker process at work")

	b.exec(`INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('inbound', now(), now())`)
	b.exec(`INSERT INTO river_job (kind, queue, state, args, max_attempts, scheduled_at) VALUES ('reply', 'inbound', 'available', '{}', 25, now() - interval '5 minutes')`)
	b.exec(`INSERT INTO receipt_outcomes (receipt_id, outcome, processed_at) VALUES (onward_uuid_floor(now() - interval '1 hour'), 'unmatched', now() - interval '1 hour')`)
	b.exec(`INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES (gen_random_uuid(), 'applied')`)
	b.exec(`INSERT INTO campaigns (public_id, name, channel, body, audience, status, status_reason) VALUES (gen_random_uuid(), 'A <b>bold</b> one', 'sms', 'x', '{}', 'paused', 'too many failures')`)
	page = b.send(cookie, http.MethodGet, "/home/needs", nil).Body
	for _, want := range []string{
		"Queue inbound is paused", "Jobs wait in inbound", "1 webhook matches nothing", "Campaign “A &lt;b&gt;bold&lt;/b&gt; one” is paused", "Too many failures.",
	} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "Nothing needs you")
}

// A filter that is not understood must not become one that selects everything.
func TestActs_refuseUnknownFilters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Operator)
	for _, path := range []string{"/businesses/bulk?category%3dbakery", "/businesses/bulk?category=bakery&evil=1", "/queue/act?verb=cancel&kind%3dreply"} {
		require.Equal(t, http.StatusBadRequest, b.send(cookie, http.MethodGet, path, nil).StatusCode, path)
	}
	form := url.Values{"query": {"category%3dbakery"}, "action": {"tag"}, "tag": {"x"}, "previewed": {"yes"}, "reason": {"x"}}
	require.Equal(t, http.StatusBadRequest, b.send(cookie, http.MethodPost, "/businesses/bulk", form).StatusCode)
	require.Empty(t, b.asked)
}

func TestViews(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	form := url.Values{"name": {"Replied, not bought"}, "query": {"contact_status=replied&q=&evil=1"}}
	require.Equal(t, "/businesses?contact_status=replied", b.send(cookie, http.MethodPost, "/businesses/views", form).Header.Get("Location"))
	page := b.send(cookie, http.MethodGet, "/businesses", nil).Body
	require.Contains(t, page, "Replied, not bought")
	require.Contains(t, page, `href="/businesses?contact_status=replied"`)
	require.Contains(t, page, "View “Replied, not bought” saved.")
	require.NotContains(t, b.send(cookie, http.MethodGet, "/businesses", nil).Body, "saved.", "what came of an act is told once")
	require.NotContains(t, b.send(b.login(apitoken.Admin), http.MethodGet, "/businesses", nil).Body, `href="/businesses?contact_status=replied"`, "views are each token's own")
	// While somebody filters, the page's address goes along; the form does not.
	res := b.send(cookie, http.MethodPost, "/businesses/views", url.Values{"name": {"Antigua"}, "query": {""}}, "Hx-Request", "true",
		"Hx-Current-Url", "http://example.com/businesses?city=Antigua")
	require.Equal(t, "/businesses?city=Antigua", res.Header.Get("Hx-Redirect"))
	form.Set("query", "nothing=1")
	require.Equal(t, http.StatusUnprocessableEntity, b.send(cookie, http.MethodPost, "/businesses/views", form).StatusCode)
}
