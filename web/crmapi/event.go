package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// clockSkew is how far ahead of ours a caller's clock may be. A fact from the future would outrank everything
// that happens until then.
const clockSkew = 5 * time.Minute

// RecordedEvent is what an event did.
type RecordedEvent struct {
	FactID     int64     `json:"fact_id"`
	Event      string    `json:"event"`
	OccurredAt time.Time `json:"occurred_at"`
	Duplicate  bool      `json:"duplicate" doc:"The dedupe_key was known: nothing changed"`
	Changes    []Change  `json:"changes" nullable:"false"`
}

// Change is what an event did to one axis.
type Change struct {
	Axis    string `json:"axis"`
	From    string `json:"from"`
	To      string `json:"to"`
	Verdict string `json:"verdict"`
}

func (a *API) registerEvents(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/businesses/{id}/events", id: "recordEvent", tag: tagBusinesses, status: http.StatusAccepted,
		summary: "Record what happened to a business",
		description: "The statuses that follow are in the answer. A dedupe_key makes a repetition harmless, at any later time. " +
			"opted_out suppresses phone and email as well: from its 202 on, no send to them starts.",
	}, a.recordEvent)
}

type recordEventInput struct {
	PathID
	Body struct {
		Event      string     `json:"event" enum:"generation_started,generation_completed,generation_failed,site_deployed,purchase_completed,ticket_opened,ticket_closed,opted_out,operator_reopened"`
		OccurredAt *time.Time `json:"occurred_at,omitempty" nullable:"true" doc:"Default now; at most 5 minutes ahead"`
		DedupeKey  *string    `json:"dedupe_key,omitempty" nullable:"true" minLength:"1" maxLength:"200" doc:"Your own key of this event, unique for the business"`
		SiteID     *uuid.UUID `json:"site_id,omitempty" nullable:"true" format:"uuid" doc:"The site that it is about"`
		Note       *string    `json:"note,omitempty" nullable:"true" maxLength:"2000" doc:"Why; operator_reopened needs it"`
	}
}

func (a *API) recordEvent(ctx context.Context, in *recordEventInput) (*answer[RecordedEvent], error) {
	event, note := lifecycle.Event(in.Body.Event), strings.TrimSpace(orZero(in.Body.Note))
	if event == lifecycle.OperatorReopened && note == "" {
		return nil, invalid("body.note", "say why: operator_reopened needs a note")
	}
	now := a.opts.Clock()
	at := now
	if in.Body.OccurredAt != nil {
		at = *in.Body.OccurredAt
	}
	if at.After(now.Add(clockSkew)) {
		return nil, invalid("body.occurred_at", "is more than 5 minutes ahead")
	}
	out, err := act(ctx, a, func(ctx context.Context, u *unit) (*answer[RecordedEvent], error) {
		b, err := business(ctx, u, in.ID)
		if err != nil {
			return nil, err
		}
		recorded, err := u.recordEvent(ctx, b, in, pgstore.Fact{
			BusinessID: b.ID, Event: event, OccurredAt: at, Source: eventSource(event), Note: note,
		})
		return &answer[RecordedEvent]{Status: http.StatusAccepted, Body: recorded}, err
	})
	if err != nil || event != lifecycle.OptedOut {
		return out, err
	}
	// Also when this is a repetition: its caller relies on the answer no less.
	b, err := business(ctx, a.opts.Pool, in.ID)
	if err != nil {
		return nil, err
	}
	return out, a.settle(ctx, b.Addresses())
}

// eventSource is operator for what a person decides about a contact, api for what a program reports.
func eventSource(e lifecycle.Event) pgstore.Source {
	if e == lifecycle.OptedOut || e == lifecycle.OperatorReopened {
		return pgstore.SourceOperator
	}
	return pgstore.SourceAPI
}

