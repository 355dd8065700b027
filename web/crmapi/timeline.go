package crmapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// TimelineItem is one thing that happened to a business.
type TimelineItem struct {
	At      time.Time      `json:"at" doc:"When it was recorded: the order of the timeline"`
	Kind    string         `json:"kind" enum:"transition,message,reply,payment,action"`
	Event   string         `json:"event" doc:"The event of a transition, the state of a message, what was made of a reply, what was done"`
	Axis    *string        `json:"axis"`
	From    *string        `json:"from"`
	To      *string        `json:"to"`
	Verdict *string        `json:"verdict" doc:"What the fact did: applied, no_change, stale, blocked, corrected"`
	Source  TimelineSource `json:"source"`
	Note    *string        `json:"note"`

	OccurredAt *time.Time `json:"occurred_at,omitempty" doc:"When it happened, by the clock of whoever reported it"`
	Channel    string     `json:"channel,omitempty"`
	FactID     int64      `json:"fact_id,omitempty"`
	JobID      int64      `json:"job_id,omitempty"`
	ActionID   int64      `json:"action_id,omitempty"`
	ReceiptID  *uuid.UUID `json:"receipt_id,omitempty" format:"uuid"`
	MessageID  *uuid.UUID `json:"message_id,omitempty" format:"uuid"`

	Job     *TimelineJob     `json:"job,omitempty" doc:"The job that recorded the fact, for as long as the queue keeps it"`
	Receipt *TimelineReceipt `json:"receipt,omitempty" doc:"The raw request that led to it, until its retention ends"`
}

// TimelineJob is how a job stands.
type TimelineJob struct {
	ID          int64  `json:"id"`
	Kind        string `json:"kind"`
	State       string `json:"state"`
	Attempt     int    `json:"attempt"`
	MaxAttempts int    `json:"max_attempts"`
	LastError   string `json:"last_error,omitempty" doc:"Of its last attempt that failed"`
}

// TimelineReceipt names a raw request and what came of it.
type TimelineReceipt struct {
	ID         uuid.UUID `json:"id" format:"uuid"`
	Provider   string    `json:"provider"`
	Kind       string    `json:"kind"`
	ReceivedAt time.Time `json:"received_at"`
	Outcome    string    `json:"outcome" enum:"applied,no_change,ignored,unmatched,failed,pending"`
}

// TimelineSource says where an item can be followed back to.
type TimelineSource struct {
	Type string  `json:"type" doc:"webhook, message, operator, api, import or system"`
	ID   *string `json:"id" doc:"The receipt's id, the message's id, or the actor's name"`
}

func viewTimelineItem(i pgstore.TimelineItem) TimelineItem {
	return TimelineItem{
		At: i.At, Kind: i.Kind, Event: i.Event, Axis: orNull(i.Axis), From: orNull(i.From), To: orNull(i.To), Verdict: orNull(i.Verdict),
		Source: TimelineSource{Type: i.Source.Type, ID: orNull(i.Source.ID)}, Note: orNull(i.Note),
		OccurredAt: i.OccurredAt, Channel: i.Channel, FactID: i.FactID, JobID: i.JobID, ActionID: i.ActionID,
		ReceiptID: orNull(i.ReceiptID), MessageID: orNull(i.MessageID),
		Job: (*TimelineJob)(i.Job), Receipt: (*TimelineReceipt)(i.Receipt),
	}
}

func (a *API) registerTimeline(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/businesses/{id}/timeline", id: "getTimeline", tag: tagBusinesses,
		summary: "Everything that happened to a business, newest first",
		description: "Transitions with verdict and source, messages, replies, payments, operators' actions; with the job that recorded " +
			"a fact and the raw request that led to it.",
	}, a.getTimeline)
}

type timelineInput struct {
	PathID
	Paging
}

func (a *API) getTimeline(ctx context.Context, in *timelineInput) (*pageOutput[TimelineItem], error) {
	list := "timeline:" + in.ID.String()
	before, err := position[pgstore.TimelinePosition](in.Paging, list)
	if err != nil {
		return nil, err
	}
	b, err := business(ctx, a.opts.Pool, in.ID)
	if err != nil {
		return nil, err
	}
	items, err := pgstore.Timeline(ctx, a.opts.Pool, b.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return page(in.Paging, list, items, viewTimelineItem, func(i pgstore.TimelineItem) any { return i.Position })
}
