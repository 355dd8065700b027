package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
	"onward/web/apitoken"
)

func TestMain(m *testing.M) {
	if os.Getenv(childRole) != "" {
		os.Exit(child())
	}
	os.Exit(pgtest.Main(testsThatBrowse{m}))
}

// testsThatBrowse ends the browser behind the last of them.
type testsThatBrowse struct{ *testing.M }

// Run runs them.
func (m testsThatBrowse) Run() int {
	defer chromium.end()
	return m.M.Run()
}

const (
	account          = "AC00000000000000000000000000000001"
	authToken        = "0123456789abcdef0123456789abcdef"
	from             = "+15005550006"
	publicURL        = "https://hooks.example.test" // what is signed; where it really is, only the simulator knows
	patience         = 30 * time.Second
	recurrenteSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

func resendSecret() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of the mail provider's"))
}

// stack is the whole application against a database of its own and the simulated providers. Tests drive it over HTTP.
type stack struct {
	*testing.T
	app     *app.App
	db      *pgtest.DB
	sim     *providersim.Sim
	token   string
	api     string
	public  string
	config  app.Config
	numbers atomic.Int64
}

// start starts one; tune may change the settings, and simulate the simulator's options. Either may be nil.
func start(t *testing.T, tune func(*app.Options), simulate func(*providersim.Options)) *stack {
	t.Helper()
	return startOn(t, pgtest.New(t, pgtest.Schema), tune, simulate)
}

