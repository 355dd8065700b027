package app_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
)

// logBuffer collects what is logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// lines decodes the lines that have this message.
func (l *logBuffer) lines(t *testing.T, msg string) (list []object) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var o object
		require.NoError(t, json.Unmarshal([]byte(line), &o), line)
		if o.str("msg") == msg {
			list = append(list, o)
		}
	}
	return list
}

// logged starts a stack that logs everything it ever logs, as JSON.
func logged(t *testing.T, tune func(*app.Options), simulate func(*providersim.Options)) (*stack, *logBuffer) {
	t.Helper()
	out := &logBuffer{}
	s := start(t, func(o *app.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if tune != nil {
			tune(o)
		}
	}, simulate)
	return s, out
}

// A lead's whole life, with what goes wrong in one, logged at debug: no number, address, body, token or secret is in it.
func TestLogs_tellOfNobody(t *testing.T) {
	t.Parallel()
	s, out := logged(t, nil, nil)
	id, phone, email := s.business("")
	site := s.site(id, "su_1")
	s.awaitMessage(s.campaign("sms", id), id, "delivered")
	mail := s.campaign("email", id)
	s.awaitMessage(mail, id, "delivered")
	const words = "When can you come to Chimaltenango?"
	require.Equal(t, 200, s.reply(newSID("SM"), phone, words))
	s.awaitStatus(id, "contact_status", "replied")
	_, _, err := s.sim.Charge(providersim.Charge{SiteID: site, SubscriptionID: "su_1", AmountInCents: 25000, Currency: "GTQ"})
	require.NoError(t, err)
	s.awaitStatus(id, "contact_status", "purchased")

	// What fails talks more than what succeeds.
	for _, number := range []string{providersim.MagicInvalid, providersim.MagicFailed, providersim.MagicHangOut, providersim.MagicUnreachable} {
		other, _, _ := s.business(number)
		s.campaign("sms", other)
	}
	require.Equal(t, 403, s.post("/webhooks/twilio/inbound", map[string][]string{
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Twilio-Signature": {"forged"},
	}, []byte(url.Values{"From": {phone}, "Body": {words}}.Encode())))
	s.call("POST", "/crm/businesses", object{"name": "Other", "email": "not an address", "phone": "12"}, nil, 422)
	s.call("GET", "/crm/businesses?q="+url.QueryEscape(phone), nil, nil, 200)
	s.call("POST", "/suppressions", object{"channel": "email", "address": email, "reason": "asked by phone"}, nil, 200, 201)
	link := unsubscribeLink(t, s)
	require.Equal(t, 200, s.post(strings.TrimPrefix(link, publicURL), map[string][]string{
		"Content-Type": {"application/x-www-form-urlencoded"},
	}, []byte("List-Unsubscribe=One-Click")))
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "STOP"))
	s.awaitStatus(id, "contact_status", "unsubscribed")
	// A receipt whose job fails again and again quotes nothing of it.
	_, err = s.db.Pool.Exec(t.Context(), `ALTER TABLE inbound_messages ADD CONSTRAINT odd CHECK (body NOT LIKE 'odd%')`)
	require.NoError(t, err)
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "odd words of mine"))
	s.eventually("the job failed", func() bool { return len(failures(t, out)) > 0 })
	s.eventually("every send is settled or unknown", func() bool {
		return s.count(`SELECT count(*) FROM messages WHERE state IN ('queued', 'dispatching')`) == 0
	})
	require.NoError(t, s.sim.Drain(t.Context()))

	text := out.String()
	require.Greater(t, strings.Count(text, "\n"), 50)
	secret := map[string]string{
		"Twilio's token": authToken, "Recurrente's secret": recurrenteSecret, "Resend's secret": resendSecret(), "the key": strings.Repeat("k", 32),
		"an API token": s.token, "the name": "Panadería", "the reply": "Chimaltenango", "the other reply": "odd words", "the DSN": s.db.DSN,
		"an unsubscribe token": strings.TrimPrefix(link, publicURL+"/u/"),
	}
	rows, err := s.db.Pool.Query(t.Context(), `
		SELECT phone FROM businesses UNION SELECT email FROM businesses UNION SELECT left(body, 40) FROM messages UNION SELECT address FROM messages`)
	require.NoError(t, err)
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, v := range values {
		secret["what is stored: "+v] = v
	}
	for what, v := range secret {
		for _, form := range []string{v, url.QueryEscape(v), strings.TrimPrefix(v, "+")} {
			require.NotContains(t, text, form, what)
		}
	}
	for _, pattern := range []string{`\+\d{7,15}\b`, `\b1202555\d{4}\b`, `[\w.+-]+@[\w-]+\.\w+`, `onw_`, `whsec_`, `/[uto]/[\w-]{20,}`} {
		require.Empty(t, regexp.MustCompile(pattern).FindString(text), pattern)
	}
}

func failures(t *testing.T, out *logBuffer) (list []object) {
	t.Helper()
	for _, l := range out.lines(t, "job") {
		if l.str("outcome") == "failed" {
			list = append(list, l)
		}
	}
	return list
}

// unsubscribeLink is the one in the mail that was sent.
func unsubscribeLink(t *testing.T, s *stack) string {
	t.Helper()
	mails := s.sim.Mails()
	require.NotEmpty(t, mails)
	link := strings.Trim(strings.Split(mails[0].Header.Get("List-Unsubscribe"), ",")[0], " <>")
	require.True(t, strings.HasPrefix(link, publicURL+"/u/"), link)
	return link
}

// A webhook's request, its job's attempt and the status that it changed are one line each, joined by the receipt's id and
// the job's.
func TestLogs_joinRequestAttemptAndStatus(t *testing.T) {
	t.Parallel()
	s, out := logged(t, nil, nil)
	id, phone, _ := s.business("")
	require.Equal(t, 200, s.reply(newSID("SM"), phone, "Hello"))
	s.awaitStatus(id, "contact_status", "replied")
	var attempt object
	s.eventually("the attempt is logged", func() bool {
		for _, l := range out.lines(t, "job") {
			if l.str("kind") == "reply" {
				attempt = l
			}
		}
		return attempt != nil
	})
	receipt := attempt.str("receipt_id")
	require.NotEmpty(t, receipt)
	require.Equal(t, []any{"completed", "inbound", 1.0}, []any{attempt["outcome"], attempt["queue"], attempt["attempt"]})
	require.Positive(t, attempt["took"])

	var request, status object
	for _, l := range out.lines(t, "request") {
		if l.str("receipt_id") == receipt {
			request = l
		}
	}
	for _, l := range out.lines(t, "status") {
		if l.str("receipt_id") == receipt {
			status = l
		}
	}
	require.Equal(t, "/webhooks/twilio/inbound", request.str("route"))
	require.NotEmpty(t, request.str("request_id"))
	require.Equal(t, []any{"contact", "pending", "replied", "reply_received", "applied"},
		[]any{status["axis"], status["from"], status["to"], status["event"], status["verdict"]})
	require.Equal(t, attempt["job_id"], status["job_id"])
	require.Less(t, time.Duration(attempt["took"].(float64)), time.Minute)
}
