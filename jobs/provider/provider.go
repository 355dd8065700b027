// Package provider is the contract between the worker and whoever carries a
// message out of the house: what a worker hands over ([Message]), what it gets
// back ([Accepted] or a [SendError] of a closed set of classes), and how an
// unknown outcome is looked up afterwards ([Lookup]).
//
// The classes exist for one promise: a send is never repeated blindly. Only
// [ClassRetryLater] says that the provider certainly did not take the message;
// whatever could have gone out is [ClassUnknown] and must be resolved from
// evidence, never by sending again.
//
// It imports the standard library alone. The implementations (twilio, smtp) and
// the simulator (providersim) stand beside it and import nothing of ours but
// this package and jobs/segments.
package provider

import (
	"context"
	"errors"
	"time"
)

// Channels that a message can take.
const (
	ChannelSMS   = "sms"
	ChannelEmail = "email"
)

// Message is one attempt to send one message.
type Message struct {
	// ID is our own public id (UUID) and Attempt the number of this attempt,
	// from 1. Neither reaches the recipient of a text; mail carries both in a
	// header, so that delivery events can be matched.
	ID      string
	Attempt int
	// Channel is ChannelSMS or ChannelEmail.
	Channel string
	// From and MessagingServiceSID override the sender that the provider was
	// configured with; empty means that one. To is an E.164 number or a mail
	// address.
	From, To            string
	MessagingServiceSID string
	// Subject and HTML are used by mail only. Text is the body of a text
	// message and the plain part of a mail.
	Subject, Text, HTML string
	// StatusCallback is the full URL, with our id and attempt in its query, that
	// the provider reports to. The provider's package adds its retry overrides
	// as a fragment.
	StatusCallback string
	// UnsubscribeURL is the one-click address of RFC 8058 (mail only).
	UnsubscribeURL string
	// MessageIDHeader is the Message-ID that we choose, with or without its
	// angle brackets (mail only). It becomes [Accepted.SID].
	MessageIDHeader string
	// Headers are added to a mail as they are.
	Headers map[string]string
}

// Accepted is what a provider said when it took a message.
type Accepted struct {
	// SID is the provider's id for the message: the key under which callbacks
	// and look-ups name it. Never empty.
	SID string
	// Status is the provider's own word ("queued", "accepted").
	Status string
	// Segments is 0 when the provider does not know it yet.
	Segments int
	// Price is a decimal string as the provider gives it, empty until known;
	// PriceUnit is an ISO 4217 code.
	Price, PriceUnit string
}

// Sender hands one message to a provider.
type Sender interface {
	// Send makes at most one attempt that could reach the recipient. Every
	// error is a *SendError. Send returns within the provider's own time-out
	// even when ctx has none.
	Send(ctx context.Context, m Message) (Accepted, error)
}

// Status is what a provider tells about a message when it is asked.
type Status struct {
	SID, Status, ErrorCode string
	To, From, Body         string
	DateCreated, DateSent  time.Time
	Segments               int
	Price, PriceUnit       string
}

// Lookup asks a provider what became of a message. Both calls only read, so
// they may be repeated whatever they return. Errors are *SendError; a message
// that does not exist matches [ErrNotFound].
type Lookup interface {
	// Get fetches one message by the provider's id.
	Get(ctx context.Context, sid string) (Status, error)
	// Find lists what went to a recipient since a time, newest first; from may
	// be empty where the provider chose the sender. The list is bounded: when
	// there is more than the bound, Find returns what it read along with an
	// error that matches [ErrListTruncated], and "not in the list" then proves
	// nothing.
	Find(ctx context.Context, to, from string, since time.Time) ([]Status, error)
}

var (
	// ErrNotFound says that the provider knows no message of that id.
	ErrNotFound = errors.New("provider: no such message")
	// ErrListTruncated says that a list ended at its bound, not at its end.
	ErrListTruncated = errors.New("provider: list longer than its bound")
)
