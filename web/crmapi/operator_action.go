package crmapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"onward/web/apitoken"
)

// OperatorAction is an entry of the operators' log.
type OperatorAction struct {
	ID         int64           `json:"id"`
	At         time.Time       `json:"at"`
	Actor      string          `json:"actor" doc:"Name of the token, or of the user at the command line"`
	Action     string          `json:"action"`
	TargetType string          `json:"target_type"`
	TargetID   string          `json:"target_id"`
	Reason     *string         `json:"reason"`
	Details    json.RawMessage `json:"details"`
}

func (a *API) registerOperatorActions(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/operator-actions", id: "listOperatorActions", tag: "Operators' log",
		summary: "Who did what, and why, newest first",
	}, a.listOperatorActions)
}

type listOperatorActionsInput struct {
	Paging
	Actor      string    `query:"actor" maxLength:"100"`
	Action     string    `query:"action" maxLength:"100" doc:"As campaign.send; or the part before the dot and the dot: all of campaign."`
	TargetType string    `query:"target_type" maxLength:"50"`
	TargetID   string    `query:"target_id" maxLength:"300"`
	After      time.Time `query:"after"`
	Before     time.Time `query:"before"`
}

func (a *API) listOperatorActions(ctx context.Context, in *listOperatorActionsInput) (*pageOutput[OperatorAction], error) {
	const list = "operator-actions"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	if in.TargetID != "" && in.TargetType == "" {
		return nil, invalid("query.target_type", "is needed with a target_id")
	}
	condition, args := `id < $1`, []any{behind.above()}
	where := func(given bool, sql string, arg any) {
		if given {
			args = append(args, arg)
			condition += fmt.Sprintf("\n\t\tAND "+sql, len(args))
		}
	}
	where(in.Actor != "", `actor = $%d`, in.Actor)
	where(in.Action != "", `(action = $%[1]d OR right($%[1]d, 1) = '.' AND starts_with(action, $%[1]d))`, in.Action)
	where(in.TargetType != "", `target_type = $%d`, in.TargetType)
	where(in.TargetID != "", `target_id = $%d`, in.TargetID)
	where(!in.After.IsZero(), `at > $%d`, in.After)
	where(!in.Before.IsZero(), `at < $%d`, in.Before)
	rows, err := a.opts.Pool.Query(ctx, `
		SELECT id, at, actor, action, target_type, target_id, reason, details
		FROM operator_actions
		WHERE `+condition+fmt.Sprintf(`
		ORDER BY id DESC
		LIMIT $%d`, len(args)+1), append(args, in.Limit+1)...)
	if err != nil {
		return nil, fmt.Errorf("list operators' actions: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (OperatorAction, error) {
		var o OperatorAction
		var reason string
		var details []byte
		err := row.Scan(&o.ID, &o.At, &o.Actor, &o.Action, &o.TargetType, &o.TargetID, &reason, &details)
		o.At, o.Reason, o.Details = o.At.UTC(), orNull(reason), details
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("list operators' actions: %w", err)
	}
	return page(in.Paging, list, found, func(o OperatorAction) OperatorAction { return o }, func(o OperatorAction) any { return byID{o.ID} })
}
