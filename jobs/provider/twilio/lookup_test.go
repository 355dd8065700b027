package twilio_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/twilio"
)

var now = time.Date(2026, 3, 2, 15, 4, 5, 0, time.UTC)

func record(n int, created time.Time) string {
	return fmt.Sprintf(`{"sid":"SM%032d","status":"delivered","to":%q,"from":%q,"body":"b%d","num_segments":"2",
		"date_created":%q,"date_sent":null,"error_code":30003,"price":"-0.0158","price_unit":"USD"}`,
		n, toNumber, fromNumber, n, created.Format(time.RFC1123Z))
}

func page(next string, records ...string) string {
	return fmt.Sprintf(`{"messages":[%s],"next_page_uri":%q}`, strings.Join(records, ","), next)
}

func TestGet(t *testing.T) {
	t.Parallel()
	b := setup(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/2010-04-01/Accounts/"+accountSID+"/Messages/"+messageSID+".json", r.URL.Path)
		answer(200, record(1, now))(w, r)
	}, time.Minute)
	got, err := b.client.Get(t.Context(), messageSID)
	require.NoError(t, err)
	require.Equal(t, provider.Status{
		SID: messageSID, Status: "delivered", ErrorCode: "30003", To: toNumber, From: fromNumber, Body: "b1",
		DateCreated: now, Segments: 2, Price: "-0.0158", PriceUnit: "USD",
	}, got)
}

func TestGetErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		class  provider.Class
		code   string
	}{
		{"not JSON", 200, "<html>", provider.ClassRetryLater, "unreadable"},
		{"no sid", 200, "{}", provider.ClassRetryLater, "no_sid"},
		{"503", 503, "", provider.ClassRetryLater, "http_503"},
		{"wrong token", 401, `{"code":20003}`, provider.ClassSenderBroken, "20003"},
		{"404 of no Twilio", 404, "<html>", provider.ClassSenderBroken, "http_404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, answer(tc.status, tc.body), time.Minute)
			_, err := b.client.Get(t.Context(), messageSID)
			requireSendError(t, err, tc.class, tc.code)
			require.NotErrorIs(t, err, provider.ErrNotFound)
		})
	}
}

func TestGetNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t, answer(404, `{"code":20404,"status":404}`), time.Minute)
	_, err := b.client.Get(t.Context(), messageSID)
	require.ErrorIs(t, err, provider.ErrNotFound)
	requireSendError(t, err, provider.ClassUnknown, "20404")
}

func TestGetHangCanBeRepeated(t *testing.T) {
	t.Parallel()
	timesOut(t, func(_ http.ResponseWriter, r *http.Request) { hang(r) }, func(t *testing.T, client *twilio.Client) {
		_, err := client.Get(t.Context(), messageSID)
		requireSendError(t, err, provider.ClassRetryLater, "timeout")
	})
}

func TestFindPagesAndFilters(t *testing.T) {
	t.Parallel()
	var queries []string
	b := setup(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		queries = append(queries, q.Get("Page")+"/"+q.Get("PageToken"))
		require.Equal(t, toNumber, q.Get("To"))
		require.Equal(t, fromNumber, q.Get("From"))
		require.NotEmpty(t, q.Get("PageSize"))
		switch q.Get("Page") {
		case "":
			answer(200, page("/2010-04-01/Accounts/AC1/Messages.json?To=x&Page=1&PageToken=PAone", record(1, now)))(w, r)
		case "1":
			answer(200, page("/2010-04-01/Accounts/AC1/Messages.json?Page=2&PageToken=PAtwo", record(2, now.Add(-time.Minute)), record(3, now.Add(-2*time.Hour))))(w, r)
		default:
			answer(200, page("/2010-04-01/Accounts/AC1/Messages.json?Page=3&PageToken=PAthree", record(4, now.Add(-72*time.Hour))))(w, r)
		}
	}, time.Minute)
	got, err := b.client.Find(t.Context(), toNumber, fromNumber, now.Add(-time.Hour))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "b1", got[0].Body)
	require.Equal(t, "b2", got[1].Body)
	require.Equal(t, []string{"/", "1/PAone", "2/PAtwo"}, queries, "stops at a page that is all older")
}

func TestFindKeepsAMessageOfTheSameSecond(t *testing.T) {
	t.Parallel()
	b := setup(t, answer(200, page("", record(1, now))), time.Minute)
	got, err := b.client.Find(t.Context(), toNumber, "", now.Add(900*time.Millisecond))
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func TestFindIsBounded(t *testing.T) {
	t.Parallel()
	calls := 0
	b := setup(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		answer(200, page(fmt.Sprintf("/x?Page=%d&PageToken=PA%d", calls, calls), record(calls, now)))(w, r)
	}, time.Minute)
	got, err := b.client.Find(t.Context(), toNumber, fromNumber, now)
	require.ErrorIs(t, err, provider.ErrListTruncated)
	require.Len(t, got, 10)
	require.Equal(t, 10, calls)
}

func TestFindErrorsAreSafe(t *testing.T) {
	t.Parallel()
	b := setup(t, answer(200, ""), time.Minute)
	b.server.Close()
	_, err := b.client.Find(t.Context(), toNumber, fromNumber, now)
	requireSendError(t, err, provider.ClassRetryLater, "connect")
}
