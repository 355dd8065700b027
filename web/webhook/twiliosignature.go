package webhook

import (
	"crypto/hmac"
	"crypto/sha1" // Twilio's choice; as an HMAC it is not broken
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strings"
	"sync"
)

// ErrBadSignature says that a request was not signed with any of our secrets.
var ErrBadSignature = errors.New("bad signature")

// TwilioVerifier checks X-Twilio-Signature: base64(HMAC-SHA1(auth token, URL and parameters)), see
// https://www.twilio.com/docs/usage/security.
type TwilioVerifier struct {
	macs    []*sync.Pool // of hash.Hash, one for each token: begun once, they cost a third of new ones
	bases   []string     // scheme and authority, without and with the port, and the path that a proxy takes off
	scratch sync.Pool    // of *scratch
}

// NewTwilioVerifier takes the public URL that Twilio is given, without the endpoint's path, and the auth tokens that it
// may sign with. No token, or an empty one, is an error: anybody can sign with that.
func NewTwilioVerifier(publicURL string, tokens []string) (*TwilioVerifier, error) {
	if len(tokens) == 0 {
		return nil, errors.New("no auth token")
	}
	v := &TwilioVerifier{scratch: sync.Pool{New: func() any { return &scratch{} }}}
	for n, token := range tokens {
		if strings.TrimSpace(token) == "" {
			return nil, fmt.Errorf("auth token %d is empty", n+1)
		}
		v.macs = append(v.macs, &sync.Pool{New: func() any { return hmac.New(sha1.New, []byte(token)) }})
	}

	bases, err := portForms(publicURL)
	if err != nil {
		return nil, err
	}
	v.bases = bases
	return v, nil
}

// portForms returns a URL as it is and with its port added or taken away: Twilio signs sometimes the one and sometimes
// the other.
func portForms(publicURL string) ([]string, error) {
	u, err := url.Parse(publicURL)
	switch {
	case err != nil:
		return nil, errors.New("the public URL is malformed") // err would quote it, and it may hold a password
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, errors.New("the public URL must be like https://hooks.example.com")
	case u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("the public URL must have no query and no fragment")
	}

	// Cut by hand, because every byte is signed as it was configured.
	scheme, rest, _ := strings.Cut(publicURL, "://")
	authority, path := rest, ""
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		authority, path = rest[:at], strings.TrimRight(rest[at:], "/")
	}

	other := strings.TrimSuffix(authority, ":"+u.Port())
	if u.Port() == "" {
		port := "443"
		if u.Scheme == "http" {
			port = "80"
		}
		other = strings.TrimSuffix(authority, ":") + ":" + port
	}
	return []string{scheme + "://" + authority + path, scheme + "://" + other + path}, nil
}

// VerifyForm checks a form POST and returns the index of the token that it was signed with. The target is the request's
// own path and raw query. It sorts the form by key.
func (v *TwilioVerifier) VerifyForm(target string, form Form, signature string) (int, error) {
	return v.verify(target, form, signature)
}

// VerifyBody checks a POST whose body is no form: the URL alone is signed, and holds the body's hash.
func (v *TwilioVerifier) VerifyBody(target string, body []byte, signature string) (int, error) {
	_, query, _ := strings.Cut(target, "?")
	// What can't be parsed is left out, the hash included, and then does not match.
	values, _ := url.ParseQuery(query)
	sum := sha256.Sum256(body)
	if !hmac.Equal([]byte(values.Get("bodySHA256")), []byte(hex.EncodeToString(sum[:]))) {
		return -1, fmt.Errorf("%w: bodySHA256 is not the body's", ErrBadSignature)
	}
	return v.verify(target, nil, signature)
}

func (v *TwilioVerifier) verify(target string, form Form, signature string) (int, error) {
	if signature == "" {
		return -1, fmt.Errorf("%w: none given", ErrBadSignature)
	}
	target, _, _ = strings.Cut(target, "#") // not signed, and not sent

	s, _ := v.scratch.Get().(*scratch)
	defer v.scratch.Put(s)
	s.params = form.appendSigned(s.params[:0])

	// Twilio signs an apostrophe in the query encoded, and sends it as it was configured.
	encoded := strings.ReplaceAll(target, "'", "%27")
	for n := range v.macs {
		for _, base := range v.bases {
			if v.signed(s, n, base, target, signature) || encoded != target && v.signed(s, n, base, encoded, signature) {
				return n, nil
			}
		}
	}
	return -1, fmt.Errorf("%w: no auth token matches", ErrBadSignature)
}

// scratch is memory of one verification.
type scratch struct {
	params []byte // as they are signed
	url    []byte
	sum    [sha1.Size]byte
	text   [(sha1.Size + 2) / 3 * 4]byte // the sum, as base64 spells it
}

// signed reports whether a signature is that of the URL and the parameters, by one token.
func (v *TwilioVerifier) signed(s *scratch, token int, base, target, signature string) bool {
	mac, _ := v.macs[token].Get().(hash.Hash)
	defer v.macs[token].Put(mac)
	mac.Reset()
	s.url = append(append(s.url[:0], base...), target...)
	mac.Write(s.url)
	mac.Write(s.params)
	base64.StdEncoding.Encode(s.text[:], mac.Sum(s.sum[:0]))
	return hmac.Equal(s.text[:], []byte(signature))
}
