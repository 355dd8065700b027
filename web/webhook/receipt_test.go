package webhook_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/inbox"
)

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func hold(channel, address string) *inbox.Hold {
	return &inbox.Hold{Channel: channel, Address: address}
}

// What is not spelled out in want is the same for all: see below.
func TestRoutes_receipts(t *testing.T) {
	t.Parallel()

	status := func(body string) func(testing.TB) *http.Request {
		return func(t testing.TB) *http.Request { return twilio(t, statusPath+"?m=1&a=2", body) }
	}
	inbound := func(body string) func(testing.TB) *http.Request {
		return func(t testing.TB) *http.Request { return twilio(t, inboundPath, body) }
	}
	recurrente := func(body string) func(testing.TB) *http.Request {
		return func(testing.TB) *http.Request { return svix(recurrentePath, rcSecret, "msg_1", now, body) }
	}
	resend := func(body string) func(testing.TB) *http.Request {
		return func(testing.TB) *http.Request { return svix(resendPath, rsSecret, "msg_1", now, body) }
	}

	for name, test := range map[string]struct {
		request func(testing.TB) *http.Request
		want    inbox.Receipt
	}{
		"status": {
			status("MessageSid=SM1&SmsSid=SM9&MessageStatus=sent&SmsStatus=x&To=%2B15550000001"),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:SM1:sent", ContactKey: "sms:+15550000001"},
		},
		"status by its older names": {
			status("SmsSid=SM1&SmsStatus=failed"),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:SM1:failed"},
		},
		"unknown status": {
			status("MessageSid=SM1&MessageStatus=huh"),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:SM1:huh"},
		},
		"status without sid": {
			status("MessageStatus=sent"),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:" + hashOf("MessageStatus=sent")},
		},
		"no status": {
			status("MessageSid=SM1"),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:" + hashOf("MessageSid=SM1")},
		},
		"empty form": {
			status(""),
			inbox.Receipt{Kind: "message_status", DedupeKey: "ts:" + hashOf("")},
		},
		"status as JSON": {
			func(testing.TB) *http.Request { return twilioJSON(statusPath, `{"MessageSid":"SM1"}`) },
			inbox.Receipt{Kind: "message_status.json", DedupeKey: "ts:" + hashOf(`{"MessageSid":"SM1"}`)},
		},
		"reply": {
			inbound("MessageSid=SM2&From=%2B15550000001&Body=hi"),
			inbox.Receipt{Kind: "inbound_message", DedupeKey: "ti:SM2", ContactKey: "sms:+15550000001", Hold: hold("sms", "+15550000001")},
		},
		"reply over WhatsApp": {
			inbound("MessageSid=SM2&From=whatsapp%3A+%2B15550000001+&Body=hi"),
			inbox.Receipt{Kind: "inbound_message", DedupeKey: "ti:SM2", ContactKey: "sms:+15550000001", Hold: hold("sms", "+15550000001")},
		},
		"reply from a short code": {
			inbound("SmsMessageSid=SM2&From=12345"),
			inbox.Receipt{Kind: "inbound_message", DedupeKey: "ti:SM2"},
		},
		"reply from a name": {
			inbound("SmsSid=SM2&From=messenger%3A%2B1abc"),
			inbox.Receipt{Kind: "inbound_message", DedupeKey: "ti:SM2"},
		},
		"reply without sid": {
			inbound("From=%2B15550000001"),
			inbox.Receipt{Kind: "inbound_message", DedupeKey: "ti:" + hashOf("From=%2B15550000001"), ContactKey: "sms:+15550000001", Hold: hold("sms", "+15550000001")},
		},
		"reply as JSON": {
			func(testing.TB) *http.Request { return twilioJSON(inboundPath, `{}`) },
			inbox.Receipt{Kind: "inbound_message.json", DedupeKey: "ti:" + hashOf(`{}`)},
		},
		"subscription": {
			recurrente(`{"event_type":"subscription.cancel","id":"su_1","customer_email":"Owner@Example.com"}`),
			inbox.Receipt{Kind: "subscription.cancel", DedupeKey: "rc:msg_1", ContactKey: "email:owner@example.com"},
		},
		"charge": {
			recurrente(`{"type":"payment","event_type":"intent.succeeded","customer":{"email":"owner@example.com"}}`),
			inbox.Receipt{Kind: "intent.succeeded", DedupeKey: "rc:msg_1", ContactKey: "email:owner@example.com"},
		},
		"event in data": {
			recurrente(`{"data":{"event_type":"refund.create","customer_email":"..."},"type":"x"}`),
			inbox.Receipt{Kind: "refund.create", DedupeKey: "rc:msg_1"},
		},
		"event by its type": {
			recurrente(`{"type":"dispute.create","event_type":7,"data":[]}`),
			inbox.Receipt{Kind: "dispute.create", DedupeKey: "rc:msg_1"},
		},
		"event without a name": {
			recurrente(`{}`),
			inbox.Receipt{Kind: "unknown", DedupeKey: "rc:msg_1"},
		},
		"names are exact": {
			recurrente(`{"Event_Type":"subscription.cancel"}`),
			inbox.Receipt{Kind: "unknown", DedupeKey: "rc:msg_1"},
		},
		"delivery": {
			resend(`{"type":"email.delivered","data":{"to":["Someone@Example.com","other@example.com"]}}`),
			inbox.Receipt{Kind: "email.delivered", DedupeKey: "rs:msg_1", ContactKey: "email:someone@example.com"},
		},
		"complaint": {
			resend(`{"type":"email.complained","data":{"to":["Someone@Example.com"]}}`),
			inbox.Receipt{Kind: "email.complained", DedupeKey: "rs:msg_1", ContactKey: "email:someone@example.com", Hold: hold("email", "someone@example.com")},
		},
		"complaint with a name": {
			resend(`{"type":"email.complained","data":{"to":"Some One <Someone@Example.com>"}}`),
			inbox.Receipt{Kind: "email.complained", DedupeKey: "rs:msg_1", ContactKey: "email:someone@example.com", Hold: hold("email", "someone@example.com")},
		},
		"complaint of nobody": {
			resend(`{"type":"email.complained","data":{"to":[]}}`),
			inbox.Receipt{Kind: "email.complained", DedupeKey: "rs:msg_1"},
		},
		"complaint of no address": {
			resend(`{"type":"email.complained","data":{"to":[{"a":"b"}]}}`),
			inbox.Receipt{Kind: "email.complained", DedupeKey: "rs:msg_1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			r := test.request(t)
			r.Header.Set("Cookie", "session=1")
			r.Header.Set("Authorization", "Basic x")
			r.Header.Set("I-Twilio-Idempotency-Token", "token-1")

			require.Less(t, do(b, r).Code, 300)
			require.Len(t, b.inbox.receipts, 1)
			got := b.inbox.receipts[0]
			require.Equal(t, test.want.Kind, got.Kind)
			require.Equal(t, test.want.DedupeKey, got.DedupeKey)
			require.Equal(t, test.want.ContactKey, got.ContactKey)
			require.Equal(t, test.want.Hold, got.Hold)
			require.Contains(t, []string{jobs.ProviderTwilio, jobs.ProviderRecurrente, jobs.ProviderResend}, got.Provider)
			require.Equal(t, r.URL.RawQuery, got.Query)
			require.Equal(t, now, got.ReceivedAt)

			headers := map[string][]string{}
			for _, h := range got.Headers {
				require.NotContains(t, headers, h.Name, "each name once")
				headers[h.Name] = h.Values
			}
			require.Equal(t, []string{"token-1"}, headers["I-Twilio-Idempotency-Token"])
			require.Contains(t, headers, "Content-Type")
			require.NotContains(t, headers, "Cookie")
			require.NotContains(t, headers, "Authorization")
			if got.Provider == jobs.ProviderTwilio {
				require.Contains(t, headers, "X-Twilio-Signature")
			} else {
				require.Contains(t, headers, "Svix-Signature")
			}
		})
	}
}
