package crmapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/jobs/jobadmin"
	"onward/web/apitoken"
)

// maxJobsActed bounds one request, which is one transaction: some seconds.
const maxJobsActed = 10_000

// JobFilter selects jobs in a body.
type JobFilter struct {
	ID          []int64   `json:"ids,omitempty" maxItems:"10000"`
	Kind        anyOf     `json:"kind,omitempty"`
	State       anyOf     `json:"state,omitempty" doc:"To retry: retryable and discarded unless named; to cancel: all that are not over"`
	Queue       anyOf     `json:"queue,omitempty"`
	Error       string    `json:"error,omitempty" maxLength:"500" doc:"Part of the last error, in any case"`
	Fingerprint string    `json:"fingerprint,omitempty" maxLength:"50"`
	Since       time.Time `json:"since,omitempty" doc:"Attempted last, or else created, at or after"`
}

// JobsActed is what an act on jobs came to.
type JobsActed struct {
	DryRun    bool         `json:"dry_run"`
	ActionID  int64        `json:"action_id,omitempty" doc:"Of the entry in the operators' log, which each job names in its metadata"`
	Matched   int          `json:"matched"`
	Done      int          `json:"done" doc:"Retried or cancelled; with dry_run: that would be"`
	Refused   int          `json:"refused"`
	Refusals  []JobRefusal `json:"refusals" nullable:"false" doc:"The first 100 that were left as they are, and why"`
	Limit     int          `json:"limit" doc:"How many jobs one request acts on"`
	Remaining int          `json:"remaining" doc:"That matched beyond the limit and are as they were: send the request again"`
}

// JobRefusal is a job that was left as it is.
type JobRefusal struct {
	JobID  int64  `json:"job_id"`
	Code   string `json:"code" enum:"unresolved_send,newer_job,changed"`
	Detail string `json:"detail"`
}

func (a *API) registerJobActs(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/jobs/retry", id: "retryJobs", tag: tagJobs, summary: "Put jobs back that failed",
		description: "All that match, the oldest first, at most " + strconv.Itoa(maxJobsActed) + " a request. A send whose message is unknown or held is " +
			"left until that is resolved, and a job that a newer one stands in for is left as well. dry_run changes nothing.",
	}, a.retryJobs)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/jobs/cancel", id: "cancelJobs", tag: tagJobs, summary: "End jobs that are not over",
		description: "All that match, at most " + strconv.Itoa(maxJobsActed) + " a request. A cancelled send leaves its message queued, a cancelled " +
			"receipt job its receipt unapplied: to stop a campaign, cancel the campaign.",
	}, a.cancelJobs)
}

type retryJobsInput struct {
	Body struct {
		Filter    JobFilter `json:"filter"`
		DryRun    bool      `json:"dry_run,omitempty"`
		Reason    string    `json:"reason,omitempty" maxLength:"2000" doc:"Why: kept in the operators' log. Needed unless dry_run"`
		PerSecond float64   `json:"per_second,omitempty" minimum:"0" maximum:"10000" doc:"Spread them, so many a second; 0: at once"`
	}
}

func (a *API) retryJobs(ctx context.Context, in *retryJobsInput) (*answer[JobsActed], error) {
	b := in.Body
	return a.actOnJobs(ctx, jobadmin.Retry, b.Filter, b.DryRun, b.Reason, b.PerSecond)
}

type cancelJobsInput struct {
	Body struct {
		Filter JobFilter `json:"filter"`
		DryRun bool      `json:"dry_run,omitempty"`
		Reason string    `json:"reason,omitempty" maxLength:"2000" doc:"Why: kept in the operators' log. Needed unless dry_run"`
	}
}

func (a *API) cancelJobs(ctx context.Context, in *cancelJobsInput) (*answer[JobsActed], error) {
	b := in.Body
	return a.actOnJobs(ctx, jobadmin.Cancel, b.Filter, b.DryRun, b.Reason, 0)
}

func (a *API) actOnJobs(ctx context.Context, verb jobadmin.Verb, filter JobFilter, dry bool, reason string, perSecond float64) (*answer[JobsActed], error) {
	reason = strings.TrimSpace(reason)
	if reason == "" && !dry {
		return nil, invalid("body.reason", "is missing: it goes to the operators' log")
	}
	if err := nameSome("body.filter.", map[string]anyOf{"kind": filter.Kind, "state": filter.State, "queue": filter.Queue}); err != nil {
		return nil, err
	}
	f, err := verb.Prepare(jobadmin.Filter{
		IDs: filter.ID, Kinds: filter.Kind, States: filter.State, Queues: filter.Queue, Error: filter.Error,
		Fingerprint: filter.Fingerprint, Since: filter.Since,
	})
	if err != nil {
		return nil, invalidFilter("body.filter.", err)
	}
	out, err := act(ctx, a, func(ctx context.Context, u *unit) (*answer[JobsActed], error) {
		ids, err := jobadmin.Select(ctx, u, f)
		if err != nil {
			return nil, err
		}
		matched := len(ids)
		ids = ids[:min(matched, maxJobsActed)]
		if dry {
			r, err := jobadmin.Inspect(ctx, u, verb, ids)
			r.Done = len(ids) - r.Refused
			return viewActed(r, matched, true), err
		}
		action, err := jobadmin.Begin(ctx, u, verb, jobadmin.Operator{Actor: u.actor.Name, TokenID: u.actor.ID, Reason: reason}, f, matched)
		if err != nil {
			return nil, err
		}
		var spacing time.Duration
		if perSecond > 0 {
			spacing = time.Duration(float64(time.Second) / perSecond)
		}
		r, err := jobadmin.Apply(ctx, u, u.river, verb, action, ids, spacing, 0)
		if err != nil {
			return nil, err
		}
		u.queues = append(u.queues, r.Queues...)
		out := viewActed(r, matched, false)
		out.Body.ActionID = action
		return out, jobadmin.Note(ctx, u, action, r)
	})
	if jobadmin.MetTwin(err) {
		return nil, huma.Error409Conflict("a job that does the same work as one of these was enqueued at this moment: try again")
	}
	return out, err
}

func viewActed(r jobadmin.Result, matched int, dry bool) *answer[JobsActed] {
	out := &answer[JobsActed]{Status: http.StatusOK, Body: JobsActed{
		DryRun: dry, Matched: matched, Done: r.Done, Refused: r.Refused, Refusals: make([]JobRefusal, 0, len(r.Refusal)),
		Limit: maxJobsActed, Remaining: matched - r.Matched,
	}}
	for _, refusal := range r.Refusal {
		out.Body.Refusals = append(out.Body.Refusals, JobRefusal(refusal))
	}
	return out
}
