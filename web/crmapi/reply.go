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

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Reply is a message that somebody wrote to us.
type Reply struct {
	ID            uuid.UUID  `json:"id" format:"uuid"`
	BusinessID    *uuid.UUID `json:"business_id" format:"uuid" doc:"Null where nobody is known by the address"`
	BusinessName  *string    `json:"business_name"`
	ContactStatus *string    `json:"contact_status"`
	Channel       string     `json:"channel" enum:"sms,email"`
	From          string     `json:"from"`
	To            string     `json:"to" doc:"Which of our addresses it came to"`
	Body          string     `json:"body"`
	Media         []string   `json:"media" nullable:"false" doc:"Addresses of pictures and other files, at the provider"`
	Action        string     `json:"action" enum:"reply,opt_out,opt_in,help" doc:"What was made of it"`
	ReceivedAt    time.Time  `json:"received_at"`
	ReceiptID     uuid.UUID  `json:"receipt_id" format:"uuid" doc:"The raw request"`
	InReplyTo     *uuid.UUID `json:"in_reply_to" format:"uuid" doc:"Our message that it most likely answers"`
	Open          bool       `json:"open" doc:"It waits for an answer: a reply of somebody who has not opted out, which was neither answered nor marked as done"`
	HandledAt     *time.Time `json:"handled_at"`
	HandledBy     *string    `json:"handled_by"`
	AnswerID      *uuid.UUID `json:"answer_id" format:"uuid" doc:"The message that answers it"`
}

type replyRow struct {
	id         int64
	businessID *int64
	Reply
}

// replyOpen holds for a reply i, of a business b, that waits for an answer. An answer that came to nothing is none.
const replyOpen = `(i.action = 'reply' AND b.opted_out IS NOT TRUE AND (i.handled_at IS NULL OR COALESCE(a.state IN ('failed', 'undelivered', 'canceled'), false)))`

const replyQuery = `
	SELECT i.id, i.business_id, i.public_id, b.public_id, b.name, b.contact_status, i.channel, i.from_address, i.to_address, i.body, i.media, i.action,
		i.received_at, i.receipt_id, m.public_id, ` + replyOpen + `, i.handled_at, i.handled_by, a.public_id
	FROM inbound_messages i
	LEFT JOIN businesses b ON b.id = i.business_id
	LEFT JOIN messages m ON m.id = i.message_id
	LEFT JOIN messages a ON a.id = i.answer_id
	WHERE `

func scanReply(row pgx.CollectableRow) (replyRow, error) {
	var r replyRow
	err := row.Scan(&r.id, &r.businessID, &r.ID, &r.BusinessID, &r.BusinessName, &r.ContactStatus, &r.Channel, &r.From, &r.To, &r.Body, &r.Media, &r.Action,
		&r.ReceivedAt, &r.ReceiptID, &r.InReplyTo, &r.Open, &r.HandledAt, &r.HandledBy, &r.AnswerID)
	r.ReceivedAt, r.HandledAt = r.ReceivedAt.UTC(), utc(r.HandledAt)
	return r, err
}

const targetReply = "reply"

func reply(ctx context.Context, q pgstore.Querier, id uuid.UUID) (replyRow, error) {
	rows, err := q.Query(ctx, replyQuery+`i.public_id = $1`, id)
	if err != nil {
		return replyRow{}, fmt.Errorf("read reply: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReply)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, notFound(targetReply)
	}
	if err != nil {
		return r, fmt.Errorf("read reply: %w", err)
	}
	return r, nil
}

const tagReplies = "Replies"

func (a *API) registerReplies(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/replies", id: "listReplies", tag: tagReplies, summary: "The inbox: what businesses wrote to us, newest first",
		description: "One item a business, its newest; with business_id, everything that it wrote. open is what waits for an answer, done " +
			"what was answered or marked as done, all any message, opt-outs and requests for help too. Answer with createMessage.",
	}, a.listReplies)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/replies/{id}", id: "getReply", tag: tagReplies, summary: "One message that somebody wrote to us",
	}, a.getReply)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/replies/{id}/done", id: "markReplyDone", tag: tagReplies, summary: "Mark a reply as done",
		description: "It needs no answer: it and all that the same business wrote before leave the inbox.",
	}, a.markReply(true))
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/replies/{id}/reopen", id: "reopenReply", tag: tagReplies, summary: "Put a reply back into the inbox",
	}, a.markReply(false))
}

func (a *API) getReply(ctx context.Context, in *PathID) (*struct{ Body Reply }, error) {
	r, err := reply(ctx, a.opts.Pool, in.ID)
	return &struct{ Body Reply }{r.Reply}, err
}

type listRepliesInput struct {
	Paging
	State      string    `query:"state" enum:"open,done,all" default:"open"`
	Action     []string  `query:"action" doc:"With all: any of these, with commas"`
	BusinessID uuid.UUID `query:"business_id" format:"uuid"`
}

