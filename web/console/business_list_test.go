package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// The API looks at a bounded part of the businesses at a time. A page that is not full goes on by itself until it is.
func TestBusinesses_pageFillsItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Viewer)
	const list = "/api/v1/crm/businesses?"
	full := make([]string, 49)
	for i := range full {
		full[i] = `{"name":"Another"}`
	}
	b.answers = map[string]string{
		list + "city=Tampa&limit=50&sort=-updated_at":           `{"items":[],"next_cursor":"c1"}`,
		list + "city=Tampa&cursor=c1&limit=50&sort=-updated_at": `{"items":[{"name":"La Espiga"}],"next_cursor":"c2"}`,
		list + "city=Tampa&cursor=c2&limit=49&sort=-updated_at": `{"items":[` + strings.Join(full, ",") + `],"next_cursor":"c3"}`,
		list + "city=Tampa&cursor=c3&limit=50&sort=-updated_at": `{"items":[],"next_cursor":"c4"}`,
		list + "city=Tampa&cursor=c4&limit=50&sort=-updated_at": `{"items":[]}`,
	}
	further := regexp.MustCompile(`hx-get="([^"]+)"`)
	next := func(r reply) reply {
		t.Helper()
		require.Equal(t, http.StatusOK, r.StatusCode)
		row := r.Body[strings.LastIndex(r.Body, "<tr"):]
		m := further.FindStringSubmatch(row)
		require.NotNil(t, m, row)
		require.Contains(t, row, `hx-trigger="load`)
		r = b.send(cookie, http.MethodGet, strings.ReplaceAll(m[1], "&amp;", "&"), nil, "Hx-Request", "true")
		require.Empty(t, r.Header.Get("Hx-Push-Url"), "the address stays that of the filter")
		return r
	}

	page := b.send(cookie, http.MethodGet, "/businesses?city=Tampa", nil)
	require.Contains(t, page.Body, "none so far")
	require.Contains(t, page.Body, "Tag, opt out, campaign", "what acts on all that match is there")
	one := next(page)
	require.Contains(t, one.Body, "La Espiga")
	require.Contains(t, one.Body, "1 so far")
	require.NotContains(t, one.Body, "<table", "rows alone")
	whole := next(one)
	require.Equal(t, 49, strings.Count(whole.Body, "Another"))
	require.NotContains(t, whole.Body, "hx-get", "full")
	require.Contains(t, whole.Body, "50 shown")
	require.NotContains(t, whole.Body, "First page", "this is a part of it")
	require.Contains(t, whole.Body, `href="/businesses?city=Tampa&amp;cursor=c3"`)

	// The next page has nothing, and ends.
	end := next(b.send(cookie, http.MethodGet, "/businesses?city=Tampa&cursor=c3", nil))
	require.NotContains(t, end.Body, "hx-get")
	require.Contains(t, end.Body, "First page")

	// A first page that ends with nothing says so.
	b.answers[list+"city=Tampa&cursor=c1&limit=50&sort=-updated_at"] = `{"items":[]}`
	require.Contains(t, next(page).Body, "Nobody matches")
}
