package crmapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/jobs/jobadmin"
	"onward/web/apitoken"
)

// Queue is a queue of jobs.
type Queue struct {
	Name      string           `json:"name"`
	Counts    map[string]int64 `json:"counts" doc:"Jobs by state: available, running, scheduled, retryable, discarded. 2001 stands for more than 2000"`
	Oldest    *time.Time       `json:"oldest_waiting_at" doc:"Since when the job has waited that waits longest; null: none waits"`
	PausedAt  *time.Time       `json:"paused_at" doc:"null while it is worked"`
	PausedBy  *string          `json:"paused_by"`
	PausedFor *string          `json:"paused_for" doc:"The reason that was given"`
}

func (a *API) registerQueues(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/queues", id: "listQueues", tag: tagJobs, summary: "How the queues stand",
		description: "Counts stop at " + strconv.Itoa(jobadmin.QueueCounted) + ". Not paged.",
	}, a.listQueues)
	for _, verb := range []string{"pause", "resume"} {
		summary := "Stop working a queue's jobs, in all processes; what runs goes on"
		if verb == "resume" {
			summary = "Go on with a queue that was paused"
		}
		register(a, h, apitoken.Operator, operation{
			method: http.MethodPost, path: "/queues/{name}/" + verb, id: verb + "Queue", tag: tagJobs, summary: summary,
		}, func(ctx context.Context, in *pauseQueueInput) (*answer[Queue], error) {
			return a.pauseQueue(ctx, in, verb == "pause")
		})
	}
}

func (a *API) listQueues(ctx context.Context, _ *struct{ Whole }) (*pageOutput[Queue], error) {
	out := &pageOutput[Queue]{}
	return out, a.read(ctx, func(tx pgx.Tx) error {
		list, err := jobadmin.Queues(ctx, tx, jobs.Queues())
		out.Body.Items = make([]Queue, 0, len(list))
		for _, q := range list {
			out.Body.Items = append(out.Body.Items, viewQueue(q))
		}
		return err
	})
}

func viewQueue(q jobadmin.Queue) Queue {
	return Queue{
		Name: q.Name, Counts: q.Counts, Oldest: utc(q.Oldest), PausedAt: utc(q.PausedAt), PausedBy: orNull(q.PausedBy), PausedFor: orNull(q.PausedFor),
	}
}

type pauseQueueInput struct {
	Name string `path:"name" maxLength:"100"`
	Body struct {
		Reason string `json:"reason" maxLength:"2000" doc:"Why: kept in the operators' log"`
	}
}

func (a *API) pauseQueue(ctx context.Context, in *pauseQueueInput, pause bool) (*answer[Queue], error) {
	reason := strings.TrimSpace(in.Body.Reason)
	if reason == "" {
		return nil, invalid("body.reason", "is missing: it goes to the operators' log")
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Queue], error) {
		err := jobadmin.PauseQueue(ctx, u.Tx, u.river, in.Name, pause, jobadmin.Operator{Actor: u.actor.Name, TokenID: u.actor.ID, Reason: reason})
		if errors.Is(err, jobadmin.ErrNoQueue) {
			return nil, notFound("queue that was ever worked")
		}
		if err != nil {
			return nil, err
		}
		list, err := jobadmin.Queues(ctx, u.Tx, []string{in.Name})
		if err != nil {
			return nil, err
		}
		return &answer[Queue]{Status: http.StatusOK, Body: viewQueue(list[0])}, nil
	})
}
