package webhook_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/plainhttp"
	"onward/web/webhook"
)

// plainOf is a request as the public listener reads it where it is plain.
func plainOf(t *testing.T, r *http.Request) *plainhttp.Request {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	p := &plainhttp.Request{Method: r.Method, Target: r.RequestURI, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Body: body}
	for name, values := range r.Header {
		for _, value := range values {
			p.Header = append(p.Header, plainhttp.Field{Name: name, Value: value})
		}
	}
	return p
}

// A plain request has the same answer as one that net/http read, leaves the same receipt and counts the same.
func TestPlain_answersAsRoutes(t *testing.T) {
	t.Parallel()
	requests := map[string]func() *http.Request{}
	for path := range wellSigned(t) {
		requests[path] = func() *http.Request { return wellSigned(t)[path] }
	}
	for _, r := range twilioRefusals() {
		asked := r.request(t)
		if body, err := io.ReadAll(asked.Body); err != nil || len(body) > 16<<10 || asked.ContentLength != int64(len(body)) {
			continue // no plain request: net/http's
		}
		requests[r.name] = func() *http.Request { return r.request(t) }
	}
	requests["a repeated header"] = func() *http.Request {
		r := svix(recurrentePath, rcSecret, "msg_1", now, rcBody)
		r.Header.Add("User-Agent", "another")
		return r
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			routed, plain := setup(t), setup(t)
			want := do(routed, request())

			opts := options(plain.inbox)
			opts.Observe = plain.observe
			h, err := webhook.New(opts)
			require.NoError(t, err)
			r := plainOf(t, request())
			got := h.Plain()[r.Path](t.Context(), r)

			require.Equal(t, want.Code, got.Status)
			require.Equal(t, want.Body.String(), got.Body)
			for _, f := range got.Header {
				if f.Name == "X-Receipt-Id" {
					require.NotEmpty(t, want.Header().Get(f.Name))
					continue
				}
				require.Equal(t, want.Header().Get(f.Name), f.Value)
			}
			require.Len(t, got.Header, len(want.Header()))
			require.Equal(t, routed.observed, plain.observed)
			require.Len(t, plain.inbox.receipts, len(routed.inbox.receipts))
			for n, a := range routed.inbox.receipts {
				b := plain.inbox.receipts[n]
				require.ElementsMatch(t, a.Headers, b.Headers)
				a.Headers, b.Headers = nil, nil
				require.Equal(t, a, b)
			}
		})
	}
}
