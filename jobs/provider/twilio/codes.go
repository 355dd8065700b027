package twilio

import "onward/jobs/provider"

// Classify says what a Twilio error code means for a message, whether it came
// with the answer to a request or with a "failed" or "undelivered" callback.
// ok is false for a code that the table does not list.
//
// Codes: https://www.twilio.com/docs/api/errors.
func Classify(code string) (class provider.Class, ok bool) {
	switch code {
	case "21610":
		return provider.ClassOptedOut, true

	case "21211", "21214", "21217", "21268", "21612", "21614", "21635", // the number can't be texted
		"30005", "30006": // unknown or switched-off handset; landline
		return provider.ClassBadRecipient, true

	case "20003", "20005", // credentials; account not active
		"21212", "21408", "21601", "21603", "21606", "21608", "21609", // sender, region, callback URL
		"21701", "21702", "21703", "21704", "21705", // messaging service
		"30002", "30024", "30032", "30034": // account suspended; sender not registered or verified
		return provider.ClassSenderBroken, true

	case "21602", "21617", // no body; over 1600 characters
		"30004", "30007": // blocked; filtered by the carrier
		return provider.ClassContentRefused, true

	case "20429", "21611", // too many requests; sender's queue is full
		"30001", "30500": // queue overflow; internal
		return provider.ClassRetryLater, true

	case "30003", "30008", "30017", "30022", "30023", "30027", "30410":
		return provider.ClassDeliveryFailed, true
	}
	return "", false
}
