package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"onward/web/apitoken"
)

// SendingAddress is an address that messages go out by, with its pace over the whole fleet.
type SendingAddress struct {
	ID         int64     `json:"id"`
	Channel    string    `json:"channel" enum:"sms,email"`
	Address    string    `json:"address" doc:"The number, messaging service or mailbox"`
	PerSecond  float64   `json:"per_second" doc:"Messages a second, at most"`
	Slowdown   float64   `json:"slowdown" doc:"Factor on the time between two, while the provider answers 429; 1: none"`
	NextSlotAt time.Time `json:"next_slot_at" doc:"The earliest time of the next message"`
	BacklogAt  time.Time `json:"backlog_at" doc:"When the last that waits for a slot will go out; past: none waits"`
}

func scanSender(row pgx.CollectableRow) (SendingAddress, error) {
	var s SendingAddress
	err := row.Scan(&s.ID, &s.Channel, &s.Address, &s.PerSecond, &s.Slowdown, &s.NextSlotAt, &s.BacklogAt)
	s.NextSlotAt, s.BacklogAt = s.NextSlotAt.UTC(), s.BacklogAt.UTC()
	return s, err
}

const senderColumns = `id, channel, address, per_second::float8, slowdown::float8, next_slot_at, backlog_at`

const (
	tagSenders   = "Senders"
	targetSender = "sender"
)

func (a *API) registerSenders(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/senders", id: "listSenders", tag: tagSenders, summary: "List sending addresses, newest first",
		description: "An address is here from its first message on.",
	}, a.listSenders)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPatch, path: "/senders/{id}", id: "updateSender", tag: tagSenders, summary: "Set the pace of a sending address",
		description: "Holds for all workers from the answer on; messages that have their slot keep it.",
	}, a.updateSender)
}

type listSendersInput struct{ Paging }

func (a *API) listSenders(ctx context.Context, in *listSendersInput) (*pageOutput[SendingAddress], error) {
	const list = "senders"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	rows, err := a.opts.Pool.Query(ctx, `
		SELECT `+senderColumns+`
		FROM senders
		WHERE id < $1
		ORDER BY id DESC
		LIMIT $2`, behind.above(), in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list senders: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanSender)
	if err != nil {
		return nil, fmt.Errorf("list senders: %w", err)
	}
	return page(in.Paging, list, found, func(s SendingAddress) SendingAddress { return s }, func(s SendingAddress) any { return byID{s.ID} })
}

type updateSenderInput struct {
	ID   int64 `path:"id" minimum:"1"`
	Body struct {
		PerSecond float64 `json:"per_second" exclusiveMinimum:"0" maximum:"10000"`
		Reason    string  `json:"reason" minLength:"1" maxLength:"2000" doc:"Why: kept in the operators' log"`
	}
}

func (a *API) updateSender(ctx context.Context, in *updateSenderInput) (*answer[SendingAddress], error) {
	reason := strings.TrimSpace(in.Body.Reason)
	if reason == "" {
		return nil, invalid("body.reason", "is empty: it goes to the operators' log")
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[SendingAddress], error) {
		tag, err := u.Exec(ctx, `
			UPDATE senders
			SET per_second = $2::float8
			WHERE id = $1 AND per_second IS DISTINCT FROM $2::float8::numeric`, in.ID, in.Body.PerSecond)
		if err != nil {
			return nil, fmt.Errorf("update sender: %w", err)
		}
		rows, err := u.Query(ctx, `SELECT `+senderColumns+` FROM senders WHERE id = $1`, in.ID)
		if err != nil {
			return nil, fmt.Errorf("update sender: %w", err)
		}
		s, err := pgx.CollectExactlyOneRow(rows, scanSender)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, notFound(targetSender)
		}
		if err != nil {
			return nil, fmt.Errorf("update sender: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return &answer[SendingAddress]{Status: http.StatusOK, Body: s}, nil
		}
		_, err = u.record(ctx, "sender.update", targetSender, strconv.FormatInt(s.ID, 10), reason, map[string]any{"per_second": s.PerSecond})
		return &answer[SendingAddress]{Status: http.StatusOK, Body: s}, err
	})
}
