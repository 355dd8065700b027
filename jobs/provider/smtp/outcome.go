package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"onward/jobs/provider"
)

// errProviderTimeout is the cause of a send that ran into Options.Timeout, as
// against one whose caller gave up.
var errProviderTimeout = errors.New("not done within the provider time-out")

// dialError classifies what failed before the mail was offered: greeting,
// STARTTLS, authentication. Nothing can have gone out.
//
// The texts of the server are left out, here and below, because they like to
// repeat the recipient; its codes are kept.
func dialError(ctx context.Context, err error) *provider.SendError {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		e := &provider.SendError{Class: provider.ClassSenderBroken, Code: replyCode(answer.Code, enhancedCode(answer.Msg))}
		if answer.Code < 500 {
			e.Class = provider.ClassRetryLater
		}
		e.Err = fmt.Errorf("smtp: refused at the greeting or authentication: %s", e.Code)
		return e
	}
	if cause := context.Cause(ctx); cause != nil {
		return &provider.SendError{Class: provider.ClassRetryLater, Code: networkCode(ctx, "connect"), Err: fmt.Errorf("smtp: not sent: %w", cause)}
	}
	if isNetworkError(err) {
		return &provider.SendError{Class: provider.ClassRetryLater, Code: "connect", Err: fmt.Errorf("smtp: not sent: %w", unquoted(err))}
	}
	// What is left is go-mail's own refusal: the server offers no STARTTLS, no
	// AUTH, or none that go-mail speaks. That is a setting, not a bad moment.
	return &provider.SendError{Class: provider.ClassSenderBroken, Code: "unsupported", Err: errors.New("smtp: the server offers no STARTTLS or no authentication that we can use")}
}

func isNetworkError(err error) bool {
	var netErr net.Error
	var protocol textproto.ProtocolError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &netErr) || errors.As(err, &protocol) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &cert) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// sendError classifies what failed once the connection stood. The mail counts as
// taken from the moment that the server may have seen the closing dot (RFC 5321,
// 6.1), so only a failure at that dot without an answer is unknown. Any answer
// of 4xx leaves the mail with us.
//
// go-mail's SendError does not unwrap, and its IsTemp is false for network
// errors; its Reason and ErrorCode (0 without an answer) are what counts.
func sendError(ctx context.Context, err error) *provider.SendError {
	var failed *mail.SendError
	if !errors.As(err, &failed) {
		return &provider.SendError{Class: provider.ClassUnknown, Code: networkCode(ctx, "broken"), Err: errors.New("smtp: go-mail failed without saying where")}
	}
	reply := failed.ErrorCode()
	if reply == 0 {
		return unanswered(ctx, failed.Reason)
	}
	code := replyCode(reply, failed.EnhancedStatusCode())
	return &provider.SendError{
		Class: refusalClass(failed.Reason, reply, failed.EnhancedStatusCode()),
		Code:  code,
		Err:   fmt.Errorf("smtp: %s: refused with %s", failed.Reason, code),
	}
}

// unanswered is a connection that broke or timed out.
func unanswered(ctx context.Context, reason mail.SendErrReason) *provider.SendError {
	e := &provider.SendError{Class: provider.ClassRetryLater, Code: networkCode(ctx, "broken")}
	switch reason {
	case mail.ErrSMTPDataClose, mail.ErrAmbiguous:
		e.Class = provider.ClassUnknown
	case mail.ErrGetSender, mail.ErrGetRcpts, mail.ErrNoUnencoded: // compose rules these out
		e.Class = provider.ClassContentRefused
	}
	e.Err = fmt.Errorf("smtp: %s: no answer", reason)
	if cause := context.Cause(ctx); cause != nil {
		e.Err = fmt.Errorf("smtp: %s: %w", reason, cause)
	}
	return e
}

func refusalClass(reason mail.SendErrReason, reply int, enhanced string) provider.Class {
	switch {
	case reply < 500:
		return provider.ClassRetryLater
	case reason == mail.ErrSMTPDataClose:
		return provider.ClassContentRefused
	case reason == mail.ErrSMTPRcptTo && !aboutSender(reply, enhanced):
		return provider.ClassBadRecipient
	default: // MAIL, DATA, authentication
		return provider.ClassSenderBroken
	}
}

// aboutSender tells the refusals at RCPT that would meet every recipient:
// authentication wanted (530, 535, 538) and security or policy (5.7.x, which is
// how relaying is denied). To bounce contacts for those would be wrong, and hard
// to undo; a paused campaign is not.
func aboutSender(reply int, enhanced string) bool {
	return reply == 530 || reply == 535 || reply == 538 || strings.HasPrefix(enhanced, "5.7.")
}

// answeredByServer says whether a failed send ended with a reply, so that the
// connection stands between two commands.
func answeredByServer(err error) bool {
	var failed *mail.SendError
	return errors.As(err, &failed) && failed.ErrorCode() != 0 && failed.Reason != mail.ErrWriteContent
}

func replyCode(code int, enhanced string) string {
	if enhanced == "" {
		return strconv.Itoa(code)
	}
	return strconv.Itoa(code) + " " + enhanced
}

// enhancedCode is the status of RFC 3463 at the start of a reply's text.
func enhancedCode(text string) string {
	first, _, _ := strings.Cut(text, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 {
		return ""
	}
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 10); err != nil {
			return ""
		}
	}
	return first
}

func networkCode(ctx context.Context, otherwise string) string {
	switch {
	case ctx.Err() == nil:
		return otherwise
	case errors.Is(ctx.Err(), context.Canceled):
		return "canceled"
	default:
		return "timeout"
	}
}

// unquoted keeps what a peer sent out of an error.
func unquoted(err error) error {
	if before, _, quoted := strings.Cut(err.Error(), `"`); quoted {
		return errors.New(strings.TrimSpace(before))
	}
	return err
}
