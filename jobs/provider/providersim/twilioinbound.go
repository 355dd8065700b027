package providersim

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"onward/jobs/segments"
)

// pair is a phone and the number of ours that it stopped.
type pair struct{ phone, sender string }

// Reply sends a text from a phone to one of Onward's numbers, and returns the
// attempt that Onward answered, or the last one with an error. What extra holds
// replaces keys of the form; a key of extra without values leaves it out (an MMS
// has no Body).
//
// As Twilio does, the simulator acts on the default keywords by itself before it
// tells Onward: after STOP and its like it refuses texts to the pair with 21610,
// until START.
func (s *Sim) Reply(ctx context.Context, from, to, body string, extra url.Values) (Delivery, error) {
	target, err := s.endpoint(pathInbound)
	if err != nil {
		return Delivery{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // Stop ends it, too

	sid := "SM" + s.id("inbound", from, s.ordinal("from "+from))
	s.actOnKeyword(from, to, body)
	s.addMessage(&message{
		sid: sid, account: s.opts.AccountSID, to: to, from: from, body: body,
		direction: "inbound", created: s.opts.Now(), sent: s.opts.Now(), status: "received",
	})
	count, _, _ := segments.Count(body)
	form := url.Values{
		"AccountSid": {s.opts.AccountSID}, "ApiVersion": {apiVersion}, "Body": {body},
		"From": {from}, "FromCity": {""}, "FromCountry": {country(from)}, "FromState": {""}, "FromZip": {""},
		"MessageSid": {sid}, "NumMedia": {"0"}, "NumSegments": {strconv.Itoa(max(count, 1))},
		"SmsMessageSid": {sid}, "SmsSid": {sid}, "SmsStatus": {"received"},
		"To": {to}, "ToCity": {""}, "ToCountry": {country(to)}, "ToState": {""}, "ToZip": {""},
	}
	maps.Copy(form, extra)
	maps.DeleteFunc(form, func(_ string, values []string) bool { return len(values) == 0 })

	signed, o := parseOverrides(target)
	d := s.postTwilio(ctx, s.twilioWebhook("inbound", sid, "received", signed, form), o)
	if !d.OK() {
		return d, fmt.Errorf("providersim: inbound message not taken: status %d %s", d.Status, d.Error)
	}
	return d, nil
}

// actOnKeyword keeps the opt-outs. YES lifts one only where it stands, which
// makes no difference here.
func (s *Sim) actOnKeyword(phone, sender, body string) {
	switch strings.ToUpper(strings.TrimSpace(body)) {
	case "STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT":
		s.change(func() { s.optOuts[pair{phone, sender}] = true })
	case "START", "YES", "UNSTOP":
		s.change(func() { delete(s.optOuts, pair{phone, sender}) })
	}
}

func (s *Sim) isOptedOut(phone, sender string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.optOuts[pair{phone, sender}]
}

// country is the ISO code of the countries that Onward's contacts live in.
func country(number string) string {
	switch {
	case strings.HasPrefix(number, "+1"):
		return "US"
	case strings.HasPrefix(number, "+502"):
		return "GT"
	}
	return ""
}
