package twilio_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/twilio"
)

func TestSendAccepted(t *testing.T) {
	t.Parallel()
	var got url.Values
	b := setup(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, "/2010-04-01/Accounts/"+accountSID+"/Messages.json", r.URL.Path)
		user, pass, ok := r.BasicAuth()
		require.True(t, ok)
		require.Equal(t, accountSID, user)
		require.Equal(t, authToken, pass)
		require.NoError(t, r.ParseForm())
		got = r.PostForm
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(created))
	}, time.Minute)

	accepted, err := b.client.Send(t.Context(), message())
	require.NoError(t, err)
	require.Equal(t, provider.Accepted{SID: messageSID, Status: "queued", Segments: 1, PriceUnit: "USD"}, accepted)
	require.Equal(t, url.Values{
		"To": {toNumber}, "From": {fromNumber}, "Body": {bodyText},
		"StatusCallback": {"https://hooks.example.com/webhooks/twilio/status?m=0199-id&a=1#ct=3000&rt=5000&tt=15000&rc=5&rp=all"},
	}, got)
}

func TestSendSenderOfMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		opts          twilio.Options
		from, service string
		want          url.Values
	}{
		{"configured service", twilio.Options{MessagingServiceSID: "MG1"}, "", "", url.Values{"MessagingServiceSid": {"MG1"}}},
		{"message's number wins", twilio.Options{MessagingServiceSID: "MG1"}, "+1", "", url.Values{"From": {"+1"}}},
		{"message's service wins", twilio.Options{From: "+1"}, "", "MG2", url.Values{"MessagingServiceSid": {"MG2"}}},
		{"both configured", twilio.Options{From: "+1", MessagingServiceSID: "MG1"}, "", "", url.Values{"From": {"+1"}, "MessagingServiceSid": {"MG1"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got url.Values
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, r.ParseForm())
				got = r.PostForm
				_, _ = w.Write([]byte(created))
			}))
			t.Cleanup(server.Close)
			tc.opts.BaseURL = server.URL
			m := message()
			m.From, m.MessagingServiceSID, m.StatusCallback = tc.from, tc.service, ""
			_, err := newClient(t, tc.opts).Send(t.Context(), m)
			require.NoError(t, err)
			tc.want["To"], tc.want["Body"] = []string{toNumber}, []string{bodyText}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestSendClassifiesAnswers(t *testing.T) {
	t.Parallel()
	twilioError := func(code, status int) string {
		return fmt.Sprintf(`{"code":%d,"message":"about %s","more_info":"https://www.twilio.com/docs/errors/%d","status":%d}`, code, toNumber, code, status)
	}
	for _, tc := range []struct {
		name   string
		status int
		body   string
		class  provider.Class
		code   string
	}{
		{"201 garbage", 201, "<html>", provider.ClassUnknown, "unreadable"},
		{"201 empty", 201, "", provider.ClassUnknown, "unreadable"},
		{"201 cut short", 201, created[:len(created)-3], provider.ClassUnknown, "unreadable"},
		{"200 without sid", 200, "{}", provider.ClassUnknown, "no_sid"},
		{"200 null sid", 200, `{"sid":null}`, provider.ClassUnknown, "no_sid"},
		{"redirect", 302, "", provider.ClassUnknown, "http_302"},
		{"500 HTML", 500, "<html>", provider.ClassUnknown, "http_500"},
		{"503 HTML", 503, "<html>bad gateway</html>", provider.ClassUnknown, "http_503"},
		{"500 with a code that elsewhere means retry", 500, twilioError(30500, 500), provider.ClassUnknown, "30500"},
		{"408", 408, "", provider.ClassUnknown, "http_408"},
		{"400 of a proxy", 400, "<html>", provider.ClassUnknown, "http_400"},
		{"400 JSON without code", 400, `{"message":"?"}`, provider.ClassUnknown, "http_400"},
		{"429 without JSON", 429, "", provider.ClassRetryLater, "http_429"},
		{"429", 429, twilioError(20429, 429), provider.ClassRetryLater, "20429"},
		{"sender's queue full", 400, twilioError(21611, 400), provider.ClassRetryLater, "21611"},
		{"opted out", 400, twilioError(21610, 400), provider.ClassOptedOut, "21610"},
		{"no such number", 400, twilioError(21211, 400), provider.ClassBadRecipient, "21211"},
		{"not a mobile", 400, twilioError(21614, 400), provider.ClassBadRecipient, "21614"},
		{"region not enabled", 403, twilioError(21408, 403), provider.ClassSenderBroken, "21408"},
		{"wrong token", 401, twilioError(20003, 401), provider.ClassSenderBroken, "20003"},
		{"401 without JSON", 401, "", provider.ClassSenderBroken, "http_401"},
		{"403 of an unlisted code", 403, twilioError(29999, 403), provider.ClassSenderBroken, "29999"},
		{"404", 404, twilioError(20404, 404), provider.ClassSenderBroken, "20404"},
		{"too long", 400, twilioError(21617, 400), provider.ClassContentRefused, "21617"},
		{"unlisted code", 400, twilioError(29999, 400), provider.ClassContentRefused, "29999"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			b := setup(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				answer(tc.status, tc.body, "Location", "/elsewhere")(w, r)
			}, time.Minute)
			_, err := b.client.Send(t.Context(), message())
			requireSendError(t, err, tc.class, tc.code)
			require.EqualValues(t, 1, calls.Load(), "no redirect, no second request")
		})
	}
}

func TestSendRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"-1":                            0,
		"soon":                          0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
		"Fri, 31 Dec 2999 23:59:59 GMT": time.Hour, // capped
		"86400":                         time.Hour,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			b := setup(t, answer(http.StatusTooManyRequests, `{"code":20429}`, "Retry-After", value), time.Minute)
			_, err := b.client.Send(t.Context(), message())
			requireSendError(t, err, provider.ClassRetryLater, "20429")
			var sendErr *provider.SendError
			require.ErrorAs(t, err, &sendErr)
			require.Equal(t, want, sendErr.RetryAfter)
		})
	}
}

func TestSendHangIsUnknown(t *testing.T) {
	t.Parallel()
	timesOut(t, func(_ http.ResponseWriter, r *http.Request) { hang(r) }, func(t *testing.T, client *twilio.Client) {
		_, err := client.Send(t.Context(), message())
		requireSendError(t, err, provider.ClassUnknown, "timeout")
		require.ErrorContains(t, err, "provider time-out", "the error names which time-out fired")
	})
}

func TestSendHangInTheAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	timesOut(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(created[:20]))
		w.(http.Flusher).Flush()
		hang(r)
	}, func(t *testing.T, client *twilio.Client) {
		_, err := client.Send(t.Context(), message())
		requireSendError(t, err, provider.ClassUnknown, "timeout")
	})
}

func TestSendCanceledByCallerAfterSendingIsUnknown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := setup(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); hang(r) }, time.Minute)
	_, err := b.client.Send(ctx, message())
	requireSendError(t, err, provider.ClassUnknown, "canceled")
}

func TestSendCanceledByCallerBeforeSendingIsNotSent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var calls atomic.Int32
	b := setup(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }, time.Minute)
	_, err := b.client.Send(ctx, message())
	requireSendError(t, err, provider.ClassRetryLater, "canceled")
	require.Zero(t, calls.Load())
}

func TestSendDroppedConnectionIsUnknown(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"before the answer":  "",
		"in the status line": "HTTP/1.1 20",
		"not HTTP":           "hello " + toNumber + "\r\n\r\n",
		"in the body":        "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n" + created,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				require.NoError(t, err)
				_, _ = conn.Write([]byte(before))
				_ = conn.Close()
			}, time.Minute)
			_, err := b.client.Send(t.Context(), message())
			requireSendError(t, err, provider.ClassUnknown, "broken")
		})
	}
}

func TestSendRefusedConnectionIsNotSent(t *testing.T) {
	t.Parallel()
	b := setup(t, answer(200, ""), time.Minute)
	b.server.Close()
	_, err := b.client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "connect")
}

func TestSendUnknownHostIsNotSent(t *testing.T) {
	t.Parallel()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "api.invalid", IsNotFound: true}
	}}
	client := newClient(t, twilio.Options{BaseURL: "https://api.invalid", Transport: transport})
	_, err := client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "connect")
}

func TestSendDialThatHangsIsNotSent(t *testing.T) {
	t.Parallel()
	// The transport's dial outlives the request that asked for it.
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		<-t.Context().Done()
		return nil, t.Context().Err()
	}}
	client := newClient(t, twilio.Options{BaseURL: "https://api.invalid", Transport: transport, Timeout: 50 * time.Millisecond})
	_, err := client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "timeout")
}

func TestSendTLSErrorIsNotSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answer(201, created))
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newClient(t, twilio.Options{BaseURL: server.URL}) // does not trust its certificate
	_, err := client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "connect")
	var cert *tls.CertificateVerificationError
	require.ErrorAs(t, err, &cert)
}

func TestSendOverHTTP2(t *testing.T) {
	t.Parallel()
	drop := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, 2, r.ProtoMajor)
		if drop {
			panic(http.ErrAbortHandler)
		}
		answer(201, created)(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newClient(t, twilio.Options{BaseURL: server.URL, Transport: server.Client().Transport})
	_, err := client.Send(t.Context(), message())
	require.NoError(t, err)
	drop = true
	_, err = client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassUnknown, "broken")
}

// A connection that went stale while it idled, to a provider that is now down:
// the transport notices before it writes, dials again, and is refused.
func TestSendStaleConnectionThenRefusedIsNotSent(t *testing.T) {
	t.Parallel()
	refuse := false
	transport := &http.Transport{}
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if refuse {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &staleConn{Conn: conn, stale: &refuse}, nil
	}
	server := httptest.NewServer(answer(201, created))
	t.Cleanup(server.Close)
	t.Cleanup(transport.CloseIdleConnections)
	client := newClient(t, twilio.Options{BaseURL: server.URL, Transport: transport})
	_, err := client.Send(t.Context(), message())
	require.NoError(t, err)
	refuse = true
	_, err = client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassRetryLater, "connect")
}

// A transport that does not report what it did is given no benefit of doubt.
func TestSendThroughSilentTransportIsUnknown(t *testing.T) {
	t.Parallel()
	client := newClient(t, twilio.Options{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("something")
	})})
	_, err := client.Send(t.Context(), message())
	requireSendError(t, err, provider.ClassUnknown, "broken")
}
