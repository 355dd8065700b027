package webhook_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/inbox"
	"onward/web/plainhttp"
	"onward/web/webhook"
)

// acceptAll is an inbox that stores nothing.
type acceptAll struct{}

func (acceptAll) Accept(context.Context, inbox.Receipt) (uuid.UUID, inbox.Result, error) {
	return uuid.UUID{}, inbox.Accepted, nil
}

// BenchmarkPlain measures what an endpoint does with a status callback before the inbox has it, and after.
func BenchmarkPlain(b *testing.B) {
	const body = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01&From=%2B15005550006&MessageSid=SMb6a3&" +
		"MessageStatus=delivered&MessagingServiceSid=MG0123456789abcdef0123456789abcdef&RawDlrDoneDate=2611231153&" +
		"SmsSid=SMb6a3&SmsStatus=delivered&To=%2B12000000001"
	const target = statusPath + "?m=0197c5a1-0d52-7dc5-a4d5-5e5bf5a7b0e5&a=1"
	signed := twilio(b, target, body)
	opts := options(acceptAll{})
	h, err := webhook.New(opts)
	require.NoError(b, err)
	route := h.Plain()[statusPath]
	r := &plainhttp.Request{
		Method: "POST", Target: target, Path: statusPath, Query: signed.URL.RawQuery, Body: []byte(body),
		Header: plainhttp.Header{
			{Name: "User-Agent", Value: "TwilioProxy/1.1"},
			{Name: "Accept", Value: "*/*"},
			{Name: "Content-Type", Value: form + "; charset=UTF-8"},
			{Name: "X-Twilio-Signature", Value: signed.Header.Get("X-Twilio-Signature")},
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		if a := route(b.Context(), r); a.Status != 204 {
			b.Fatal(a.Status)
		}
	}
}
