package providersim

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// overrides are what a webhook URL's fragment may ask of Twilio, with Twilio's
// defaults: one more attempt, and that only when it could not connect.
//
// https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
type overrides struct {
	connect, read, total time.Duration
	retries              int
	policy               []string
}

// parseOverrides splits a configured URL into what is signed and requested, and
// how. What is malformed or out of bounds keeps its default.
func parseOverrides(raw string) (signed string, o overrides) {
	signed, fragment, _ := strings.Cut(raw, "#")
	o = overrides{connect: 5 * time.Second, read: 15 * time.Second, total: 15 * time.Second, retries: 1, policy: []string{"ct"}}
	values, err := url.ParseQuery(fragment)
	if err != nil {
		return signed, o
	}
	milliseconds := func(key string, most int, target *time.Duration) {
		if n, err := strconv.Atoi(values.Get(key)); err == nil && n >= 100 && n <= most {
			*target = time.Duration(n) * time.Millisecond
		}
	}
	milliseconds("ct", 10_000, &o.connect)
	milliseconds("rt", 15_000, &o.read)
	milliseconds("tt", 15_000, &o.total)
	if n, err := strconv.Atoi(values.Get("rc")); err == nil && n >= 0 && n <= 5 {
		o.retries = n
	}
	if policy := values.Get("rp"); policy != "" {
		o.policy = strings.Split(policy, ",")
	}
	return signed, o
}

// again says whether a failure is one that the policy retries.
func (o overrides) again(why failure) bool {
	for _, p := range o.policy {
		if p == "all" || p == string(why) {
			return true
		}
	}
	return false
}