func (u *unit) recordEvent(ctx context.Context, b pgstore.Business, in *recordEventInput, f pgstore.Fact) (RecordedEvent, error) {
	var err error
	if in.Body.SiteID != nil {
		if f.SiteID, err = siteOf(ctx, u, b.ID, *in.Body.SiteID); err != nil {
			return RecordedEvent{}, err
		}
	}
	if in.Body.DedupeKey != nil {
		f.Key = fmt.Sprintf("api:%s:%s", b.PublicID, *in.Body.DedupeKey)
		if known, err := knownEvent(ctx, u, f, in.Body.OccurredAt != nil); err != nil || known.Duplicate {
			return known, err
		}
	}
	f.ActionID, err = u.record(ctx, "event."+string(f.Event), targetBusiness, b.PublicID.String(), f.Note, nil)
	if err != nil {
		return RecordedEvent{}, err
	}
	if f.Key == "" {
		f.Key = fmt.Sprintf("api:%s:action:%d", b.PublicID, f.ActionID)
	}
	applied, err := u.apply(ctx, f)
	if err != nil {
		return RecordedEvent{}, err
	}
	if applied[0].Erased {
		return RecordedEvent{}, wasErased()
	}
	if applied[0].Duplicate { // recorded between the look and the lock
		return knownEvent(ctx, u, f, in.Body.OccurredAt != nil)
	}
	if f.Event == lifecycle.OptedOut {
		if err := u.optOut(ctx, f); err != nil {
			return RecordedEvent{}, err
		}
	}
	return viewApplied(applied[0]), nil
}

// optOut suppresses every address that the business has now that it is locked.
func (u *unit) optOut(ctx context.Context, f pgstore.Fact) error {
	b, err := pgstore.BusinessByID(ctx, u, f.BusinessID)
	if err != nil {
		return err
	}
	var list []pgstore.Suppression
	for _, address := range b.Addresses() {
		list = append(list, pgstore.Suppression{
			Address: address, Reason: "operator", Source: pgstore.SourceOperator, SourceID: fmt.Sprint(f.ActionID),
		})
	}
	_, err = pgstore.Suppress(ctx, u, list)
	return err
}

func viewApplied(a pgstore.Applied) RecordedEvent {
	out := RecordedEvent{FactID: a.FactID, Event: string(a.Fact.Event), OccurredAt: a.Fact.OccurredAt.UTC(), Changes: []Change{}}
	for _, c := range a.Changes {
		out.Changes = append(out.Changes, Change{string(c.Axis), string(c.From), string(c.To), string(c.Verdict)})
	}
	return out
}

// knownEvent finds the event that a key was used for; Duplicate is false when there is none. A key that was used for
// something else is a conflict: answered as a repetition, the new event would be lost.
func knownEvent(ctx context.Context, tx pgx.Tx, f pgstore.Fact, timed bool) (RecordedEvent, error) {
	out := RecordedEvent{Duplicate: true, Changes: []Change{}}
	var site int64
	var note *string
	err := tx.QueryRow(ctx, `
		SELECT id, event, occurred_at, COALESCE(site_id, 0), note
		FROM facts
		WHERE dedupe_key = $1`, f.Key).Scan(&out.FactID, &out.Event, &out.OccurredAt, &site, &note)
	if errors.Is(err, pgx.ErrNoRows) {
		return RecordedEvent{}, nil
	}
	if err != nil {
		return RecordedEvent{}, fmt.Errorf("find fact by key: %w", err)
	}
	out.OccurredAt = out.OccurredAt.UTC()
	differs := ""
	switch {
	case out.Event != string(f.Event):
		differs = "event, " + out.Event
	case timed && !out.OccurredAt.Equal(f.OccurredAt.Truncate(time.Microsecond)):
		differs = "occurred_at, " + out.OccurredAt.Format(time.RFC3339Nano)
	case site != f.SiteID:
		differs = "site_id"
	case note != nil && *note != f.Note: // an erasure takes notes away
		differs = "note"
	}
	if differs != "" {
		return RecordedEvent{}, huma.Error409Conflict("body.dedupe_key: was used with another "+differs,
			&huma.ErrorDetail{Location: "body.dedupe_key", Message: "was used with another " + differs})
	}
	return out, nil
}

// settle waits until no send to the addresses can start any more.
func (a *API) settle(ctx context.Context, addresses []pgstore.Address) error {
	if a.opts.Settle == nil || len(addresses) == 0 {
		return nil
	}
	if err := a.opts.Settle(ctx, addresses); err != nil {
		a.opts.Logger.WarnContext(ctx, "wait for running sends after an opt-out", "request_id", requestID(ctx), "error", err)
		return huma.ErrorWithHeaders(
			huma.Error503ServiceUnavailable("recorded, but a send that had begun could not be waited for: repeat the request"),
			http.Header{"Retry-After": {"1"}})
	}
	return nil
}
