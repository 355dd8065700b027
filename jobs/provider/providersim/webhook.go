package providersim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// webhook is one request that a provider owes Onward.
type webhook struct {
	kind, id, event string
	url             string // as signed, without fragment
	contentType     string
	userAgent       string
	body            []byte
	// sign returns the headers of one attempt, since Svix renews its timestamp.
	sign func(now time.Time) (http.Header, error)
}

// failure says why an attempt failed, in the words of Twilio's retry policies.
type failure string

const (
	failedNot     failure = ""
	failedConnect failure = "ct"
	failedRead    failure = "rt"
	failed4xx     failure = "4xx"
	failed5xx     failure = "5xx"
	failedOther   failure = "other"
)

type connectTimeoutKey struct{}

// newWebhookClient bounds its connections as a provider's fleet would; what
// comes on top waits. It follows no redirect.
func newWebhookClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				timeout, _ := ctx.Value(connectTimeoutKey{}).(time.Duration)
				return (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, addr)
			},
			MaxConnsPerHost:     256,
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     time.Minute,
		},
	}
}

// attempt posts a webhook once and records it.
func (s *Sim) attempt(ctx context.Context, hook *webhook, number int, connect, read time.Duration) (Delivery, failure) {
	d := Delivery{Kind: hook.kind, ID: hook.id, Event: hook.event, Attempt: number, Sent: s.opts.Now()}
	why, err := s.post(ctx, hook, &d, connect, read)
	if err != nil {
		d.Error = err.Error()
	}
	if why != failedNot && ctx.Err() == nil {
		s.log.Warn("webhook not taken", slog.String("kind", hook.kind), slog.String("event", hook.event),
			slog.Int("attempt", number), slog.Int("status", d.Status), slog.String("why", string(why)))
	}
	s.change(func() { s.deliveries = keep(s, s.deliveries, &d) })
	return d, why
}

// post makes the request and fills in what d tells of the answer.
func (s *Sim) post(ctx context.Context, hook *webhook, d *Delivery, connect, read time.Duration) (failure, error) {
	headers, err := hook.sign(d.Sent)
	if err != nil {
		return failedOther, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, connectTimeoutKey{}, connect), connect+read)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.deliveryURL(hook.url), bytes.NewReader(hook.body))
	if err != nil {
		return failedOther, errors.New("malformed URL")
	}
	req.Header = headers
	req.Header.Set("Content-Type", hook.contentType)
	req.Header.Set("User-Agent", hook.userAgent)
	req.Header.Set("Accept", "*/*")
	resp, err := s.client.Do(req)
	if err != nil {
		// The text of the error would repeat the URL.
		if connected.Load() {
			return failedRead, errors.New("no answer")
		}
		return failedConnect, errors.New("no connection")
	}
	d.Answered, d.Status = s.opts.Now(), resp.StatusCode
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch resp.StatusCode / 100 {
	case 2:
		return failedNot, nil
	case 4:
		return failed4xx, nil
	case 5:
		return failed5xx, nil
	default:
		return failedOther, nil
	}
}

// deliveryURL is where a request for a signed URL is really sent.
func (s *Sim) deliveryURL(signed string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deliverTo == "" || s.publicURL == "" || !strings.HasPrefix(signed, s.publicURL+"/") {
		return signed
	}
	return s.deliverTo + strings.TrimPrefix(signed, s.publicURL)
}
