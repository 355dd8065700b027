// Package providersim stands in for the providers: Twilio's Messages API with
// signed status callbacks and inbound texts, Recurrente's and Resend's webhooks
// signed as Svix signs them, and a mail server that keeps what it gets. It is
// what `onward simulate` and `onward up --demo` run and what end-to-end tests
// talk to. It speaks to Onward over HTTP and SMTP alone and imports of ours only
// jobs/provider.
//
// What it does is drawn from a seed and from what is asked of it, not from the
// order of arrival, so a run with the same seed and the same messages repeats
// its faults however its requests interleave. Ids differ from run to run (they
// are keys in Onward's database) unless [Options.RunID] is set.
//
// # Magic numbers
//
// Texts to the numbers that [MagicNumbers] lists meet a fixed fate: the first
// five are those of Twilio's test credentials, the rest are ours. From
// +15005550001, +15005550007 and +15005550008 are refused as Twilio's test
// credentials refuse them (21212, 21606, 21611).
//
// # Magic mailboxes
//
// By the part before the @, with any domain: the Mailbox constants.
//
// # Control
//
// The listener of the Twilio API also serves, as JSON with unknown fields
// refused, for scripts that run the simulator as a program of its own:
//
//	POST /_sim/reply       {"from","to","body","extra":{"OptOutType":["STOP"]}}   a text from a phone
//	POST /_sim/recurrente  {"event":"subscription.cancel","subscription_id","site_id"}
//	                       {"event":"charge","subscription_id","site_id","amount_in_cents","currency","failed"}
//	POST /_sim/resend      {"event":"email.bounced","to","message_id","headers":{},"link"}
//	GET  /_sim/messages    what Twilio holds, newest last
//	GET  /_sim/calls       every call to the Twilio API
//	GET  /_sim/deliveries  every webhook that was tried
//	GET  /_sim/mails       what the mail server took
//
// reply answers when Onward did (502 when it refused for good); the other two
// answer 202 with the ids of the deliveries, which go on in the background. The
// lists take ?limit=, and have no authentication: listen on 127.0.0.1.
package providersim
