package app_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
)

// mailTo creates a contact with this mailbox, mails it, and returns the contact, the campaign and the mail.
func (s *stack) mailTo(box string) (business, campaign string, mail providersim.Mail) {
	s.Helper()
	var b object
	s.call("POST", "/crm/businesses", object{"name": "Café", "email": box + "@example.test"}, &b, 201)
	business = b.str("id")
	var c object
	s.call("POST", "/campaigns", object{
		"name": "Test", "channel": "email", "subject": "Hello {{.Name}}", "body": "See https://site.example/x\n\n{{.UnsubscribeURL}}",
		"audience": object{"business_ids": []string{business}},
	}, &c, 201)
	campaign = c.str("id")
	s.call("POST", "/campaigns/"+campaign+"/send", nil, nil, 202)
	s.eventually("the mail is taken", func() bool {
		for _, m := range s.sim.Mails() {
			if m.To[0] == box+"@example.test" {
				mail = m
				return true
			}
		}
		return false
	})
	s.eventually("the send is recorded", func() bool { return len(s.transitions(business, "email_sent")) == 1 })
	return business, campaign, mail
}

// link finds a link of ours in a mail and returns it as it is reached here.
func (s *stack) link(mail providersim.Mail, path string) string {
	s.Helper()
	found := regexp.MustCompile(regexp.QuoteMeta(publicURL+path) + `[\w-]+`).FindString(mail.HTML + " " + mail.Text)
	require.NotEmpty(s, found, "no %s link in the mail", path)
	return strings.Replace(found, publicURL, s.public, 1)
}

// visit requests a page as a browser would, or as the user agent says, without following redirects.
func (s *stack) visit(method, url, agent string) (code int, location, body string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, url, nil)
	require.NoError(s, err)
	req.Header.Set("User-Agent", agent)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(s, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(s, err)
	require.NoError(s, res.Body.Close())
	return res.StatusCode, res.Header.Get("Location"), string(b)
}

const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"

// sent puts the sending of a contact's messages that long ago: within seconds of it an open is taken for a scanner's.
func (s *stack) sent(business string, ago time.Duration) {
	s.Helper()
	_, err := s.db.Pool.Exec(s.Context(), `
		UPDATE messages SET sent_at = now() - make_interval(secs => $2)
		WHERE business_id = (SELECT id FROM businesses WHERE public_id = $1)`, business, ago.Seconds())
	require.NoError(s, err)
}

