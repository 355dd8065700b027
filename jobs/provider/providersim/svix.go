package providersim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Svix gives up on an attempt after 15 s, connecting included.
const (
	svixConnect = 5 * time.Second
	svixRead    = 10 * time.Second
)

// svixSchedule is when Svix tries again, after each failed attempt
// (https://docs.svix.com/retries).
func svixSchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
	}
}

// svix delivers an event in the background until Onward takes it or the schedule
// is through. It returns the svix-id, which stays the same on every attempt
// while the timestamp is renewed.
func (s *Sim) svix(kind, secret, path, event string, payload any) (string, error) {
	if secret == "" {
		return "", fmt.Errorf("providersim: no secret for %s", kind)
	}
	target, err := s.endpoint(path)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return "", errors.New("providersim: the event is no JSON")
	}
	id := "msg_" + s.id("svix", kind, event, s.ordinal("svix"))[:27]
	prefix := "Svix"
	if s.opts.StandardHeaders {
		prefix = "Webhook"
	}
	hook := &webhook{
		kind: kind, id: id, event: event, url: target,
		contentType: "application/json", userAgent: "Svix-Webhooks/1.0", body: body,
		sign: func(now time.Time) (http.Header, error) {
			signature, err := SignSvix(secret, id, now, body)
			if err != nil {
				return nil, err
			}
			h := http.Header{}
			h.Set(prefix+"-Id", id)
			h.Set(prefix+"-Timestamp", strconv.FormatInt(now.Unix(), 10))
			h.Set(prefix+"-Signature", signature)
			return h, nil
		},
	}
	s.spawn(func(ctx context.Context) {
		for number, wait := range append(svixSchedule(), 0) {
			if _, why := s.attempt(ctx, hook, number+1, svixConnect, svixRead); why == failedNot {
				return
			}
			if wait == 0 || !sleep(ctx, time.Duration(float64(wait)*s.opts.SvixScale)) {
				return
			}
		}
	})
	return id, nil
}
