package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"onward/jobs/provider"
)

// maxRetryAfter caps what an answer can ask of us, so that one odd header does
// not park a message for a day.
const maxRetryAfter = time.Hour

// sendError turns a finished create call that did not end in an accepted
// message into the one error that the worker understands.
//
// The rule is that of the package provider: only what was certainly not
// processed may be sent again. Refused for certain, and safe to act on, are the
// answers that Twilio itself gave (4xx with its JSON). Everything that could
// stand for a message that went out is ClassUnknown: any 5xx whatever its body,
// a redirect, 408, a 4xx that a proxy made, a 2xx that can't be read.
func (x *call) sendError() *provider.SendError {
	switch {
	case x.status == 0 && !x.mayBeSent:
		return &provider.SendError{Class: provider.ClassRetryLater, Code: networkCode(x.err, "connect"), Err: fmt.Errorf("twilio: not sent: %w", unquoted(x.err))}
	case x.status < 400 && x.err != nil:
		return &provider.SendError{Class: provider.ClassUnknown, Code: networkCode(x.err, "broken"), Err: fmt.Errorf("twilio: sent, no answer: %w", unquoted(x.err))}
	}
	code := x.twilioCode()
	e := &provider.SendError{Code: code, RetryAfter: x.retryAfter, Err: fmt.Errorf("twilio: HTTP %d", x.status)}
	if code == "" {
		e.Code = fmt.Sprintf("http_%d", x.status)
	}
	class, listed := Classify(code)
	switch {
	case x.status == http.StatusTooManyRequests:
		e.Class = provider.ClassRetryLater
	case x.status < 400 || x.status >= 500 || x.status == http.StatusRequestTimeout:
		e.Class = provider.ClassUnknown
	case listed:
		e.Class = class
	case x.status == http.StatusUnauthorized, x.status == http.StatusForbidden, x.status == http.StatusNotFound:
		// 404 is the account in the path, or a base URL that isn't Twilio's:
		// every message would meet it.
		e.Class = provider.ClassSenderBroken
	case code != "":
		// A code that we don't know, but Twilio's refusal all the same: this
		// message fails, with the code for the operator.
		e.Class = provider.ClassContentRefused
	default:
		e.Class = provider.ClassUnknown
	}
	return e
}

// unreadable is a 2xx from which no message could be read.
func (x *call) unreadable(code, why string) *provider.SendError {
	return &provider.SendError{Class: provider.ClassUnknown, Code: code, Err: fmt.Errorf("twilio: HTTP %d %s", x.status, why)}
}

// readError is sendError for calls that only read: they may always be repeated,
// so nothing but a message that isn't there stays unknown.
func (x *call) readError() *provider.SendError {
	if x.err == nil && x.status >= 200 && x.status <= 299 {
		return &provider.SendError{Class: provider.ClassRetryLater, Code: "unreadable", Err: fmt.Errorf("twilio: HTTP %d with an unreadable body", x.status)}
	}
	e := x.sendError()
	if e.Class == provider.ClassUnknown {
		e.Class = provider.ClassRetryLater
	}
	return e
}

// twilioCode is the error code of Twilio's JSON, "" for any other body.
func (x *call) twilioCode() string {
	var body struct {
		Code int `json:"code"`
	}
	if json.Unmarshal(x.body, &body) != nil || body.Code <= 0 {
		return ""
	}
	return strconv.Itoa(body.Code)
}

// networkCode names a failure of the network in one word.
func networkCode(err error, otherwise string) string {
	switch {
	case errors.Is(err, errProviderTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return otherwise
	}
}

// unquoted keeps what a peer sent out of an error: net/http quotes a malformed
// status line or header, and that could hold anything.
func unquoted(err error) error {
	if before, _, quoted := strings.Cut(err.Error(), `"`); quoted {
		return errors.New(strings.TrimSpace(before))
	}
	return err
}

// parseRetryAfter reads both forms of RFC 9110, 10.2.3: seconds, or a date.
func parseRetryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	var d time.Duration
	if secs, err := strconv.ParseInt(v, 10, 32); err == nil {
		d = time.Duration(secs) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