func TestEmail_openAndClick(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, mail := s.mailTo(providersim.MailboxQuiet)
	pixel, click := s.link(mail, "/t/o/"), s.link(mail, "/t/c/")

	// A scanner follows every link within a second, and HEAD is nobody's click.
	s.sent(business, -time.Minute) // however long this test takes
	code, _, _ := s.visit("GET", pixel, browser)
	require.Equal(t, 200, code)
	code, _, _ = s.visit("HEAD", click, browser)
	require.Equal(t, 302, code)
	s.eventually("both are machines'", func() bool {
		return s.count(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'ignored' AND detail LIKE 'machine%'`) == 2
	})
	s.awaitStatus(business, "contact_status", "emailed")

	s.sent(business, time.Minute)
	code, to, _ := s.visit("GET", click, browser)
	require.Equal(t, 302, code)
	require.Equal(t, "https://site.example/x", to)
	s.awaitStatus(business, "contact_status", "clicked")
	// Opened is beneath clicked: it changes nothing any more. A forged token gets its image, or no page.
	code, _, _ = s.visit("GET", s.public+"/t/o/forged", browser)
	require.Equal(t, 200, code)
	code, to, _ = s.visit("GET", s.public+"/t/c/forged", browser)
	require.Equal(t, 404, code)
	require.Empty(t, to)
}

func TestEmail_opened(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, mail := s.mailTo(providersim.MailboxQuiet)
	s.sent(business, time.Minute)
	code, _, _ := s.visit("GET", s.link(mail, "/t/o/"), browser)
	require.Equal(t, 200, code)
	s.awaitStatus(business, "contact_status", "opened")
}

// RFC 8058: GET changes nothing, POST without a cookie unsubscribes; from its answer on, nothing is mailed.
func TestPromise4_oneClickUnsubscribe(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, mail := s.mailTo(providersim.MailboxQuiet)
	header := strings.Trim(mail.Header.Get("List-Unsubscribe"), "<>")
	url := strings.Replace(header, publicURL, s.public, 1)
	code, _, page := s.visit("GET", url, browser)
	require.Equal(t, 200, code)
	require.Contains(t, page, "<form")
	s.awaitApplied()
	s.awaitStatus(business, "contact_status", "emailed")

	res, err := http.Post(url, "application/x-www-form-urlencoded", strings.NewReader("List-Unsubscribe=One-Click")) //nolint:noctx,gosec // a test's own server
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode)
	s.awaitStatus(business, "contact_status", "unsubscribed")
	c := s.awaitCampaign(s.campaign("email", business), "sent")
	skipped, _ := c["skipped"].(map[string]any)
	require.InDelta(t, 1, skipped["suppressed"], 0)
	require.Len(t, s.sim.Mails(), 1)
}

func TestEmail_complaintUnsubscribes(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, _, _ := s.mailTo(providersim.MailboxComplain)
	s.awaitStatus(business, "contact_status", "unsubscribed")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM suppressions WHERE channel = 'email' AND reason = 'complaint' AND lifted_at IS NULL`))
}

func TestEmail_hardBounce(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, campaign, _ := s.mailTo(providersim.MailboxBounceLate)
	s.awaitMessage(campaign, business, "failed")
	s.awaitStatus(business, "contact_status", "bounced")
	// Refused while it is handed over: the same for the contact.
	var b object
	s.call("POST", "/crm/businesses", object{"name": "Café", "email": providersim.MailboxBounce + "@example.test"}, &b, 201)
	s.awaitMessage(s.campaign("email", b.str("id")), b.str("id"), "failed")
	s.awaitStatus(b.str("id"), "contact_status", "bounced")
}

// A soft bounce is tried again, and counts as a hard one when there were enough.
func TestEmail_softBounceUntilItIsHard(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, campaign, _ := s.mailTo(providersim.MailboxSoftBounce)
	for attempt := 1; attempt <= 3; attempt++ {
		m := s.awaitMessage(campaign, business, "queued")
		require.Equal(t, "soft_bounce", m.str("reason"))
		// An hour and more passes.
		s.eventually("the next attempt is due", func() bool {
			tag, err := s.db.Pool.Exec(t.Context(), `UPDATE river_job SET state = 'available', scheduled_at = now() WHERE kind = 'send' AND state = 'scheduled'`)
			return err == nil && tag.RowsAffected() == 1
		})
		s.eventually("it is mailed again", func() bool { return len(s.sim.Mails()) == attempt+1 })
	}
	s.awaitMessage(campaign, business, "failed")
	s.awaitStatus(business, "contact_status", "bounced")
}

// An SMTP connection that breaks at the closing dot may have delivered the mail: it is held, not sent again.
func TestPromise3_mailCutOffAtTheClosingDotIsHeld(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) {
		o.Tune = func(w *worker.Options) {
			w.ReconcileAfter = []time.Duration{20 * time.Millisecond, 20 * time.Millisecond}
		}
	}, nil)
	var b object
	s.call("POST", "/crm/businesses", object{"name": "Café", "email": providersim.MailboxDrop + "@example.test"}, &b, 201)
	id := b.str("id")
	campaign := s.campaign("email", id)
	m := s.awaitMessage(campaign, id, "held")
	require.InDelta(t, 1, m["attempt"], 0)
	s.awaitStatus(id, "contact_status", "pending")
	// An operator knows better, once.
	s.call("POST", "/messages/"+m.str("id")+"/resolve", object{"as": "sent", "note": "the recipient confirmed"}, nil, 200, 202)
	s.awaitStatus(id, "contact_status", "emailed")
	s.call("POST", "/messages/"+m.str("id")+"/resolve", object{"as": "not_sent"}, nil, 409)
}
