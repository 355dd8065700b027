package apitoken_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	token, secret, err := apitoken.Create(t.Context(), pool, "ci", apitoken.Viewer)
	require.NoError(t, err)

	var now atomic.Int64
	auth := apitoken.NewAuthenticator(pool, func() time.Time { return time.Unix(now.Load(), 0) })
	handler := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, ok := apitoken.FromContext(r.Context())
		require.True(t, ok)
		require.Equal(t, token.ID, got.ID)
		w.WriteHeader(http.StatusNoContent)
	}))
	call := func(authorization string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}

	for _, good := range []string{"Bearer " + secret, "bearer " + secret, "BEARER  " + secret} {
		require.Equal(t, http.StatusNoContent, call(good).Code, good)
	}
	for _, bad := range []string{"", "Bearer", "Bearer ", "Basic " + secret, secret, "Bearer " + secret + "x", "Bearer nonsense"} {
		w := call(bad)
		require.Equal(t, http.StatusUnauthorized, w.Code, bad)
		require.Contains(t, w.Header().Get("WWW-Authenticate"), `Bearer realm="onward"`)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		var body struct{ Status int }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		require.Equal(t, http.StatusUnauthorized, body.Status)
	}

	_, err = apitoken.Revoke(t.Context(), pool, "ci")
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, call("Bearer "+secret).Code, "remembered")
	now.Add(int64(apitoken.CacheFor/time.Second) + 1)
	require.Equal(t, http.StatusUnauthorized, call("Bearer "+secret).Code, "felt within seconds")

	// Somebody whom another door let in needs no header.
	r := httptest.NewRequestWithContext(apitoken.WithToken(t.Context(), token), http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code)
}

func TestMiddlewareWithoutDatabase(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	_, secret, err := apitoken.Create(t.Context(), pool, "ci", apitoken.Viewer)
	require.NoError(t, err)
	pool.Close()
	handler := apitoken.NewAuthenticator(pool, nil).Middleware(http.NotFoundHandler())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
}
