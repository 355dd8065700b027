package webhook

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"onward/jobs"
	"onward/web/inbox"
	"onward/web/plainhttp"
)

// emptyTwiML tells Twilio to answer the sender nothing: Twilio itself answers STOP, START and HELP.
const emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?><Response/>`

// The suffix of the kind of a request that is well signed but no form. Nothing applies it; it is stored to be looked at.
const jsonSuffix = ".json"

// twilioStatus receives delivery reports of messages.
func (h *Webhooks) twilioStatus() endpoint {
	return endpoint{
		provider: jobs.ProviderTwilio,
		unsigned: http.StatusForbidden,
		read: func(r *plainhttp.Request) (inbox.Receipt, int, error) {
			form, token, err := h.readTwilio(r)
			if err != nil {
				return inbox.Receipt{}, token, err
			}
			if form == nil {
				return inbox.Receipt{Kind: jobs.KindMessageStatus + jsonSuffix, DedupeKey: "ts:" + hashOf(r.Body)}, token, nil
			}

			// A message passes each status once, so the pair names the report: repeats carry nothing new. Either field of each
			// pair may be missing.
			sid := cmp.Or(form.Get("MessageSid"), form.Get("SmsSid"))
			status := cmp.Or(form.Get("MessageStatus"), form.Get("SmsStatus"))
			receipt := inbox.Receipt{Kind: jobs.KindMessageStatus, DedupeKey: "ts:" + sid + ":" + status}
			if sid == "" || status == "" {
				receipt.DedupeKey = "ts:" + hashOf(r.Body)
			}
			if to, ok := phoneAddress(form.Get("To")); ok {
				receipt.ContactKey = jobs.ChannelSMS + ":" + to
			}
			return receipt, token, nil
		},
		accepted: plainhttp.Answer{Status: http.StatusNoContent},
	}
}

// twilioInbound receives what people text us. Any of it may be an opt-out, so it holds the sender's address.
func (h *Webhooks) twilioInbound() endpoint {
	return endpoint{
		provider: jobs.ProviderTwilio,
		unsigned: http.StatusForbidden,
		read: func(r *plainhttp.Request) (inbox.Receipt, int, error) {
			form, token, err := h.readTwilio(r)
			if err != nil {
				return inbox.Receipt{}, token, err
			}
			if form == nil {
				return inbox.Receipt{Kind: jobs.KindInboundMessage + jsonSuffix, DedupeKey: "ti:" + hashOf(r.Body)}, token, nil
			}

			sid := cmp.Or(form.Get("MessageSid"), form.Get("SmsMessageSid"), form.Get("SmsSid"), hashOf(r.Body))
			receipt := inbox.Receipt{Kind: jobs.KindInboundMessage, DedupeKey: "ti:" + sid}
			if from, ok := phoneAddress(form.Get("From")); ok {
				receipt.Hold = &inbox.Hold{Channel: jobs.ChannelSMS, Address: from}
				receipt.ContactKey = jobs.ChannelSMS + ":" + from
			}
			return receipt, token, nil
		},
		accepted: plainhttp.Answer{
			Status: http.StatusOK, Header: []plainhttp.Field{{Name: "Content-Type", Value: "text/xml"}}, Body: emptyTwiML,
		},
	}
}

// readTwilio verifies a request and returns its parameters; nil for a JSON body, which is signed in a way of its own. The
// signature covers the decoded parameters, so a form must be parsed first; a request without a signature is not.
func (h *Webhooks) readTwilio(r *plainhttp.Request) (Form, int, error) {
	signature := r.Header.Get("X-Twilio-Signature")
	if signature == "" {
		return nil, -1, fmt.Errorf("%w: none given", ErrBadSignature)
	}

	const aForm = "application/x-www-form-urlencoded"
	mediaType := r.Header.Get("Content-Type")
	if strings.EqualFold(mediaType, aForm+"; charset=utf-8") { // which it is nearly always
		mediaType = aForm
	} else {
		var err error
		if mediaType, _, err = mime.ParseMediaType(mediaType); err != nil {
			return nil, -1, fmt.Errorf("%w: Content-Type", errMalformed)
		}
	}
	switch mediaType {
	case "application/json":
		token, err := h.twilio.VerifyBody(r.Target, r.Body, signature)
		return nil, token, err
	case aForm:
		form, err := ParseForm(r.Body)
		if err != nil {
			return nil, -1, err
		}
		token, err := h.twilio.VerifyForm(r.Target, form, signature)
		return form, token, err
	default:
		return nil, -1, fmt.Errorf("%w: neither a form nor JSON", errMalformed)
	}
}

// phoneAddress takes a channel's prefix (whatsapp:+1…) off a number. It is not ok for what is no number: a short code or a
// sender's name receives no campaign, and hides no person.
func phoneAddress(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if at := strings.LastIndexByte(s, ':'); at >= 0 {
		s = strings.TrimSpace(s[at+1:])
	}
	digits, ok := strings.CutPrefix(s, "+")
	// E.164 numbers have at most 15 digits; none in use has fewer than 7.
	if !ok || len(digits) < 7 || len(digits) > 15 {
		return "", false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return s, true
}
