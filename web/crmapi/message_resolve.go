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

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

type resolveMessageInput struct {
	PathID
	Body struct {
		As   string  `json:"as" enum:"sent,not_sent"`
		Note *string `json:"note,omitempty" nullable:"true" maxLength:"2000" doc:"How you know"`
	}
}

func (a *API) resolveMessage(ctx context.Context, in *resolveMessageInput) (*answer[Message], error) {
	note := strings.TrimSpace(orZero(in.Body.Note))
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Message], error) {
		m, err := u.lockUnresolved(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		action, err := u.record(ctx, "message.resolve."+in.Body.As, targetMessage, in.ID.String(), note, map[string]any{"was": m.state})
		if err != nil {
			return nil, err
		}
		if in.Body.As == "sent" {
			err = u.resolveSent(ctx, m, action, note, a.opts.Clock())
		} else {
			err = u.resolveNotSent(ctx, m)
		}
		if err != nil {
			return nil, err
		}
		row, err := message(ctx, u, in.ID)
		return &answer[Message]{Status: http.StatusOK, Body: row.Message}, err
	})
}

// unresolved is a message whose last provider call may or may not have happened.
type unresolved struct {
	id           int64
	state        lifecycle.MessageState
	channel      string
	dispatchedAt *time.Time
}

func (u *unit) lockUnresolved(ctx context.Context, id uuid.UUID) (unresolved, error) {
	var m unresolved
	err := u.QueryRow(ctx, `
		SELECT id, state, channel, dispatched_at
		FROM messages
		WHERE public_id = $1
		FOR NO KEY UPDATE`, id).Scan(&m.id, &m.state, &m.channel, &m.dispatchedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return m, notFound(targetMessage)
	case err != nil:
		return m, fmt.Errorf("lock message: %w", err)
	case m.state != lifecycle.MessageUnknown && m.state != lifecycle.MessageHeld:
		return m, huma.Error409Conflict(fmt.Sprintf("the message is %s: only one that is unknown or held can be resolved", m.state))
	}
	return m, nil
}

// resolveSent records what a provider's yes would have recorded, under the same key, so that a callback that comes
// after all adds nothing.
func (u *unit) resolveSent(ctx context.Context, m unresolved, action int64, note string, now time.Time) error {
	at, event := now, lifecycle.SMSSentEvent
	if m.dispatchedAt != nil {
		at = *m.dispatchedAt
	}
	if m.channel == jobs.ChannelEmail {
		event = lifecycle.EmailSent
	}
	raised, err := pgstore.Raise(ctx, u, pgstore.Report{MessageID: m.id, State: lifecycle.MessageAccepted, At: at})
	if err != nil {
		return err
	}
	_, err = u.apply(ctx, pgstore.Fact{
		BusinessID: raised.BusinessID, Event: event, OccurredAt: at, Key: fmt.Sprintf("m%d:sent", m.id),
		Source: pgstore.SourceOperator, MessageID: m.id, ActionID: action, Note: note,
	})
	if err != nil {
		return err
	}
	return raised.Count(ctx, u)
}

// resolveNotSent lets the message be sent again.
func (u *unit) resolveNotSent(ctx context.Context, m unresolved) error {
	moved, err := pgstore.RequeueMessage(ctx, u, m.id)
	if err != nil {
		return err
	}
	if err := u.enqueue(ctx, jobs.SendArgs{MessageID: m.id, Channel: m.channel}); err != nil {
		return err
	}
	return moved.Count(ctx, u)
}
