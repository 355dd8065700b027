package providersim

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// firstRetry is Twilio's pause before it tries a webhook again; it doubles. All
// attempts have to fit into the total time of the overrides.
const firstRetry = 200 * time.Millisecond

// live moves a message through its statuses in the background and posts them to
// its callback URL. The initial status gets no callback.
func (s *Sim) live(m *message, l life, n string) {
	r := s.draws("life", m.to, m.body, n)
	steps := []step{}
	if m.service != "" {
		steps = append(steps, step{status: "queued"})
	}
	if l.final != "failed" {
		steps = append(steps, step{status: "sent"})
	}
	if l.final != "sent" {
		steps = append(steps, step{status: l.final, code: l.code})
	}
	for i := range steps {
		steps[i].after = between(r, s.opts.CallbackDelay/2, s.opts.CallbackDelay*3/2)
		steps[i].lost = l.silent || chance(r, s.opts.Faults.LoseCallback)
		steps[i].twice = l.twice || chance(r, s.opts.Faults.DuplicateCallback)
	}
	s.spawn(func(ctx context.Context) {
		var held []func(context.Context)
		for _, st := range steps {
			if !sleep(ctx, st.after) {
				return
			}
			s.setStatus(m, st.status, st.code)
			if st.lost || m.callback == "" {
				continue
			}
			post := s.statusCallback(m, st)
			if l.backwards {
				held = append([]func(context.Context){post}, held...)
				continue
			}
			s.spawn(post) // a slow answer holds up no later status
		}
		for _, post := range held {
			post(ctx)
		}
	})
}

type step struct {
	status string
	code   int
	after  time.Duration
	lost   bool
	twice  bool
}

// statusCallback makes the request of one status now, to be posted later.
func (s *Sim) statusCallback(m *message, st step) func(context.Context) {
	signed, o := parseOverrides(m.callback)
	s.mu.Lock()
	form := url.Values{
		"AccountSid": {m.account}, "ApiVersion": {apiVersion}, "From": {m.from}, "To": {m.to},
		"MessageSid": {m.sid}, "SmsSid": {m.sid}, "MessageStatus": {st.status}, "SmsStatus": {st.status},
	}
	if m.service != "" {
		form.Set("MessagingServiceSid", m.service)
	}
	s.mu.Unlock()
	if st.code != 0 {
		form.Set("ErrorCode", strconv.Itoa(st.code))
	}
	if st.status == "delivered" || st.status == "undelivered" {
		form.Set("RawDlrDoneDate", s.opts.Now().UTC().Format("0601021504")) // minutes, no zone
	}
	hook := s.twilioWebhook("status", m.sid, st.status, signed, form)
	return func(ctx context.Context) {
		s.postTwilio(ctx, hook, o)
		if st.twice {
			s.postTwilio(ctx, hook, o)
		}
	}
}

// twilioWebhook signs a form. The idempotency token is the same on every
// attempt at one webhook.
func (s *Sim) twilioWebhook(kind, id, event, signed string, form url.Values) *webhook {
	headers := http.Header{}
	headers.Set("X-Twilio-Signature", SignTwilio(s.opts.AuthToken, signed, form))
	headers.Set("I-Twilio-Idempotency-Token", s.uuid("idempotency", id, event))
	return &webhook{
		kind: kind, id: id, event: event, url: signed,
		contentType: "application/x-www-form-urlencoded; charset=UTF-8", userAgent: "TwilioProxy/1.1",
		body: []byte(form.Encode()),
		sign: func(time.Time) (http.Header, error) { return headers.Clone(), nil },
	}
}

// postTwilio posts a webhook as often as its overrides allow, and returns the
// last attempt.
func (s *Sim) postTwilio(ctx context.Context, hook *webhook, o overrides) Delivery {
	ctx, cancel := context.WithTimeout(ctx, o.total)
	defer cancel()
	pause := firstRetry
	for number := 1; ; number++ {
		d, why := s.attempt(ctx, hook, number, o.connect, o.read)
		if why == failedNot || number > o.retries || !o.again(why) || !sleep(ctx, pause) {
			return d
		}
		pause *= 2
	}
}
