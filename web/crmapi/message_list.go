package crmapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

type listMessagesInput struct {
	Paging
	CampaignID uuid.UUID `query:"campaign_id" format:"uuid"`
	BusinessID uuid.UUID `query:"business_id" format:"uuid"`
	State      []string  `query:"state" doc:"Any of these, with commas"`
}

func (a *API) listMessages(ctx context.Context, in *listMessagesInput) (*pageOutput[Message], error) {
	const list = "messages"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	if err := checkAnyOf("query.state", in.State, lifecycle.MessageStates()); err != nil {
		return nil, err
	}
	found, last, err := a.findMessages(ctx, in, behind.above(), messageWindow, messageBudget)
	if err != nil {
		return nil, fmt.Errorf("list messages: %w", err)
	}
	out, err := page(in.Paging, list, found,
		func(m messageRow) Message { return m.Message },
		func(m messageRow) any { return byID{m.id} })
	if err == nil && last != 0 {
		out.Body.NextCursor, err = encodeCursor(list, byID{last})
	}
	return out, err
}

// No index has the states of messages: each send would write it several times. So messages are looked through in order, so
// many at a time, for as long as the budget lasts; those of a campaign or business among themselves.
const (
	messageWindow = 500
	messageBudget = 15 * time.Millisecond
)

// findMessages returns up to one more than a page below an id, and, where it gave up before the page was full, the id down to
// which it looked.
func (a *API) findMessages(
	ctx context.Context, in *listMessagesInput, below int64, window int, budget time.Duration,
) (found []messageRow, last int64, err error) {
	// Only the conditions that are asked for, so that each can have its index.
	condition, args := `m.id < $1`, []any{&below}
	where := func(sql string, arg any) {
		args = append(args, arg)
		condition += fmt.Sprintf("\n\t\tAND "+sql, len(args))
	}
	if in.CampaignID != uuid.Nil {
		where(`m.campaign_id = (SELECT id FROM campaigns WHERE public_id = $%d)`, in.CampaignID)
	}
	if in.BusinessID != uuid.Nil {
		where(`m.business_id = (SELECT id FROM businesses WHERE public_id = $%d)`, in.BusinessID)
	}
	if len(in.State) > 0 && !slices.ContainsFunc(in.State, func(s string) bool { return !open(s) }) {
		// These are few, and each has a row in dispatches.
		where(`m.id IN (SELECT message_id FROM dispatches) AND m.state = ANY($%d)`, in.State)
	} else if len(in.State) > 0 {
		return a.findInWindows(ctx, in, condition, args, &below, window, budget)
	}
	args = append(args, in.Limit+1)
	rows, err := a.opts.Pool.Query(ctx, messageQuery+condition+fmt.Sprintf(`
		ORDER BY m.id DESC
		LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, 0, err
	}
	found, err = pgx.CollectRows(rows, scanMessage)
	return found, 0, err
}

// open reports whether a message of this state has a provider call whose outcome is not known.
func open(state string) bool {
	return lifecycle.MessageState(state).Rank() == lifecycle.MessageUnknown.Rank()
}

// findInWindows looks through the messages of a condition that holds below an id, which it moves.
func (a *API) findInWindows(
	ctx context.Context, in *listMessagesInput, condition string, args []any, below *int64, window int, budget time.Duration,
) (found []messageRow, last int64, err error) {
	until := time.Now().Add(budget)
	looked := fmt.Sprintf(`
		SELECT m.id, m.state
		FROM messages m
		WHERE %s
		ORDER BY m.id DESC
		LIMIT %d`, condition, window)
	n := len(args)
	for {
		batch := &pgx.Batch{}
		batch.Queue(fmt.Sprintf(`
			WITH looked AS MATERIALIZED (%s
			)
			%sm.id IN (SELECT id FROM looked WHERE state = ANY($%d))
			ORDER BY m.id DESC
			LIMIT $%d`, looked, messageQuery, n+1, n+2), append(args[:n:n], in.State, in.Limit+1-len(found))...)
		batch.Queue(`SELECT count(*), COALESCE(min(id), 0) FROM (`+looked+`) l`, args...)
		results := a.opts.Pool.SendBatch(ctx, batch)
		rows, _ := results.Query() // its error is that of the rows
		part, err := pgx.CollectRows(rows, scanMessage)
		var seen int
		var least int64
		if err == nil {
			err = results.QueryRow().Scan(&seen, &least)
		}
		if closed := results.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return nil, 0, err
		}
		found = append(found, part...)
		if len(found) > in.Limit || seen < window {
			return found, 0, nil
		}
		if *below = least; time.Now().After(until) {
			return found, least, nil
		}
	}
}
