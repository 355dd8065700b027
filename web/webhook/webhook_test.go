package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/inbox"
	"onward/web/webhook"
)

const (
	statusBody  = "MessageSid=SM1&MessageStatus=delivered&To=%2B15550000001"
	inboundBody = "MessageSid=SM2&From=%2B15550000001&To=%2B15550000002&Body=STOP"
	rcBody      = `{"event_type":"subscription.cancel","id":"su_123"}`
	rsBody      = `{"type":"email.complained","data":{"to":["Someone@Example.com"]}}`
	twiml       = `<?xml version="1.0" encoding="UTF-8"?><Response/>`
)

// wellSigned is a good request to each endpoint.
func wellSigned(t testing.TB) map[string]*http.Request {
	t.Helper()
	return map[string]*http.Request{
		statusPath:     twilio(t, statusPath+"?m=1&a=2", statusBody),
		inboundPath:    twilio(t, inboundPath, inboundBody),
		recurrentePath: svix(recurrentePath, rcSecret, "msg_1", now, rcBody),
		resendPath:     svix(resendPath, rsSecret, "msg_2", now, rsBody),
	}
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*webhook.Options){
		"no inbox":                func(o *webhook.Options) { o.Inbox = nil },
		"Twilio without URL":      func(o *webhook.Options) { o.PublicURL = "" },
		"empty Twilio token":      func(o *webhook.Options) { o.TwilioAuthTokens = []string{""} },
		"empty Recurrente secret": func(o *webhook.Options) { o.RecurrenteSecrets = []string{rcSecret, ""} },
		"empty Resend secret":     func(o *webhook.Options) { o.ResendSecrets = []string{""} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(&fakeInbox{})
			change(&opts)
			_, err := webhook.New(opts)
			require.Error(t, err)
		})
	}
}

func TestRoutes_acceptedAnswers(t *testing.T) {
	t.Parallel()

	for path, want := range map[string]struct {
		status      int
		contentType string
		body        string
	}{
		statusPath:     {204, "", ""},
		inboundPath:    {200, "text/xml", twiml},
		recurrentePath: {200, "", ""},
		resendPath:     {200, "", ""},
	} {
		for _, result := range []inbox.Result{inbox.Accepted, inbox.Duplicate} {
			t.Run(path+" "+result.String(), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.inbox.result = result

				w := do(b, wellSigned(t)[path])
				require.Equal(t, want.status, w.Code)
				require.Equal(t, want.contentType, w.Header().Get("Content-Type"))
				require.Equal(t, want.body, w.Body.String())
				require.Len(t, b.inbox.receipts, 1)
				require.Len(t, b.observed, 1)
				require.Equal(t, result.String(), b.observed[0].result)
			})
		}
	}
}

func TestRoutes_otherMethods(t *testing.T) {
	t.Parallel()

	b := setup(t)
	for path := range wellSigned(t) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			require.Equal(t, 405, do(b, httptest.NewRequest(method, path, nil)).Code)
		}
	}
	require.Empty(t, b.inbox.receipts)
}

func TestRoutes_providerWithoutSecretHasNoEndpoint(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		change func(*webhook.Options)
		gone   []string
	}{
		"twilio":     {func(o *webhook.Options) { o.TwilioAuthTokens, o.PublicURL = nil, "" }, []string{statusPath, inboundPath}},
		"recurrente": {func(o *webhook.Options) { o.RecurrenteSecrets = nil }, []string{recurrentePath}},
		"resend":     {func(o *webhook.Options) { o.ResendSecrets = nil }, []string{resendPath}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(&fakeInbox{result: inbox.Accepted})
			test.change(&opts)
			h, err := webhook.New(opts)
			require.NoError(t, err)
			require.Len(t, h.Providers(), 2)
			require.NotContains(t, h.Providers(), name)

			r := routes(t, opts)
			for path, request := range wellSigned(t) {
				code := do(r, request).Code
				if strings.Contains(strings.Join(test.gone, " "), path) {
					require.Equal(t, 404, code)
				} else {
					require.Less(t, code, 300)
				}
			}
		})
	}
}

