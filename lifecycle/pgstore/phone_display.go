package pgstore

import "github.com/nyaruka/phonenumbers"

// DisplayPhone writes an E.164 number in groups, as people of its country read it out; what is none stays as it is.
func DisplayPhone(e164 string) string {
	if len(e164) < 4 || e164[0] != '+' {
		return e164
	}
	number, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return e164
	}
	return phonenumbers.Format(number, phonenumbers.INTERNATIONAL)
}
