package track_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

const oneClick = "List-Unsubscribe=One-Click"

func TestUnsubscribePageChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/u/" + b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := b.do(method, path, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		guarded(t, w.Header())
		if method == http.MethodGet {
			require.Contains(t, w.Body.String(), "a•••@e•••.com")
			require.NotContains(t, w.Body.String(), "ana@example.com")
			require.Contains(t, w.Body.String(), `<form method="post">`)
			require.NotContains(t, w.Body.String(), "unsubscribed", "it is not done yet")
		}
	}
	require.Empty(t, b.inbox.receipts)
	require.Equal(t, []string{"unsubscribe shown", "unsubscribe shown"}, b.observed)
}

// TestUnsubscribe: the mail reader's form, as RFC 8058 has it, and whatever else arrives by POST.
func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	const form, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for name, tc := range map[string]struct{ contentType, body, via string }{
		"one-click":              {form, oneClick, "one_click"},
		"one-click as multipart": {multi, "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n", "one_click"},
		"our page":               {form, "via=page", "page"},
		"nothing":                {"", "", "one_click"},
		"anything":               {"application/json", `{"a":`, "one_click"},
		"not text":               {form, "%zz\xff\x00;;&&", "one_click"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			path := "/u/" + b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
			w := b.do(http.MethodPost, path, tc.body, "Content-Type", tc.contentType)
			require.Equal(t, http.StatusOK, w.Code)
			require.Contains(t, w.Body.String(), "You are unsubscribed")
			guarded(t, w.Header())
			require.Equal(t, []inbox.Receipt{{
				Provider: "onward", Kind: "unsubscribe", Headers: []inbox.Header{{Name: "User-Agent", Values: []string{browser}}},
				Body: []byte(`{"message_id":"0197b5c2-7d1e-7c3a-9f00-0123456789ab","channel":"email","address":"ana@example.com","via":"` + tc.via +
					`","user_agent":"` + browser + `","received_at":"2026-06-01T18:00:00.123456789Z"}`),
				DedupeKey: fmt.Sprintf("tk:u:%s:%d", messageID, b.now.Unix()/10), ReceivedAt: b.now,
				Hold:       &inbox.Hold{Channel: "email", Address: "ana@example.com"},
				ContactKey: "email:ana@example.com",
			}}, b.inbox.receipts)
			require.Equal(t, []string{"unsubscribe accepted"}, b.observed)
		})
	}
}

func TestUnsubscribeFromSMS(t *testing.T) {
	t.Parallel()
	b := setup(t)
	claims := tracktoken.Claims{MessageID: messageID, Channel: "sms", Address: "+50255551234"}
	w := b.do(http.MethodPost, "/u/"+b.token(tracktoken.PurposeUnsubscribe, claims), oneClick)
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "•••1234")
	require.Equal(t, &inbox.Hold{Channel: "sms", Address: "+50255551234"}, b.inbox.receipts[0].Hold)
	require.Equal(t, "sms:+50255551234", b.inbox.receipts[0].ContactKey)
}

// TestPromise4UnsubscribedIsAnsweredAfterAccept: no byte of the answer is written before the inbox has
// accepted, and where it has not the answer is 503.
func TestPromise4UnsubscribedIsAnsweredAfterAccept(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		inbox.ErrOverloaded, inbox.ErrStopped, errors.New("connection refused"),
		fmt.Errorf("gave up waiting: %w", context.DeadlineExceeded),
	} {
		b := setup(t)
		b.inbox.err = err
		w := b.do(http.MethodPost, "/u/"+b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims()), oneClick)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "5", w.Header().Get("Retry-After"))
		require.Contains(t, w.Body.String(), "Not unsubscribed yet")
		require.NotContains(t, w.Body.String(), "You are unsubscribed")
		guarded(t, w.Header())
	}

	b := setup(t)
	w := newWatched()
	b.inbox.during = func(ctx context.Context) {
		require.False(t, w.written(), "answered before it was accepted")
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.Greater(t, time.Until(deadline), 17*time.Second, "the inbox's own time-outs come first")
	}
	b.router.ServeHTTP(w, b.request(http.MethodPost, "/u/"+b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims()), oneClick))
	require.Equal(t, http.StatusOK, w.Code)
}

func TestUnsubscribeTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/u/" + b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
	b.now = time.Unix(1780000000, 0)
	b.do(http.MethodPost, path, oneClick)
	b.now = time.Unix(1780000009, 0)
	b.inbox.result = inbox.Duplicate
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, path, "via=page").Code)
	b.now = time.Unix(1780000010, 0)
	b.inbox.result = inbox.Accepted
	b.do(http.MethodPost, path, oneClick)

	keys := []string{b.inbox.receipts[0].DedupeKey, b.inbox.receipts[1].DedupeKey, b.inbox.receipts[2].DedupeKey}
	require.Equal(t, keys[0], keys[1], "a double click is one unsubscribe")
	require.NotEqual(t, keys[0], keys[2], "who was reopened since is heard again")
	require.Equal(t, []string{"unsubscribe accepted", "unsubscribe duplicate", "unsubscribe accepted"}, b.observed)
}

func TestUnsubscribeWithoutAValidToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, token := range []string{
		"x", b.token(tracktoken.PurposeOpen, openClaims()), b.token(tracktoken.PurposeClick, clickClaims("https://example.com")),
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			w := b.do(method, "/u/"+token, oneClick)
			require.Equal(t, http.StatusNotFound, w.Code)
			guarded(t, w.Header())
		}
	}
	require.Empty(t, b.inbox.receipts)
}

func TestUnsubscribeWithATooLargeBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/u/" + b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
	require.Equal(t, http.StatusRequestEntityTooLarge, b.do(http.MethodPost, path, strings.Repeat("a", 16<<10+1)).Code)
	require.Empty(t, b.inbox.receipts)
	require.Equal(t, http.StatusOK, b.do(http.MethodPost, path, strings.Repeat("a", 16<<10)).Code)
}

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	open := "/t/o/" + b.token(tracktoken.PurposeOpen, openClaims())
	click := "/t/c/" + b.token(tracktoken.PurposeClick, clickClaims("https://example.com"))
	unsubscribe := "/u/" + b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
	for _, tc := range [][2]string{
		{http.MethodPost, open},
		{http.MethodPost, click},
		{http.MethodOptions, click},
		{http.MethodPut, unsubscribe},
		{http.MethodDelete, unsubscribe},
		{http.MethodPatch, unsubscribe},
	} {
		require.Equal(t, http.StatusMethodNotAllowed, b.do(tc[0], tc[1], "").Code, tc)
	}
	require.Empty(t, b.inbox.receipts)
}

// FuzzRequests: strangers' requests get one of the answers that are meant for them, and none makes a receipt
// without a token of ours.
func FuzzRequests(f *testing.F) {
	b := setup(f)
	unsubscribe := b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims())
	f.Add(byte(0), "x", browser, "")
	f.Add(byte(4), unsubscribe, "", oneClick)
	f.Add(byte(2), unsubscribe+"\xff", "\x00", "via=page&via=")
	f.Fuzz(func(t *testing.T, which byte, token, userAgent, body string) {
		b := setup(t)
		method := []string{http.MethodGet, http.MethodHead, http.MethodGet, http.MethodGet, http.MethodPost}[which%5]
		prefix := []string{"/t/o/", "/t/c/", "/t/c/", "/u/", "/u/"}[which%5]
		r := b.request(method, prefix, body)
		r.URL.Path, r.URL.RawPath = prefix+token, ""
		r.Header["User-Agent"] = []string{userAgent}
		w := newWatched()
		b.router.ServeHTTP(w, r)
		require.Contains(t, []int{http.StatusOK, http.StatusFound, http.StatusNotFound, http.StatusRequestEntityTooLarge}, w.Code)
		for _, receipt := range b.inbox.receipts {
			require.Equal(t, "unsubscribe", receipt.Kind)
			require.Equal(t, "email:ana@example.com", receipt.ContactKey)
		}
	})
}
