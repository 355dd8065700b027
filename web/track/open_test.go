package track_test

import (
	"bytes"
	"context"
	"errors"
	"image/gif"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

func requirePixel(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "image/gif", w.Header().Get("Content-Type"))
	guarded(t, w.Header())
	image, err := gif.Decode(bytes.NewReader(w.Body.Bytes()))
	require.NoError(t, err)
	require.Equal(t, 1, image.Bounds().Dx()*image.Bounds().Dy())
	_, _, _, alpha := image.At(0, 0).RGBA()
	require.Zero(t, alpha, "transparent")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	requirePixel(t, b.do(http.MethodGet, "/t/o/"+b.token(tracktoken.PurposeOpen, openClaims())+"?extra=1", ""))

	require.Len(t, b.inbox.receipts, 1)
	require.Equal(t, inbox.Receipt{
		Provider: "onward", Kind: "open", Headers: []inbox.Header{{Name: "User-Agent", Values: []string{browser}}},
		Body: []byte(`{"message_id":"0197b5c2-7d1e-7c3a-9f00-0123456789ab","user_agent":"` + browser +
			`","machine":false,"method":"GET","received_at":"2026-06-01T18:00:00.123456789Z"}`),
		DedupeKey: "tk:o:" + messageID + ":h", ReceivedAt: b.now,
	}, b.inbox.receipts[0])
	require.Equal(t, []string{"open accepted"}, b.observed)
}

func TestOpenByAMachineIsKeptApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/t/o/" + b.token(tracktoken.PurposeOpen, openClaims())
	requirePixel(t, b.do(http.MethodGet, path, "", "User-Agent", "BarracudaCentral scanner/1.0"))
	require.Equal(t, http.StatusOK, b.do(http.MethodHead, path, "").Code)
	requirePixel(t, b.do(http.MethodGet, path, ""))

	var keys []string
	for _, r := range b.inbox.receipts {
		keys = append(keys, r.DedupeKey)
	}
	require.Equal(t, []string{"tk:o:" + messageID + ":m", "tk:o:" + messageID + ":m", "tk:o:" + messageID + ":h"}, keys)
	require.Contains(t, string(b.inbox.receipts[1].Body), `"machine":true,"method":"HEAD"`)
}

func TestOpenAnswersTheImageWhateverHappens(t *testing.T) {
	t.Parallel()
	valid := func(b *bundle) string { return b.token(tracktoken.PurposeOpen, openClaims()) }
	for name, tc := range map[string]struct {
		token    func(*bundle) string
		result   inbox.Result
		err      error
		observed string
	}{
		"no token of ours":     {func(*bundle) string { return "nonsense" }, 0, nil, "open invalid_token"},
		"of another purpose":   {func(b *bundle) string { return b.token(tracktoken.PurposeUnsubscribe, unsubscribeClaims()) }, 0, nil, "open invalid_token"},
		"overloaded":           {valid, 0, inbox.ErrOverloaded, "open overloaded"},
		"stopped":              {valid, 0, inbox.ErrStopped, "open error"},
		"the database is away": {valid, 0, errors.New("connection refused"), "open error"},
		"a duplicate":          {valid, inbox.Duplicate, nil, "open duplicate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.inbox.result, b.inbox.err = tc.result, tc.err
			requirePixel(t, b.do(http.MethodGet, "/t/o/"+tc.token(b), ""))
			require.Equal(t, []string{tc.observed}, b.observed)
		})
	}
}

// TestReadersDoNotWaitForTheDatabase: image and redirect arrive while the inbox is still busy.
func TestReadersDoNotWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entered, free := make(chan struct{}), make(chan struct{})
	b.inbox.during = func(context.Context) { entered <- struct{}{}; <-free }
	server := httptest.NewServer(b.router)
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer client.CloseIdleConnections()

	for path, want := range map[string]int{
		"/t/o/" + b.token(tracktoken.PurposeOpen, openClaims()):                         http.StatusOK,
		"/t/c/" + b.token(tracktoken.PurposeClick, clickClaims("https://example.com/")): http.StatusFound,
	} {
		answer, err := client.Get(server.URL + path)
		require.NoError(t, err)
		_, err = io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, want, answer.StatusCode)
		<-entered
		free <- struct{}{}
	}
	server.Close()
	require.Len(t, b.inbox.receipts, 2)
}

// TestReadersWhoLeaveAreStillCounted: the receipt does not end with the connection, nor wait for ever.
func TestReadersWhoLeaveAreStillCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, hangUp := context.WithCancel(t.Context())
	b.inbox.during = func(ctx context.Context) {
		hangUp()
		require.NoError(t, ctx.Err())
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.LessOrEqual(t, time.Until(deadline), 5*time.Second)
	}
	r := httptest.NewRequest(http.MethodGet, "/t/o/"+b.token(tracktoken.PurposeOpen, openClaims()), nil)
	b.router.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	require.Len(t, b.inbox.receipts, 1)
}
