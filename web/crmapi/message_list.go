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
	found, last, err := a.findMessages(ctx, in, behind.above(), messageBudget)
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

// messageBudget is how long messages are looked through for a state, in order, those of a campaign or business among themselves.
// No index has their states: each send would write it several times.
const messageBudget = 15 * time.Millisecond

// findMessages returns up to one more than a page below an id; or, of those that had to be looked for, up to a page, and the id
// down to which it looked where there may be more.
func (a *API) findMessages(
	ctx context.Context, in *listMessagesInput, below int64, budget time.Duration,
) (found []messageRow, last int64, err error) {
	// Only the conditions that are asked for, so that each can have its index.
	condition, args := `m.id < $1`, []any{below}
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
		return a.lookThrough(ctx, in, condition, args, budget)
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

// lookThrough goes through the messages of a condition, newest first, and takes those of a state, until a page is full, nothing
// is left, or the budget is used up. It returns the id behind which the list goes on; 0 where nothing is left. A page of
// messages it always looks at.
func (a *API) lookThrough(
	ctx context.Context, in *listMessagesInput, condition string, args []any, budget time.Duration,
) ([]messageRow, int64, error) {
	type looked struct {
		ID      int64
		Matches bool
	}
	n := len(args)
	// Once the time is up each one is taken, whether it matches or not, and the limit ends it.
	rows, err := a.opts.Pool.Query(ctx, fmt.Sprintf(`
		SELECT m.id, m.state = ANY($%d) AS matches
		FROM messages m
		WHERE %s
			AND (clock_timestamp() > statement_timestamp() + $%d * interval '1 microsecond' OR m.state = ANY($%[1]d))
		ORDER BY m.id DESC
		LIMIT $%[4]d`, n+1, condition, n+2, n+3), append(args, in.State, budget.Microseconds(), in.Limit+1)...)
	if err != nil {
		return nil, 0, err
	}
	seen, err := pgx.CollectRows(rows, pgx.RowToStructByPos[looked])
	if err != nil {
		return nil, 0, err
	}
	var next int64
	matches := make([]int64, 0, len(seen))
	for _, l := range seen {
		if l.Matches {
			matches = append(matches, l.ID)
		}
	}
	switch {
	case len(matches) > in.Limit:
		matches = matches[:in.Limit]
		next = matches[in.Limit-1]
	case len(seen) > in.Limit:
		next = seen[in.Limit].ID
	}
	if len(matches) == 0 {
		return nil, next, nil
	}
	rows, err = a.opts.Pool.Query(ctx, messageQuery+`m.id = ANY($1) AND m.state = ANY($2)
		ORDER BY m.id DESC`, matches, in.State)
	if err != nil {
		return nil, 0, err
	}
	found, err := pgx.CollectRows(rows, scanMessage)
	return found, next, err
}
