package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"onward/lifecycle/pgstore"
)

// invalid is a 422 that names one place, as body.phone or query.cursor.
func invalid(location, message string) error {
	return huma.Error422UnprocessableEntity(validationFailed, &huma.ErrorDetail{Location: location, Message: message})
}

// invalidBody is a 422 that names fields of the body.
func invalidBody(fields pgstore.FieldErrors) error {
	details := make([]error, len(fields))
	for i, f := range fields {
		details[i] = &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message}
	}
	return huma.Error422UnprocessableEntity(validationFailed, details...)
}

func notFound(what string) error { return huma.Error404NotFound("there is no such " + what) }

// problem makes of any error one that may be shown: a status and a safe sentence. What is unexpected is logged,
// here and nowhere else.
func (a *API) problem(ctx context.Context, operationID string, err error) error {
	if fields, ok := errors.AsType[pgstore.FieldErrors](err); ok {
		return invalidBody(fields)
	}
	if _, ok := errors.AsType[huma.StatusError](err); ok {
		return err
	}
	if unstorable(err) {
		return huma.Error422UnprocessableEntity("a value cannot be stored: text may not contain zero bytes, and numbers and times have limits")
	}
	attrs := []slog.Attr{
		slog.String("operation", operationID), slog.String("request_id", requestID(ctx)), slog.Any("error", err),
	}
	if ctx.Err() != nil {
		attrs = append(attrs, slog.Any("cause", context.Cause(ctx)))
	}
	if ctx.Err() != nil || away(err) {
		a.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "API unavailable", attrs...)
		return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("not available right now: try again"), http.Header{"Retry-After": {"1"}})
	}
	a.opts.Logger.LogAttrs(ctx, slog.LevelError, "API error", attrs...)
	return huma.Error500InternalServerError("an unexpected error, which is in the log under the X-Request-Id of this answer")
}

// unstorable reports whether PostgreSQL refused a value as such: a data exception.
func unstorable(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pgErr.Code, "22")
}

// away reports whether the database is not there, or not for us.
func away(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		const readOnly = "25006"
		switch {
		case pgErr.Code == readOnly:
			return true
		case len(pgErr.Code) < 2:
			return false
		}
		switch pgErr.Code[:2] {
		case "08", // connection exception
			"40", // rolled back for the sake of others, again and again
			"53", // insufficient resources
			"57": // operator intervention: shutdown, cancelled
			return true
		}
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || pgconn.SafeToRetry(err) ||
		strings.Contains(err.Error(), "closed pool") // puddle's error, whose package is no dependency of ours
}

// validationFailed is the detail that huma gives; tidyProblem puts the first error in its place.
const validationFailed = "validation failed"

// tidyProblem makes a problem's detail say by itself what is wrong, and takes back what huma quotes of the
// request: it may be a whole body, and ends in logs.
func tidyProblem(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	tidy := *p
	tidy.Errors = make([]*huma.ErrorDetail, 0, len(p.Errors))
	for _, e := range p.Errors {
		if e != nil {
			tidy.Errors = append(tidy.Errors, tidyDetail(e))
		}
	}
	if tidy.Detail == validationFailed && len(tidy.Errors) > 0 {
		tidy.Detail = tidy.Errors[0].Location + ": " + tidy.Errors[0].Message
	}
	return &tidy, nil
}

// tidyDetail names the place of a member that is missing, where huma names what it is missing from, and says what a time is
// without Go's way to write it.
func tidyDetail(e *huma.ErrorDetail) *huma.ErrorDetail {
	tidy := &huma.ErrorDetail{Message: e.Message, Location: e.Location}
	if name, ok := strings.CutPrefix(e.Message, "expected required property "); ok {
		if name, ok = strings.CutSuffix(name, " to be present"); ok {
			tidy.Location, tidy.Message = e.Location+"."+name, "is missing"
		}
	}
	if strings.HasPrefix(e.Message, "invalid date/time for format ") {
		tidy.Message = "is no time: write it as 2026-05-03T12:00:00Z, and a + before its zone as %2B"
	}
	return tidy
}

// writeProblem answers where huma is not in charge.
func writeProblem(w http.ResponseWriter, status int, detail string, errs ...*huma.ErrorDetail) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The status is out: an error here is the client's connection, and nobody is left to tell.
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs})
}

// writeInvalid is [invalid] where huma is not in charge.
func writeInvalid(w http.ResponseWriter, location, message string) {
	writeProblem(w, http.StatusUnprocessableEntity, location+": "+message, &huma.ErrorDetail{Location: location, Message: message})
}
