package provider

import (
	"fmt"
	"time"
)

// Class says what a failed send means for the message. The set is closed: the
// worker switches over it, and metrics have one series for each from the start.
type Class string

const (
	// ClassRetryLater: certainly not processed; sending again is safe.
	ClassRetryLater Class = "retry_later"
	// ClassUnknown: the message may have gone out; look for evidence, never
	// send again on this ground alone.
	ClassUnknown Class = "unknown"
	// ClassOptedOut: the recipient opted out at the provider; suppress.
	ClassOptedOut Class = "opted_out"
	// ClassBadRecipient: the address can't receive; bounce, don't retry.
	ClassBadRecipient Class = "bad_recipient"
	// ClassSenderBroken: our number, account or credentials don't work; pause
	// the campaign, keep the messages.
	ClassSenderBroken Class = "sender_broken"
	// ClassContentRefused: this text is refused; fail this message.
	ClassContentRefused Class = "content_refused"
	// ClassDeliveryFailed: not delivered for now; bounce, don't suppress.
	ClassDeliveryFailed Class = "delivery_failed"
)

// Classes returns every class, for metrics that show zeroes from the start.
func Classes() []Class {
	return []Class{
		ClassRetryLater, ClassUnknown, ClassOptedOut, ClassBadRecipient,
		ClassSenderBroken, ClassContentRefused, ClassDeliveryFailed,
	}
}

// SendError is the only error that a [Sender] or a [Lookup] returns. It is safe
// to log: it never holds a body, a number, a mail address or a token.
type SendError struct {
	Class Class
	// Code is the provider's own code where it gave one ("21610", "550 5.1.1"),
	// else a short word of ours ("timeout", "http_503").
	Code string
	// RetryAfter is how long the provider asked us to wait; 0 when it did not.
	RetryAfter time.Duration
	// Err says what happened, for operators.
	Err error
}

// Error implements error.
func (e *SendError) Error() string {
	switch {
	case e.Err == nil && e.Code == "":
		return string(e.Class)
	case e.Err == nil:
		return fmt.Sprintf("%s (%s)", e.Class, e.Code)
	case e.Code == "":
		return fmt.Sprintf("%s: %v", e.Class, e.Err)
	default:
		return fmt.Sprintf("%s (%s): %v", e.Class, e.Code, e.Err)
	}
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *SendError) Unwrap() error { return e.Err }
