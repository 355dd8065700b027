package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Message is one message to one business.
type Message struct {
	ID          uuid.UUID  `json:"id" format:"uuid"`
	CampaignID  *uuid.UUID `json:"campaign_id" format:"uuid" nullable:"true"`
	BusinessID  uuid.UUID  `json:"business_id" format:"uuid"`
	Channel     string     `json:"channel" enum:"sms,email"`
	To          string     `json:"to"`
	Body        string     `json:"body"`
	Subject     string     `json:"subject"`
	State       string     `json:"state"`
	Reason      *string    `json:"reason" doc:"Why it is failed, canceled, unknown or held, in a word"`
	ProviderSID *string    `json:"provider_sid"`
	ErrorCode   *string    `json:"error_code"`
	Segments    *int       `json:"segments"`
	Attempt     int        `json:"attempt"`
	QueuedAt    time.Time  `json:"queued_at"`
	SentAt      *time.Time `json:"sent_at"`
	DeliveredAt *time.Time `json:"delivered_at"`
}

type messageRow struct {
	id int64
	Message
}

const messageQuery = `
	SELECT m.id, m.public_id, c.public_id, b.public_id, m.channel, m.address, m.body, m.subject, m.state, m.reason, m.provider_sid,
		m.error_code, m.segments, m.attempt, m.queued_at, m.sent_at, m.delivered_at
	FROM messages m
	JOIN businesses b ON b.id = m.business_id
	LEFT JOIN campaigns c ON c.id = m.campaign_id
	WHERE `

func scanMessage(row pgx.CollectableRow) (messageRow, error) {
	var m messageRow
	err := row.Scan(&m.id, &m.ID, &m.CampaignID, &m.BusinessID, &m.Channel, &m.To, &m.Body, &m.Subject, &m.State, &m.Reason, &m.ProviderSID,
		&m.ErrorCode, &m.Segments, &m.Attempt, &m.QueuedAt, &m.SentAt, &m.DeliveredAt)
	m.QueuedAt, m.SentAt, m.DeliveredAt = m.QueuedAt.UTC(), utc(m.SentAt), utc(m.DeliveredAt)
	return m, err
}

func message(ctx context.Context, q pgstore.Querier, id uuid.UUID) (messageRow, error) {
	rows, err := q.Query(ctx, messageQuery+`m.public_id = $1`, id)
	if err != nil {
		return messageRow{}, fmt.Errorf("read message: %w", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMessage)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, notFound(targetMessage)
	}
	if err != nil {
		return m, fmt.Errorf("read message: %w", err)
	}
	return m, nil
}

const tagMessages = "Messages"

func (a *API) registerMessages(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/messages", id: "listMessages", tag: tagMessages, summary: "List messages, newest first",
		description: "Where a state is rare, a page holds what a bounded look found: follow next_cursor.",
	}, a.listMessages)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/messages/{id}", id: "getMessage", tag: tagMessages, summary: "One message",
	}, a.getMessage)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/messages/{id}/resolve", id: "resolveMessage", tag: tagMessages,
		summary: "Say what became of a send whose outcome is unknown",
		description: "For messages that are unknown or held. sent: it counts as handed over at the time of its attempt. " +
			"not_sent: it is queued again, so make sure that it is true.",
	}, a.resolveMessage)
}

func (a *API) getMessage(ctx context.Context, in *PathID) (*struct{ Body Message }, error) {
	m, err := message(ctx, a.opts.Pool, in.ID)
	return &struct{ Body Message }{m.Message}, err
}