// startOn is start with a database that the test has made.
func startOn(t *testing.T, db *pgtest.DB, tune func(*app.Options), simulate func(*providersim.Options)) *stack {
	t.Helper()
	s := &stack{T: t, db: db}
	o := providersim.Options{
		AccountSID: account, AuthToken: authToken, RecurrenteSecret: recurrenteSecret, ResendSecret: resendSecret(),
		CallbackDelay: 5 * time.Millisecond, SvixScale: 0.01, PublicURL: publicURL,
	}
	if simulate != nil {
		simulate(&o)
	}
	sim, err := providersim.New(o)
	require.NoError(t, err)
	require.NoError(t, sim.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, sim.Stop(context.Background())) })
	s.sim = sim
	s.config = app.Config{
		DatabaseURL: s.db.DSN, PublicAddr: "127.0.0.1:0", PrivateAddr: "127.0.0.1:0", PublicURL: publicURL,
		SecretKey: app.Secret(strings.Repeat("k", 32)), TwilioAccountSID: account, TwilioAuthToken: app.Secret(authToken), TwilioFrom: from,
		TwilioAPIBaseURL: sim.TwilioURL(), RecurrenteWebhookSecret: app.Secret(recurrenteSecret), RecurrenteLive: true,
		ResendWebhookSecret: app.Secret(resendSecret()), SMTPURL: app.Secret(sim.SMTPURL()), EmailFrom: "Onward <hello@onward.example>",
		EmailPostalAddress: "1 Main Street, Springfield", UnknownSends: "hold", QuietHours: "off", RetentionDays: 90, LogFormat: "text", LogLevel: "info",
	}
	opts := app.Options{
		Config: s.config, Role: app.RoleUp, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test",
		Tune: func(o *worker.Options) {
			o.ReconcileAfter = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}
		},
	}
	if testing.Verbose() {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if tune != nil {
		tune(&opts)
	}
	s.config = opts.Config
	a, err := app.New(t.Context(), opts)
	require.NoError(t, err)
	require.NoError(t, a.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	s.app = a
	s.public, s.api = "http://"+a.PublicAddr(), "http://"+a.PrivateAddr()+"/api/v1"
	if a.PublicAddr() != "" {
		require.NoError(t, sim.SetTarget(publicURL, s.public))
	}
	_, s.token, err = apitoken.Create(t.Context(), s.db.Pool, "test", apitoken.Admin)
	require.NoError(t, err)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return s
}

// call makes an API call and wants one of the codes; into may be nil.
func (s *stack) call(method, path string, body, into any, codes ...int) {
	s.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(s, err)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.Context(), method, s.api+path, r)
	require.NoError(s, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(s, err)
	require.Contains(s, codes, res.StatusCode, "%s %s: %s", method, path, b)
	if into != nil {
		require.NoError(s, json.Unmarshal(b, into), "%s %s: %s", method, path, b)
	}
}

// object is a JSON object of the API.
type object map[string]any

func (o object) str(key string) string {
	v, _ := o[key].(string)
	return v
}

type page struct {
	Items []object `json:"items"`
}

// business creates one with a phone (a new one where none is given) and a mailbox, and returns its id.
func (s *stack) business(phone string) (id, number, email string) {
	s.Helper()
	if phone == "" {
		phone = s.phone()
	}
	email = fmt.Sprintf("contact%d@example.test", s.numbers.Add(1))
	var b object
	s.call("POST", "/crm/businesses", object{"name": "Panadería", "phone": phone, "email": email, "country": "US"}, &b, 201)
	return b.str("id"), phone, email
}

// phone makes up a number that no other contact of this test has.
func (s *stack) phone() string { return "+1202555" + fmt.Sprintf("%04d", 1000+s.numbers.Add(1)) }

func (s *stack) site(business, subscription string) string {
	s.Helper()
	body := object{"business_id": business, "url": "https://example.test"}
	if subscription != "" {
		body["subscription_id"] = subscription
	}
	var site object
	s.call("POST", "/crm/sites", body, &site, 201)
	return site.str("id")
}

// campaign creates one to these businesses and sends it.
func (s *stack) campaign(channel string, businesses ...string) string {
	s.Helper()
	body := object{"name": "Test", "channel": channel, "body": "Hello {{.Name}}", "audience": object{"business_ids": businesses}}
	if channel == "email" {
		body["subject"] = "Hello"
	}
	var c object
	s.call("POST", "/campaigns", body, &c, 201)
	s.call("POST", "/campaigns/"+c.str("id")+"/send", nil, nil, 202)
	return c.str("id")
}

// eventually waits for something to hold.
func (s *stack) eventually(what string, holds func() bool) {
	s.Helper()
	require.Eventually(s, holds, patience, 5*time.Millisecond, what)
}

// progresses waits until nothing is left, however long a slow machine takes, as long as it gets less or more. A step may
// wait for a job's second retry.
func (s *stack) progresses(what string, left func() (int, error)) {
	s.Helper()
	const within = 2 * time.Minute
	last, since := -1, time.Now()
	for {
		n, err := left()
		if err == nil && n == 0 {
			return
		}
		if err == nil && n != last {
			last, since = n, time.Now()
		}
		require.Less(s, time.Since(since), within, "%s: %d left, last error: %v", what, last, err)
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitStatus waits until a business has a status on an axis.
func (s *stack) awaitStatus(business, axis, status string) {
	s.Helper()
	var last string
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var b object
		s.call("GET", "/crm/businesses/"+business, nil, &b, 200)
		if last = b.str(axis); last == status {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	require.Equal(s, status, last, "%s of %s within %s", axis, business, patience)
}

// awaitMessage waits until the business's only message of a campaign is in a state, and returns it.
func (s *stack) awaitMessage(campaign, business, state string) object {
	s.Helper()
	var m object
	s.eventually("message "+state, func() bool {
		var p page
		s.call("GET", "/messages?campaign_id="+campaign+"&business_id="+business, nil, &p, 200)
		if len(p.Items) != 1 {
			return false
		}
		m = p.Items[0]
		return m.str("state") == state
	})
	return m
}

// awaitCampaign waits until a campaign has a status.
func (s *stack) awaitCampaign(id, status string) object {
	s.Helper()
	var c object
	s.eventually("campaign "+status, func() bool {
		s.call("GET", "/campaigns/"+id, nil, &c, 200)
		return c.str("status") == status
	})
	return c
}

// transitions lists a business's transitions that have this event, newest first.
func (s *stack) transitions(business, event string) []object {
	s.Helper()
	var p page
	s.call("GET", "/crm/businesses/"+business+"/timeline?limit=500", nil, &p, 200)
	var out []object
	for _, i := range p.Items {
		if i.str("kind") == "transition" && (event == "" || i.str("event") == event) {
			out = append(out, i)
		}
	}
	return out
}

// post posts a webhook as it stands, and returns the answer's code.
func (s *stack) post(path string, header http.Header, body []byte) int {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.public+path, bytes.NewReader(body))
	require.NoError(s, err)
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	require.NoError(s, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(s, res.Body.Close())
	return res.StatusCode
}

// request is a form's, signed as Twilio signs.
func (s *stack) request(path string, form url.Values) *http.Request {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.public+path, strings.NewReader(form.Encode()))
	require.NoError(s, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", providersim.SignTwilio(authToken, publicURL+path, form))
	return req
}

// twilio posts a form signed as Twilio signs.
func (s *stack) twilio(path string, form url.Values) int {
	s.Helper()
	return s.post(path, http.Header{
		"Content-Type":       {"application/x-www-form-urlencoded"},
		"X-Twilio-Signature": {providersim.SignTwilio(authToken, publicURL+path, form)},
	}, []byte(form.Encode()))
}

// recurrente posts a delivery signed as Svix signs.
func (s *stack) recurrente(id string, body any) int {
	s.Helper()
	b, err := json.Marshal(body)
	require.NoError(s, err)
	now := time.Now()
	sig, err := providersim.SignSvix(recurrenteSecret, id, now, b)
	require.NoError(s, err)
	return s.post("/webhooks/recurrente", http.Header{
		"Content-Type": {"application/json"}, "Svix-Id": {id}, "Svix-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Svix-Signature": {sig},
	}, b)
}

// reply posts an inbound message.
func (s *stack) reply(sid, phone, body string) int {
	s.Helper()
	return s.twilio("/webhooks/twilio/inbound", url.Values{
		"AccountSid": {account}, "MessageSid": {sid}, "From": {phone}, "To": {from}, "Body": {body}, "NumMedia": {"0"},
	})
}

// awaitApplied waits until no receipt is without an outcome.
func (s *stack) awaitApplied() {
	s.Helper()
	s.eventually("every receipt has an outcome", func() bool {
		var open int
		err := s.db.Pool.QueryRow(s.Context(), `
			SELECT count(*) FROM webhook_events e WHERE NOT EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = e.id)`).Scan(&open)
		return err == nil && open == 0
	})
}

// count runs a query of one number.
func (s *stack) count(sql string, args ...any) (n int) {
	s.Helper()
	require.NoError(s, s.db.Pool.QueryRow(s.Context(), sql, args...).Scan(&n))
	return n
}

func newSID(prefix string) string { return prefix + strings.ReplaceAll(uuid.NewString(), "-", "") }