func (a *API) listReplies(ctx context.Context, in *listRepliesInput) (*pageOutput[Reply], error) {
	const list = "replies"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	if err := checkAnyOf("query.action", in.Action, []string{"reply", "opt_out", "opt_in", "help"}); err != nil {
		return nil, err
	}
	q := repliesQuery(in, behind.above())
	rows, err := a.opts.Pool.Query(ctx, q.sql, q.args...)
	if err != nil {
		return nil, fmt.Errorf("list replies: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanReply)
	if err != nil {
		return nil, fmt.Errorf("list replies: %w", err)
	}
	return page(in.Paging, list, found,
		func(r replyRow) Reply { return r.Reply },
		func(r replyRow) any { return byID{r.id} })
}

type listQuery struct {
	sql  string
	args []any
}

func repliesQuery(in *listRepliesInput, behind int64) listQuery {
	q := listQuery{args: []any{behind, in.Limit + 1}}
	arg := func(v any) string {
		q.args = append(q.args, v)
		return fmt.Sprintf("$%d", len(q.args))
	}
	var and strings.Builder
	newest := `action IN ('reply', 'opt_out')` // whoever wrote STOP since waits for no answer
	if in.State == "all" {
		newest = `action IS NOT NULL`
		if len(in.Action) > 0 {
			newest = `action = ANY(` + arg(in.Action) + `)`
			and.WriteString("\n\t\tAND i." + newest)
		}
	}
	if in.BusinessID != uuid.Nil {
		and.WriteString("\n\t\tAND i.business_id = (SELECT id FROM businesses WHERE public_id = " + arg(in.BusinessID) + ")")
	} else {
		and.WriteString("\n\t\tAND NOT EXISTS (SELECT 1 FROM inbound_messages j WHERE j.business_id = i.business_id AND j.id > i.id AND j." + newest + ")")
	}
	const order = "\n\tORDER BY i.id DESC\n\tLIMIT $2"
	top := replyQuery + "i.id < $1" + and.String()
	switch in.State {
	case "open":
		// Each half by its own index: what waits, and what was answered in vain.
		q.sql = "(" + top + "\n\t\tAND " + replyOpen + " AND i.action = 'reply' AND i.handled_at IS NULL" + order + ")\n\tUNION ALL (" +
			top + "\n\t\tAND " + replyOpen + " AND i.handled_at IS NOT NULL AND i.answer_id IS NOT NULL" + order + ")\n\tORDER BY 1 DESC\n\tLIMIT $2"
	case "done":
		q.sql = top + "\n\t\tAND i.action = 'reply' AND NOT " + replyOpen + order
	default:
		q.sql = top + order
	}
	return q
}

type markReplyInput struct {
	PathID
	Body *struct {
		Reason *string `json:"reason,omitempty" nullable:"true" maxLength:"2000" doc:"Goes to the operators' log"`
	}
}

// markReply takes a reply out of the inbox, or puts it back.
func (a *API) markReply(done bool) func(context.Context, *markReplyInput) (*answer[Reply], error) {
	return func(ctx context.Context, in *markReplyInput) (*answer[Reply], error) {
		return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Reply], error) {
			r, err := reply(ctx, u, in.ID)
			if err != nil {
				return nil, err
			}
			name := "reply.reopen"
			if done {
				name = "reply.done"
				err = u.handle(ctx, r, nil)
			} else {
				_, err = u.Exec(ctx, `
					UPDATE inbound_messages
					SET handled_at = NULL, handled_by = NULL, answer_id = NULL
					WHERE id = $1`, r.id)
			}
			if err != nil {
				return nil, fmt.Errorf("mark a reply: %w", err)
			}
			reason := ""
			if in.Body != nil {
				reason = strings.TrimSpace(orZero(in.Body.Reason))
			}
			if _, err := u.record(ctx, name, targetReply, in.ID.String(), reason, nil); err != nil {
				return nil, err
			}
			r, err = reply(ctx, u, in.ID)
			return &answer[Reply]{Status: http.StatusOK, Body: r.Reply}, err
		})
	}
}

// handle notes that a reply, and all that waits of the same business since before it, is answered by a message, or
// marked as done (nil).
func (u *unit) handle(ctx context.Context, r replyRow, message *int64) error {
	_, err := u.Exec(ctx, `
		UPDATE inbound_messages i
		SET handled_at = now(), handled_by = $3, answer_id = $4
		WHERE i.id = $1 OR i.business_id = $2 AND i.id < $1 AND i.action = 'reply' AND (i.handled_at IS NULL OR i.answer_id IN (
			SELECT a.id
			FROM messages a
			WHERE a.business_id = $2 AND a.state IN ('failed', 'undelivered', 'canceled')
		))`, r.id, r.businessID, u.actor.Name, message)
	return err
}