func TestRoutes_rotation(t *testing.T) {
	t.Parallel()

	b := setup(t)
	params, err := url.ParseQuery(statusBody)
	require.NoError(t, err)
	r := twilio(t, statusPath, statusBody)
	r.Header.Set("X-Twilio-Signature", signTwilio(oldToken, publicURL+statusPath, params))
	require.Equal(t, 204, do(b, r).Code)
	require.Equal(t, 204, do(b, twilio(t, statusPath, statusBody)).Code)
	require.Equal(t, 200, do(b, svix(recurrentePath, rcSecret, "msg_1", now, rcBody)).Code)
	require.Equal(t, 200, do(b, svix(recurrentePath, oldSecret, "msg_2", now, rcBody)).Code)

	require.Equal(t, []observed{
		{"twilio", "accepted", 0},
		{"twilio", "accepted", 1},
		{"recurrente", "accepted", 0},
		{"recurrente", "accepted", 1},
	}, b.observed)
}

// refusal is a request that must not be accepted.
type refusal struct {
	name    string
	request func(t testing.TB) *http.Request
	status  int
	result  string
}

func with(r *http.Request, header, value string) *http.Request {
	r.Header.Set(header, value)
	return r
}

func without(r *http.Request, headers ...string) *http.Request {
	for _, header := range headers {
		r.Header.Del(header)
	}
	return r
}

func twilioRefusals() []refusal {
	const foreign = "ffffffffffffffffffffffffffffffff"
	signed := func(token, address, body string) string {
		params, err := url.ParseQuery(body)
		if err != nil {
			panic(err)
		}
		return signTwilio(token, address, params)
	}
	return []refusal{
		{"no signature", func(t testing.TB) *http.Request {
			return without(twilio(t, statusPath, statusBody), "X-Twilio-Signature")
		}, 403, "bad_signature"},
		{"a foreign token", func(testing.TB) *http.Request {
			return post(statusPath, form, statusBody, http.Header{"X-Twilio-Signature": {signed(foreign, publicURL+statusPath, statusBody)}})
		}, 403, "bad_signature"},
		{"no token", func(testing.TB) *http.Request {
			return post(statusPath, form, statusBody, http.Header{"X-Twilio-Signature": {signed("", publicURL+statusPath, statusBody)}})
		}, 403, "bad_signature"},
		{"a changed body", func(t testing.TB) *http.Request {
			r := post(statusPath, form, statusBody+"&ErrorCode=21610", nil)
			return with(r, "X-Twilio-Signature", twilio(t, statusPath, statusBody).Header.Get("X-Twilio-Signature"))
		}, 403, "bad_signature"},
		{"a changed query", func(t testing.TB) *http.Request {
			r := post(statusPath+"?m=2", form, statusBody, nil)
			return with(r, "X-Twilio-Signature", twilio(t, statusPath+"?m=1", statusBody).Header.Get("X-Twilio-Signature"))
		}, 403, "bad_signature"},
		{"another endpoint's request", func(t testing.TB) *http.Request {
			r := post(inboundPath, form, statusBody, nil)
			return with(r, "X-Twilio-Signature", twilio(t, statusPath, statusBody).Header.Get("X-Twilio-Signature"))
		}, 403, "bad_signature"},
		{"a URL of the Host header", func(testing.TB) *http.Request {
			r := post(statusPath, form, statusBody, http.Header{
				"X-Twilio-Signature": {signed(token, "https://evil.example.com"+statusPath, statusBody)},
				"X-Forwarded-Host":   {"evil.example.com"},
				"X-Forwarded-Proto":  {"https"},
				"X-Original-Url":     {statusPath},
			})
			r.Host = "evil.example.com"
			return r
		}, 403, "bad_signature"},
		{"Svix's signature", func(testing.TB) *http.Request {
			return svix(statusPath, rcSecret, "msg_1", now, statusBody)
		}, 403, "bad_signature"},
		{"JSON without its hash", func(testing.TB) *http.Request {
			return post(statusPath, "application/json", "{}", http.Header{"X-Twilio-Signature": {signTwilio(token, publicURL+statusPath, nil)}})
		}, 403, "bad_signature"},
		{"JSON with another body's hash", func(testing.TB) *http.Request {
			r := twilioJSON(statusPath, `{"MessageSid":"SM1"}`)
			r.Body = io.NopCloser(strings.NewReader(`{"MessageSid":"SM2"}`))
			return r
		}, 403, "bad_signature"},
		{"a form under a signature of JSON", func(testing.TB) *http.Request {
			return with(twilioJSON(statusPath, statusBody), "Content-Type", form)
		}, 403, "bad_signature"},
		{"a form that can't be parsed", func(testing.TB) *http.Request {
			return post(statusPath, form, "MessageSid=%zz", http.Header{"X-Twilio-Signature": {"x"}})
		}, 400, "malformed"},
		{"neither, unsigned", func(testing.TB) *http.Request { return post(statusPath, "text/plain", "hello", nil) }, 403, "bad_signature"},
		{"neither a form nor JSON", func(t testing.TB) *http.Request {
			return with(twilio(t, statusPath, statusBody), "Content-Type", "multipart/form-data; boundary=x")
		}, 400, "malformed"},
		{"no Content-Type", func(t testing.TB) *http.Request {
			return without(twilio(t, statusPath, statusBody), "Content-Type")
		}, 400, "malformed"},
		{"too large, and it says so", func(t testing.TB) *http.Request {
			return twilio(t, statusPath, "Body="+strings.Repeat("x", 1<<20))
		}, 413, "too_large"},
		{"too large, and it does not say so", func(t testing.TB) *http.Request {
			r := twilio(t, statusPath, "Body="+strings.Repeat("x", 1<<20))
			r.ContentLength = -1
			return r
		}, 413, "too_large"},
		{"too large, and it lies", func(t testing.TB) *http.Request {
			r := twilio(t, statusPath, "Body="+strings.Repeat("x", 1<<20))
			r.ContentLength = 10
			return r
		}, 413, "too_large"},
		{"it only says that it is too large", func(t testing.TB) *http.Request {
			r := twilio(t, statusPath, statusBody)
			r.ContentLength = 1<<20 + 1
			return r
		}, 413, "too_large"},
		{"it breaks off", func(t testing.TB) *http.Request {
			r := twilio(t, statusPath, statusBody)
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(statusBody), brokenReader{}))
			return r
		}, 400, "malformed"},
	}
}

