package providersim

import (
	"fmt"
	"strconv"
	"time"

	"onward/jobs/segments"
)

const apiVersion = "2010-04-01"

// pricePerSegment is about what an outgoing text to the US costs, in USD.
const pricePerSegment = 0.0079

// message is one of Twilio's Message resources. Its fields past the first block
// change under Sim.mu.
type message struct {
	sid, account, to, from, body string
	service, callback, direction string
	created                      time.Time
	segments                     int

	status    string
	errorCode int
	sent      time.Time
	updated   time.Time
}

// Message is a text that Twilio holds, either way.
type Message struct {
	SID       string    `json:"sid"`
	To        string    `json:"to"`
	From      string    `json:"from"`
	Body      string    `json:"body"`
	Direction string    `json:"direction"` // outbound-api, inbound
	Status    string    `json:"status"`
	ErrorCode int       `json:"error_code,omitempty"`
	Created   time.Time `json:"created"`
}

// Messages returns what Twilio holds, oldest first: every text that is on its
// way, whether or not the caller ever heard of it, and every inbound one.
func (s *Sim) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Message, len(s.order))
	for i, m := range s.order {
		out[i] = Message{
			SID: m.sid, To: m.to, From: m.from, Body: m.body, Direction: m.direction,
			Status: m.status, ErrorCode: m.errorCode, Created: m.created,
		}
	}
	return out
}

// addMessage stores a message.
func (s *Sim) addMessage(m *message) {
	m.segments, _, _ = segments.Count(m.body)
	m.updated = m.created
	s.change(func() {
		if len(s.order) >= s.opts.Keep {
			delete(s.messages, s.order[0].sid)
			s.order[0] = nil
			s.order = s.order[1:]
		}
		s.order = append(s.order, m)
		s.messages[m.sid] = m
	})
}

// setStatus moves a message on.
func (s *Sim) setStatus(m *message, status string, code int) {
	now := s.opts.Now()
	s.change(func() {
		m.status, m.errorCode, m.updated = status, code, now
		if status == "sent" || status == "failed" {
			m.sent = now
		}
		if m.from == "" {
			m.from = s.opts.ServiceFrom
		}
	})
}

// json is the resource as the API shows it; call it under Sim.mu.
func (m *message) json() map[string]any {
	uri := fmt.Sprintf("/%s/Accounts/%s/Messages/%s", apiVersion, m.account, m.sid)
	out := map[string]any{
		"account_sid":           m.account,
		"api_version":           apiVersion,
		"body":                  m.body,
		"date_created":          rfc2822(m.created),
		"date_sent":             rfc2822(m.sent),
		"date_updated":          rfc2822(m.updated),
		"direction":             m.direction,
		"error_code":            nil,
		"error_message":         nil,
		"from":                  nullable(m.from),
		"messaging_service_sid": nullable(m.service),
		"num_media":             "0",
		"num_segments":          strconv.Itoa(m.segments),
		"price":                 nil,
		"price_unit":            nil,
		"sid":                   m.sid,
		"status":                m.status,
		"subresource_uris":      map[string]any{"media": uri + "/Media.json"},
		"to":                    m.to,
		"uri":                   uri + ".json",
	}
	if m.service != "" && m.from == "" {
		out["num_segments"] = "0" // no sender was chosen yet
	}
	if m.errorCode != 0 {
		out["error_code"], out["error_message"] = m.errorCode, errorText(m.errorCode)
	}
	if !m.sent.IsZero() {
		out["price"], out["price_unit"] = fmt.Sprintf("-%.5f", pricePerSegment*float64(m.segments)), "USD"
	}
	return out
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// rfc2822 is how the API writes times, in whole seconds.
func rfc2822(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC1123Z)
}

// errorText is about what Twilio says to its more common codes.
func errorText(code int) string {
	switch code {
	case 20001:
		return "Invalid parameter"
	case 20003:
		return "Authenticate"
	case 20404:
		return "The requested resource was not found"
	case 20429:
		return "Too Many Requests"
	case 21211:
		return "Invalid 'To' Phone Number"
	case 21212:
		return "Invalid 'From' Phone Number"
	case 21408:
		return "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"
	case 21602:
		return "Message body is required"
	case 21603:
		return "A 'From' phone number is required"
	case 21604:
		return "A 'To' phone number is required"
	case 21606:
		return "The 'From' phone number provided is not a valid message-capable Twilio phone number"
	case 21609:
		return "The 'StatusCallback' URL is not a valid URL"
	case 21610:
		return "Attempt to send to unsubscribed recipient"
	case 21611:
		return "This 'From' number has exceeded the maximum number of queued messages"
	case 21612:
		return "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"
	case 21614:
		return "'To' number is not a valid mobile number"
	case 21617:
		return "The concatenated message body exceeds the 1600 character limit"
	case 30001:
		return "Queue overflow"
	case 30003:
		return "Unreachable destination handset"
	case 30005:
		return "Unknown destination handset"
	case 30006:
		return "Landline or unreachable carrier"
	case 30007:
		return "Carrier violation"
	case 30008:
		return "Unknown error"
	}
	return "Error"
}
