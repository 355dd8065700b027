package smtp

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// Ports that an URL without one stands for (RFC 6409, RFC 8314).
const (
	submissionPort  = 587
	submissionsPort = 465
)

// ParseURL reads SMTP_URL:
//
//	smtp://user:pass@host:587     STARTTLS, which the server must offer
//	smtps://user:pass@host:465    TLS from the first byte
//	smtp://127.0.0.1:2525?tls=none  no TLS, for a local sink
//
// The port may be left out. User and password are percent-encoded. No error
// repeats the URL, because it holds a password. From, TLSConfig and the rest of
// the options are for the caller to add.
func ParseURL(raw string) (Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Options{}, errors.New("smtp: malformed URL")
	}
	o := Options{Host: u.Hostname()}
	switch u.Scheme {
	case "smtp":
		o.TLS, o.Port = TLSStartTLS, submissionPort
	case "smtps":
		o.TLS, o.Port = TLSImplicit, submissionsPort
	default:
		return Options{}, errors.New("smtp: the URL must start with smtp:// or smtps://")
	}
	if o.Host == "" {
		return Options{}, errors.New("smtp: the URL names no host")
	}
	if (u.Path != "" && u.Path != "/") || u.Fragment != "" {
		return Options{}, errors.New("smtp: the URL has a path or fragment")
	}
	if p := u.Port(); p != "" {
		if o.Port, err = strconv.Atoi(p); err != nil || o.Port < 1 || o.Port > 65535 {
			return Options{}, errors.New("smtp: the URL's port must be between 1 and 65535")
		}
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Options{}, errors.New("smtp: malformed query in the URL")
	}
	for key, values := range query {
		if key != "tls" || len(values) != 1 {
			return Options{}, errors.New("smtp: the URL's query may hold tls=none or tls=starttls, once")
		}
		switch {
		case values[0] == "none" && u.Scheme == "smtp":
			o.TLS = TLSNone
		case values[0] == "starttls" && u.Scheme == "smtp":
			o.TLS = TLSStartTLS
		default:
			return Options{}, fmt.Errorf("smtp: tls=%q does not go with %s://", values[0], u.Scheme)
		}
	}
	return o, nil
}