func svixRefusals(path, secret string) []refusal {
	body := map[string]string{recurrentePath: rcBody, resendPath: rsBody}[path]
	good := func() *http.Request { return svix(path, secret, "msg_1", now, body) }
	return []refusal{
		{"no signature", func(testing.TB) *http.Request { return without(good(), "Svix-Signature") }, 401, "bad_signature"},
		{"no headers", func(testing.TB) *http.Request { return post(path, "application/json", body, nil) }, 401, "bad_signature"},
		{"a foreign secret", func(testing.TB) *http.Request { return svix(path, foreignSecret, "msg_1", now, body) }, 401, "bad_signature"},
		{"the other provider's secret", func(testing.TB) *http.Request {
			return svix(path, map[string]string{recurrentePath: rsSecret, resendPath: rcSecret}[path], "msg_1", now, body)
		}, 401, "bad_signature"},
		{"no secret", func(testing.TB) *http.Request { return svix(path, "", "msg_1", now, body) }, 401, "bad_signature"},
		{"a changed body", func(testing.TB) *http.Request {
			r := good()
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(body, "e", "E", 1)))
			return r
		}, 401, "bad_signature"},
		{"another id", func(testing.TB) *http.Request { return with(good(), "Svix-Id", "msg_9") }, 401, "bad_signature"},
		{"another time", func(testing.TB) *http.Request {
			return with(svix(path, secret, "msg_1", now.Add(-time.Hour), body), "Svix-Timestamp", fmt.Sprint(now.Unix()))
		}, 401, "bad_signature"},
		{"Twilio's signature", func(t testing.TB) *http.Request { return twilio(t, path, "a=1") }, 401, "bad_signature"},
		{"too old", func(testing.TB) *http.Request {
			return svix(path, secret, "msg_1", now.Add(-301*time.Second), body)
		}, 401, "stale_timestamp"},
		{"of the future", func(testing.TB) *http.Request {
			return svix(path, secret, "msg_1", now.Add(301*time.Second), body)
		}, 401, "stale_timestamp"},
		{"no JSON", func(testing.TB) *http.Request { return svix(path, secret, "msg_1", now, "hello") }, 400, "malformed"},
		{"an array", func(testing.TB) *http.Request { return svix(path, secret, "msg_1", now, "["+body+"]") }, 400, "malformed"},
		{"null", func(testing.TB) *http.Request { return svix(path, secret, "msg_1", now, "null") }, 400, "malformed"},
		{"nothing", func(testing.TB) *http.Request { return svix(path, secret, "msg_1", now, "") }, 400, "malformed"},
		{"more than one object", func(testing.TB) *http.Request { return svix(path, secret, "msg_1", now, body+body) }, 400, "malformed"},
		{"too large", func(testing.TB) *http.Request {
			return svix(path, secret, "msg_1", now, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`)
		}, 413, "too_large"},
		{"too large, chunked", func(testing.TB) *http.Request {
			r := svix(path, secret, "msg_1", now, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`)
			r.ContentLength = -1
			return r
		}, 413, "too_large"},
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func allRefusals() map[string][]refusal {
	return map[string][]refusal{
		"twilio":     twilioRefusals(),
		"recurrente": svixRefusals(recurrentePath, rcSecret),
		"resend":     svixRefusals(resendPath, rsSecret),
	}
}

