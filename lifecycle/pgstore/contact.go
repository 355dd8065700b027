package pgstore

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// FieldError says what is wrong with one field of an input, and what to do about it.
type FieldError struct {
	Field   string // as the API names it
	Message string
}

// FieldErrors is everything that is wrong with an input.
type FieldErrors []FieldError

// Error names every field.
func (e FieldErrors) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Field + ": " + f.Message
	}
	return strings.Join(parts, "; ")
}

// The longest values that a contact may have, in characters. That of the mailbox is RFC 5321's (4.5.3.1.3,
// without the angle brackets); the others keep an index entry far below a third of a page.
const (
	MaxName       = 200
	MaxPhone      = 40 // as spelled in the input
	MaxEmail      = 254
	MaxCity       = 120
	MaxCategory   = 120
	MaxTimezone   = 64
	MaxExternalID = 255
)

// NormalizePhone brings a number to E.164. The country (ISO 3166-1 alpha-2, in any case) says how a national
// spelling is to be read; without one the number needs its + and country code.
//
// A number passes when it has a length that its country has, not only when its range is known to be in use:
// new ranges come faster than any table of them, and the provider knows for certain.
func NormalizePhone(raw, country string) (string, error) {
	raw = strings.TrimSpace(raw)
	country = strings.ToUpper(strings.TrimSpace(country))
	if len([]rune(raw)) > MaxPhone {
		return "", fmt.Errorf("is longer than %d characters", MaxPhone)
	}
	n, err := phonenumbers.Parse(raw, country)
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode) && country == "":
		return "", errors.New("has no country: begin it with + and the country code, or set country")
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return "", fmt.Errorf("cannot be read by the rules of country %s: begin it with + and a country code that exists", country)
	case err != nil:
		return "", errors.New("is not a phone number: write it as +50255551234, or as dialled within its country with country set")
	case n.GetExtension() != "":
		return "", errors.New("has an extension, which no message can reach: leave it out")
	}
	switch phonenumbers.IsPossibleNumberWithReason(n) {
	case phonenumbers.IS_POSSIBLE:
		return phonenumbers.Format(n, phonenumbers.E164), nil
	case phonenumbers.TOO_SHORT:
		return "", errors.New("is too short for its country")
	case phonenumbers.TOO_LONG:
		return "", errors.New("is too long for its country")
	case phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return "", errors.New("lacks its area code")
	}
	return "", errors.New("has no length that its country uses")
}

// NormalizeEmail checks a mailbox and brings it to the form in which addresses are stored and compared.
func NormalizeEmail(raw string) (string, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > MaxEmail {
		return "", fmt.Errorf("is longer than %d characters", MaxEmail)
	}
	// A name, a comment or a quoted local part would come back changed: none of them is needed, and all of
	// them have been used to smuggle something into a header.
	parsed, err := mail.ParseAddress(raw)
	if err != nil || parsed.Address != raw || strings.ContainsAny(raw, " \t\"(),:;<>[]\\") {
		return "", errors.New("is not an e-mail address: write it as name@example.com, without a display name")
	}
	domain := raw[strings.LastIndexByte(raw, '@')+1:]
	if !strings.Contains(domain, ".") {
		return "", errors.New("has a domain without a dot: write it as name@example.com")
	}
	return Address{Channel: "email", Address: raw}.Normal().Address, nil
}
