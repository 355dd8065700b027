package console_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestSession_cookie(t *testing.T) {
	t.Parallel()
	b := setup(t)
	res := b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Viewer]}})
	c := res.Cookies[0]
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.False(t, c.Secure)
	require.Equal(t, "/", c.Path)
	require.Equal(t, http.StatusOK, b.send(c.Name+"="+c.Value, http.MethodGet, "/businesses", nil, "Accept", "text/html").StatusCode)

	res = b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Viewer]}}, "X-Forwarded-Proto", "https")
	require.True(t, res.Cookies[0].Secure)
	require.Equal(t, "__Host-onward_session", res.Cookies[0].Name)

	var stored int
	require.NoError(t, b.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM console_sessions WHERE encode(secret_hash, 'escape') LIKE '%' || $1 || '%'`, c.Value).Scan(&stored))
	require.Zero(t, stored, "the database keeps a hash")

	// Who logs in again gets another one, and the first is over.
	first := c.Name + "=" + c.Value
	res = b.send(first, http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Viewer]}})
	require.NotEqual(t, c.Value, res.Cookies[0].Value)
	require.Equal(t, http.StatusSeeOther, b.send(first, http.MethodGet, "/businesses", nil).StatusCode)
}

// A session ends with its token, at once; after 12 hours without a visitor, whatever pages ask for by themselves; after 7
// days in any case; and when its holder says so.
func TestSession_ends(t *testing.T) {
	t.Parallel()
	b := setup(t)
	in := func(cookie string) bool {
		return b.send(cookie, http.MethodGet, "/businesses", nil, "X-Live", "1").StatusCode == http.StatusOK
	}
	cookie := b.login(apitoken.Operator)
	require.True(t, in(cookie))

	b.exec(`UPDATE console_sessions SET seen_at = now() - interval '11 hours'`)
	require.True(t, in(cookie))
	b.exec(`UPDATE console_sessions SET seen_at = seen_at - interval '2 hours'`)
	require.False(t, in(cookie), "live updates do not keep it alive")

	cookie = b.login(apitoken.Operator)
	b.exec(`UPDATE console_sessions SET created_at = now() - interval '8 days'`)
	require.False(t, in(cookie))

	cookie = b.login(apitoken.Operator)
	_, err := apitoken.Revoke(t.Context(), b.db.Pool, "operator")
	require.NoError(t, err)
	require.False(t, in(cookie))

	cookie = b.login(apitoken.Viewer)
	require.Equal(t, "/login", b.send(cookie, http.MethodPost, "/logout", url.Values{}).Header.Get("Location"))
	require.False(t, in(cookie))
	require.False(t, in("onward_session=made-up"))
}

func TestSession_rotates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	b.exec(`UPDATE console_sessions SET rotated_at = now() - interval '2 hours'`)
	require.Empty(t, b.send(cookie, http.MethodGet, "/businesses", nil, "X-Live", "1").Cookies, "a script may not be there to take it")
	res := b.send(cookie, http.MethodGet, "/businesses", nil, "Sec-Fetch-Mode", "navigate")
	require.Len(t, res.Cookies, 1)
	fresh := res.Cookies[0].Name + "=" + res.Cookies[0].Value
	require.NotEqual(t, cookie, fresh)
	for _, c := range []string{cookie, fresh} {
		require.Equal(t, http.StatusOK, b.send(c, http.MethodGet, "/businesses", nil).StatusCode, "both, while other tabs still come with the old one")
	}
	b.exec(`UPDATE console_sessions SET rotated_at = now() - interval '2 minutes'`)
	require.Equal(t, http.StatusSeeOther, b.send(cookie, http.MethodGet, "/businesses", nil).StatusCode)
	require.Equal(t, http.StatusOK, b.send(fresh, http.MethodGet, "/businesses", nil).StatusCode)
}

// What changes something must come from a page of ours, wherever it leads: also to the login.
func TestSession_origin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Operator)
	const path = "/businesses/01a20851-d619-7a1b-bf9c-62925414be2c/events"
	form := url.Values{"event": {"ticket_opened"}, "reason": {"calls"}}
	for _, foreign := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		require.Equal(t, http.StatusForbidden, b.send(cookie, http.MethodPost, path, form, foreign...).StatusCode, foreign)
		require.Equal(t, http.StatusForbidden, b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Viewer]}}, foreign...).StatusCode, foreign)
		require.Equal(t, http.StatusForbidden, b.send(cookie, http.MethodPost, "/logout", url.Values{}, foreign...).StatusCode, foreign)
	}
	require.Empty(t, b.asked)
	b.send(cookie, http.MethodPost, path, form, "Sec-Fetch-Site", "same-origin")
	require.Len(t, b.asked, 1)
	require.Contains(t, b.asked[0], "operator POST /api/v1/crm/businesses/01a20851-d619-7a1b-bf9c-62925414be2c/events")
}

func TestLogin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for next, to := range map[string]string{
		"/businesses?q=a": "/businesses?q=a", "": "/", "https://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "/login": "/",
	} {
		res := b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Viewer]}, "next": {next}})
		require.Equal(t, to, res.Header.Get("Location"), next)
	}
	res := b.send("", http.MethodGet, "/businesses?q=x", nil)
	require.Equal(t, "/login?next=%2Fbusinesses%3Fq%3Dx", res.Header.Get("Location"))
	res = b.send("", http.MethodGet, "/businesses/list", nil, "Hx-Request", "true", "Hx-Current-Url", "http://example.com/businesses?q=x")
	require.Equal(t, "/login?next=%2Fbusinesses%3Fq%3Dx", res.Header.Get("Hx-Redirect"), "the page that asked comes back, not its part")

	// Eleven within a minute are no person's mistakes.
	b = setup(t)
	for range 10 {
		res = b.send("", http.MethodPost, "/login", url.Values{"token": {"onw_wrong"}})
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.Empty(t, res.Cookies)
	}
	require.Equal(t, http.StatusTooManyRequests, b.send("", http.MethodPost, "/login", url.Values{"token": {b.tokens[apitoken.Admin]}}).StatusCode)
	b.now = b.now.Add(time.Minute)
	b.login(apitoken.Admin)
}
