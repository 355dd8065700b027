// Package tracktoken makes and opens the tokens in the links of messages: the open pixel, the click
// redirect and the unsubscribe page. A token is sealed (AES-256-GCM): who holds it can neither read what
// it says, an address among it, nor change it, nor make another. It imports the standard library alone.
//
// Each purpose has a key of its own, so that a token of one opens as no other: who forwards an email gives
// away clicks, and a click cannot be made into an unsubscribe. Tokens do not expire: an unsubscribe link
// must work for as long as the email is kept.
package tracktoken

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Purpose is what a token is for.
type Purpose string

// The purposes.
const (
	PurposeOpen        Purpose = "open"
	PurposeClick       Purpose = "click"
	PurposeUnsubscribe Purpose = "unsubscribe"
)

// Purposes lists them all.
func Purposes() []Purpose { return []Purpose{PurposeOpen, PurposeClick, PurposeUnsubscribe} }

// MinKey is the least length of a key, in bytes: as many as the ciphers' own keys have.
const MinKey = 32

// version begins every token; another layout gets another.
const version = 1

// Limits, in bytes.
const (
	// MaxAddress is the longest email address (RFC 5321, 4.5.3.1: 64 + @ + 255).
	MaxAddress = 320
	// MaxURL is far beyond any real link, and keeps the redirect's own address within the 8 KiB that
	// proxies accept for a request line.
	MaxURL = 2048
	// MaxToken is the length of a token with both at their longest: 6 bits a character.
	MaxToken = ((1+overhead+maxClaims)*8 + 5) / 6
)

// overhead is the nonce and the tag of GCM.
const overhead = 12 + 16

// ErrInvalid is the one answer to a token that does not open, whatever is wrong with it.
var ErrInvalid = errors.New("invalid token")

// Codec seals and opens tokens. It is safe for concurrent use.
type Codec struct {
	aeads map[Purpose][]cipher.AEAD // in the order of the keys
}

// New returns a codec. The first key seals, any of them opens: so a key is rotated by putting the new one
// in front and taking the old one away once the emails that it sealed no longer matter. Its errors never
// contain a key.
//
// Nonces are random, which is safe up to 2^32 tokens of one purpose under one key (NIST SP 800-38D, 8.3).
func New(keys []string) (*Codec, error) {
	if len(keys) == 0 {
		return nil, errors.New("track token: no key")
	}
	c := &Codec{aeads: make(map[Purpose][]cipher.AEAD)}
	for i, key := range keys {
		if len(key) < MinKey {
			return nil, fmt.Errorf("track token: key %d has %d bytes, at least %d are needed", i+1, len(key), MinKey)
		}
		for _, p := range Purposes() {
			aead, err := derive(key, p)
			if err != nil {
				return nil, fmt.Errorf("track token: key %d: %w", i+1, err)
			}
			c.aeads[p] = append(c.aeads[p], aead)
		}
	}
	return c, nil
}

// derive makes the cipher of one purpose from a key that serves other ends as well.
func derive(key string, p Purpose) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, []byte(key), nil, "onward track token "+string(p), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// encoding is strict: of all spellings of a token one is valid.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// Seal makes a token: letters, digits, - and _ alone. Two tokens of the same claims differ. It fails on
// claims that no link could carry: see [Claims].
func (c *Codec) Seal(p Purpose, claims Claims) (string, error) {
	aeads := c.aeads[p]
	if len(aeads) == 0 {
		return "", fmt.Errorf("seal track token: unknown purpose %q", p)
	}
	plain, err := claims.encode(p)
	if err != nil {
		return "", fmt.Errorf("seal track token: %w", err)
	}
	head := []byte{version}
	return encoding().EncodeToString(aeads[0].Seal(head, nil, plain, head)), nil
}

// Open returns what a token of this purpose says. Its one error is [ErrInvalid].
func (c *Codec) Open(p Purpose, token string) (Claims, error) {
	if len(token) > MaxToken || strings.ContainsAny(token, "\r\n") { // the decoder would pass over ends of lines
		return Claims{}, ErrInvalid
	}
	raw, err := encoding().DecodeString(token)
	if err != nil || len(raw) < 1+overhead || raw[0] != version {
		return Claims{}, ErrInvalid
	}
	for _, aead := range c.aeads[p] {
		plain, err := aead.Open(nil, nil, raw[1:], raw[:1])
		if err == nil {
			return decode(p, plain)
		}
	}
	return Claims{}, ErrInvalid
}
