package console

// errorWords tells what a provider's error code means, and what to do about it; "" for one that is not among the usual.
// The codes are Twilio's (https://www.twilio.com/docs/api/errors); SMTP's begin with 4 or 5 and speak for themselves.
func errorWords(code string) string {
	switch code {
	case "20003":
		return "Twilio refused the account or its token: check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN."
	case "21211":
		return "The number does not exist: correct it on the business."
	case "21408":
		return "The account may not send to that country: allow it in Twilio's messaging geographic permissions."
	case "21610":
		return "The recipient said STOP to this sender: Twilio blocks it, and so does Onward."
	case "21612":
		return "This sender cannot reach that number: use a sender that its country takes."
	case "21614":
		return "The number takes no texts: it is not a mobile one. Write by email, or call."
	case "30001":
		return "The sender's queue at Twilio was full: lower its pace, then send again."
	case "30002":
		return "Twilio suspended the account: talk to their support."
	case "30003":
		return "The phone was off or out of reach. It may be worth another try later."
	case "30004":
		return "The recipient, or the carrier, blocks messages. Do not try again."
	case "30005":
		return "The number is not known, or not in use any more: correct it on the business."
	case "30006":
		return "A landline, or a carrier that takes no texts. Write by email, or call."
	case "30007":
		return "The carrier took it for spam: look at the text and its links, and at the sender's registration."
	case "30008":
		return "The carrier gave no reason. It may be worth another try."
	case "30034":
		return "The sender is not registered for this traffic (A2P 10DLC): register it in Twilio's console."
	case "63038":
		return "The account's daily limit is reached: the rest can go tomorrow."
	}
	return ""
}
