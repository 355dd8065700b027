package bench

import (
	"crypto/hmac"
	"crypto/md5"  // makes ids of messages, which look like Twilio's and are not secret
	"crypto/sha1" // Twilio's choice; as an HMAC it is not broken
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/url"
	"strconv"
	"strings"
)

// What Twilio and Onward know of each other here.
const (
	twilioAccount = "AC00000000000000000000000000000001"
	twilioToken   = "0123456789abcdef0123456789abcdef"
	twilioFrom    = "+15005550006"
	// publicURL is what is signed; where the web process really listens, only the load generator knows.
	publicURL    = "http://hooks.example.test"
	callbackPath = "/webhooks/twilio/status"
)

// receiptHeaders are the stored headers of a callback, of the usual length.
const receiptHeaders = `{"Content-Type":["application/x-www-form-urlencoded"],"I-Twilio-Idempotency-Token":["3c0a4a1e-0d52-4dc5-a4d5-5e5bf5a7b0e5"],` +
	`"User-Agent":["TwilioProxy/1.1"],"X-Twilio-Signature":["RSOYDt4T1cUTdK1PDd93/VVr8B8="]}`

// parameter is one of a callback's, in the order of their names, which is that of signing.
type parameter struct{ name, value string }

// {sid} and {to} are the message's.
func callbackParameters() []parameter {
	return []parameter{
		{"AccountSid", twilioAccount},
		{"ApiVersion", "2010-04-01"},
		{"From", twilioFrom},
		{"MessageSid", "{sid}"},
		{"MessageStatus", "delivered"},
		{"MessagingServiceSid", "MG0123456789abcdef0123456789abcdef"},
		{"RawDlrDoneDate", "2611231153"},
		{"SmsSid", "{sid}"},
		{"SmsStatus", "delivered"},
		{"To", "{to}"},
	}
}

// callbackForm is the body, {sid} and {to} left open.
func callbackForm() string {
	var list []string
	for _, p := range callbackParameters() {
		value := p.value
		if !strings.HasPrefix(value, "{") {
			value = url.QueryEscape(value)
		}
		list = append(list, p.name+"="+value)
	}
	return strings.Join(list, "&")
}

// sidOf is the provider's id of the n-th message.
func sidOf(n int64) string {
	sum := md5.Sum(strconv.AppendInt(nil, n, 10))
	return "SM" + hex.EncodeToString(sum[:])
}

// callbacks makes the raw requests of delivered callbacks. It is not safe for concurrent use.
type callbacks struct {
	base   int64 // of the dataset's ids
	host   string
	mac    hash.Hash
	params []parameter
	form   []string // the body, cut where it differs from callback to callback
	sum    []byte
	body   []byte
}

func newCallbacks(base int64, host string) *callbacks {
	return &callbacks{base: base, host: host, mac: hmac.New(sha1.New, []byte(twilioToken)), params: callbackParameters(), form: pieces(callbackForm())}
}

// pieces cuts a text before and behind each {…}.
func pieces(text string) (list []string) {
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		list = append(list, before)
		if !found {
			break
		}
		name, behind, _ := strings.Cut(rest, "}")
		list, text = append(list, "{"+name+"}"), behind
	}
	return list
}

// signature has the length of every HMAC-SHA1 in base64.
type signature [28]byte

// sign signs the n-th callback by Twilio's rule: URL and parameters, those in the order of their names.
func (c *callbacks) sign(n int64) (s signature) {
	c.mac.Reset()
	sid, to := sidOf(n), phoneOf(n)
	write := func(parts ...string) {
		for _, p := range parts {
			c.mac.Write([]byte(p))
		}
	}
	write(publicURL, c.target(n))
	for _, p := range c.params {
		value := p.value
		switch value {
		case "{sid}":
			value = sid
		case "{to}":
			value = to
		}
		write(p.name, value)
	}
	c.sum = c.mac.Sum(c.sum[:0])
	base64.StdEncoding.Encode(s[:], c.sum)
	return s
}

func (c *callbacks) target(n int64) string {
	return callbackPath + "?m=" + madeID(c.base, idMessage, n).String() + "&a=1"
}

// appendBody appends the n-th callback's form.
func (c *callbacks) appendBody(to []byte, n int64) []byte {
	sid := sidOf(n)
	for _, p := range c.form {
		switch p {
		case "{sid}":
			to = append(to, sid...)
		case "{to}":
			to = append(to, "%2B"...)
			to = append(to, phoneOf(n)[1:]...)
		default:
			to = append(to, p...)
		}
	}
	return to
}

// appendRequest appends the n-th callback as it goes over the wire.
func (c *callbacks) appendRequest(to []byte, n int64, s signature) []byte {
	c.body = c.appendBody(c.body[:0], n)
	to = append(to, "POST "...)
	to = append(to, c.target(n)...)
	to = append(to, " HTTP/1.1\r\nHost: "...)
	to = append(to, c.host...)
	to = append(to, "\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"+
		"I-Twilio-Idempotency-Token: 3c0a4a1e-0d52-4dc5-a4d5-5e5bf5a7b0e5\r\nX-Twilio-Signature: "...)
	to = append(to, s[:]...)
	to = append(to, "\r\nContent-Length: "...)
	to = strconv.AppendInt(to, int64(len(c.body)), 10)
	to = append(to, "\r\n\r\n"...)
	return append(to, c.body...)
}
