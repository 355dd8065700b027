package providersim_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
	"onward/jobs/provider/twilio"
)

// checked is a transport that holds what passes through it against Twilio's own
// description: our requests, and the simulator's answers.
type checked struct {
	doc     *openapi3.T
	next    *http.Transport
	checked int
	t       *testing.T
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("testdata/twilio_messages.openapi.json")
	require.NoError(t, err)
	doc.Servers = nil // any host will do
	for _, item := range doc.Paths.Map() {
		item.Servers = nil
	}
	require.NoError(t, doc.Validate(t.Context()))
	c := &checked{doc: doc, next: &http.Transport{}, t: t}
	t.Cleanup(c.next.CloseIdleConnections)
	return c
}

// route finds the operation of a request. kin-openapi's own router does not match
// a variable with a suffix ({Sid}.json).
func (c *checked) route(r *http.Request) (*routers.Route, map[string]string) {
	list := "/2010-04-01/Accounts/{AccountSid}/Messages.json"
	one := "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json"
	path, params := list, map[string]string{}
	parts := strings.Split(strings.TrimSuffix(r.URL.Path, ".json"), "/")
	params["AccountSid"] = parts[3]
	if len(parts) == 6 {
		path, params["Sid"] = one, parts[5]
	}
	item := c.doc.Paths.Value(path)
	require.NotNil(c.t, item)
	operation := item.GetOperation(r.Method)
	require.NotNil(c.t, operation, r.Method)
	return &routers.Route{Spec: c.doc, Path: path, PathItem: item, Method: r.Method, Operation: operation}, params
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		var err error
		sent, err = io.ReadAll(r.Body)
		require.NoError(c.t, err)
	}
	forCheck := r.Clone(r.Context())
	r.Body, forCheck.Body = io.NopCloser(bytes.NewReader(sent)), io.NopCloser(bytes.NewReader(sent))
	route, params := c.route(forCheck)
	input := &openapi3filter.RequestValidationInput{
		Request: forCheck, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	require.NoError(c.t, openapi3filter.ValidateRequest(r.Context(), input))
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	require.NoError(c.t, resp.Body.Close())
	require.NoError(c.t, openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header, Options: input.Options,
		Body: io.NopCloser(bytes.NewReader(body)),
	}))
	c.checked++
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func TestRequestsAndAnswersAgreeWithTwiliosDescription(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	transport := newChecked(t)
	client, err := twilio.New(twilio.Options{
		AccountSID: accountSID, AuthToken: authToken, From: sender, BaseURL: b.sim.TwilioURL(),
		Transport: transport, Timeout: time.Minute,
	})
	require.NoError(t, err)

	accepted, err := client.Send(t.Context(), b.text(phone, "¡Hola! 🙂"))
	require.NoError(t, err)
	m := b.text(providersim.MagicUnreachable, "hello")
	m.MessagingServiceSID = "MG00000000000000000000000000000001"
	_, err = client.Send(t.Context(), m)
	require.NoError(t, err)
	_, err = b.sim.Reply(t.Context(), phone, sender, "hi", url.Values{})
	require.NoError(t, err)
	b.drain(t)
	_, err = client.Get(t.Context(), accepted.SID)
	require.NoError(t, err)
	for range 101 { // two pages
		_, err = client.Send(t.Context(), b.text(phone, "again"))
		require.NoError(t, err)
	}
	found, err := client.Find(t.Context(), phone, sender, time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Len(t, found, 102)
	require.Equal(t, 2+1+101+2, transport.checked)
}

func TestListDateFilter(t *testing.T) {
	t.Parallel()
	today := time.Date(2026, 3, 2, 23, 59, 59, 0, time.UTC)
	b := setup(t, providersim.Options{Now: func() time.Time { return today }}, nil)
	_, err := b.client.Send(t.Context(), b.text(phone, "sent"))
	require.NoError(t, err)
	b.drain(t)
	for query, want := range map[string]int{
		"":                          1,
		"DateSent=" + day(today, 0): 1, "DateSent=" + day(today, -1): 0,
		"DateSent%3E=" + day(today, 0): 1, "DateSent%3E=" + day(today, 2): 0,
		"DateSent%3C=" + day(today, 0): 1, "DateSent%3C=" + day(today, -1): 0,
		"To=" + url.QueryEscape(phone): 1, "To=x": 0, "From=x": 0,
	} {
		resp := b.api(t, http.MethodGet, "/Messages.json?"+query, nil)
		require.Equal(t, http.StatusOK, resp.Code, query)
		require.Equal(t, want, bytes.Count(resp.Body.Bytes(), []byte(`"sid"`)), query)
	}
	for _, bad := range []string{"PageSize=0", "PageSize=x", "Page=-1", "DateSent=yesterday"} {
		require.Equal(t, http.StatusBadRequest, b.api(t, http.MethodGet, "/Messages.json?"+bad, nil).Code, bad)
	}
}

func day(at time.Time, days int) string { return at.AddDate(0, 0, days).Format(time.DateOnly) }