func TestRoutes_refusals(t *testing.T) {
	t.Parallel()

	for provider, refusals := range allRefusals() {
		for _, refused := range refusals {
			t.Run(provider+"/"+refused.name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)

				w := do(b, refused.request(t))
				require.Equal(t, refused.status, w.Code)
				require.Empty(t, w.Body.String())
				require.Empty(t, b.inbox.receipts)
				require.Len(t, b.observed, 1)
				require.Equal(t, provider, b.observed[0].provider)
				require.Equal(t, refused.result, b.observed[0].result)
				require.Contains(t, webhook.Results(), refused.result)
				if refused.result == "bad_signature" {
					require.Equal(t, -1, b.observed[0].secret)
				}
			})
		}
	}
}

func TestRoutes_bodyOfExactlyTheLimit(t *testing.T) {
	t.Parallel()

	b := setup(t)
	body := "Body=" + strings.Repeat("x", 1<<20-len("Body="))
	require.Equal(t, 200, do(b, twilio(t, inboundPath, body)).Code)
	require.Len(t, b.inbox.receipts[0].Body, 1<<20)
}

func TestPromise6_notAcceptedIs503(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		err    error
		result string
	}{
		"overloaded": {fmt.Errorf("wrapped: %w", inbox.ErrOverloaded), "overloaded"},
		"stopped":    {inbox.ErrStopped, "error"},
		"database":   {errors.New("password authentication failed for user onward"), "error"},
		"cancelled":  {context.Canceled, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range wellSigned(t) {
				b := setup(t)
				b.inbox.err = test.err
				w := do(b, r)
				require.Equal(t, 503, w.Code)
				require.Equal(t, "5", w.Header().Get("Retry-After"))
				require.Empty(t, w.Body.String())
				require.Len(t, b.observed, 1)
				require.Equal(t, test.result, b.observed[0].result)
				require.GreaterOrEqual(t, b.observed[0].secret, 0)
			}
		})
	}
}

func TestRoutes_overRealConnections(t *testing.T) {
	t.Parallel()

	b := setup(t)
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Cleanup(server.Client().CloseIdleConnections)

	send := func(r *http.Request) int {
		out, err := http.NewRequestWithContext(t.Context(), r.Method, server.URL+r.RequestURI, r.Body)
		require.NoError(t, err)
		out.Header, out.ContentLength = r.Header, r.ContentLength
		response, err := server.Client().Do(out)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}

	// The public address is not the one that is listened on, and the path holds what a router may rewrite.
	require.Equal(t, 204, send(twilio(t, statusPath+"?m=1%2F2&a=%c3%b1+%27x", statusBody)))
	chunked := twilio(t, inboundPath, inboundBody)
	chunked.ContentLength = -1
	require.Equal(t, 200, send(chunked))

	large := twilio(t, inboundPath, "Body="+strings.Repeat("x", 1<<20))
	large.ContentLength = -1
	require.Equal(t, 413, send(large))
	require.Len(t, b.inbox.receipts, 2)
}

func TestRoutes_logsHoldNothingPersonal(t *testing.T) {
	t.Parallel()

	var log bytes.Buffer
	opts := options(&fakeInbox{err: errors.New("away")})
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	h := routes(t, opts)

	do(h, without(wellSigned(t)[inboundPath], "X-Twilio-Signature"))
	do(h, post(inboundPath, form, "From=%2B15550000001&x=%zz", http.Header{"X-Twilio-Signature": {"c2VjcmV0"}}))
	do(h, wellSigned(t)[inboundPath])
	do(h, svix(resendPath, rsSecret, "msg_1", now, `{"to":"someone@example.com"`))
	require.Equal(t, 4, strings.Count(log.String(), "webhook not accepted"))
	for _, personal := range []string{"5550000001", "STOP", "c2VjcmV0", "someone@example.com", token, "m=1"} {
		require.NotContains(t, log.String(), personal)
	}
}
