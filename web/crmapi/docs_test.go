package crmapi_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *crmapi.Options) { o.Version = "1.2.3" })
	r := b.send(apitoken.Viewer, http.MethodGet, "/openapi.json", nil)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Regexp(t, `^3\.1\.`, r.body["openapi"])
	require.Equal(t, "1.2.3", r.body["info"].(obj)["version"])
	require.Contains(t, r.body["info"], "contact")
	require.Equal(t, "/api/v1", r.body["servers"].([]any)[0].(obj)["url"])

	described := map[string]bool{}
	for path, methods := range r.body["paths"].(obj) {
		for method, op := range methods.(obj) {
			described[strings.ToUpper(method)+" "+crmapi.Prefix+path] = true
			require.NotEmpty(t, op.(obj)["operationId"])
			require.NotEmpty(t, op.(obj)["summary"])
			require.Contains(t, op.(obj)["responses"], "401")
			encoded, err := json.Marshal(op)
			require.NoError(t, err)
			require.Equal(t, method == "post", strings.Contains(string(encoded), "Idempotency-Key") && strings.Contains(string(encoded), `"in":"header"`), path)
		}
	}
	require.NoError(t, chi.Walk(b.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		require.Equal(t, strings.Contains(route, crmapi.Prefix), described[method+" "+route], route)
		return nil
	}))
}

// The page must work where there is no internet, and run nothing.
func TestDocs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.send(apitoken.Viewer, http.MethodGet, "/docs", nil)
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, r.header.Get("Content-Type"), "text/html")
	require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, r.raw, "<script")
	require.NotRegexp(t, `(src|href)="(https?:)?//`, r.raw)
	require.Contains(t, r.raw, ":root { color-scheme: light dark;", "the style is not escaped")

	var anchors []string
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(r.raw, -1) {
		anchors = append(anchors, m[1])
	}
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(anchors))), len(anchors), "no id twice")
	for _, want := range []string{"createBusiness", "listBusinesses", "recordEvent", "sendCampaign", "resolveMessage", "replayReceipt", "liftSuppression"} {
		require.Contains(t, anchors, want)
	}
	require.Contains(t, r.raw, "generation_started | generation_completed")
}

func TestDocsBehindAGuard(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *crmapi.Options) {
		o.Guard = func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		}
	})
	for _, path := range []string{"/docs", "/openapi.json"} {
		res, err := b.server.Client().Get(b.server.URL + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusTeapot, res.StatusCode)
	}
}
