package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/jobs/jobadmin"
	"onward/web/apitoken"
)

// Job is a job of the queue.
type Job struct {
	ID          int64           `json:"id"`
	Kind        string          `json:"kind"`
	Queue       string          `json:"queue"`
	State       string          `json:"state" enum:"pending,scheduled,available,running,retryable,completed,cancelled,discarded"`
	Priority    int             `json:"priority" doc:"1 is first, 4 last"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Args        json.RawMessage `json:"args" doc:"What it is about, by id"`
	Error       *string         `json:"error" doc:"Of the last attempt that failed"`
	Fingerprint *string         `json:"fingerprint" doc:"The same for errors of one cause"`
	CreatedAt   time.Time       `json:"created_at"`
	ScheduledAt time.Time       `json:"scheduled_at"`
	AttemptedAt *time.Time      `json:"attempted_at"`
	FinalizedAt *time.Time      `json:"finalized_at"`
}

// JobDetail is a job with its past.
type JobDetail struct {
	Job
	Errors       []JobError      `json:"errors" nullable:"false" doc:"Oldest first"`
	AttemptedBy  []string        `json:"attempted_by" nullable:"false" doc:"Processes"`
	Metadata     json.RawMessage `json:"metadata"`
	Message      *string         `json:"message_id" doc:"Of the message that it sends"`
	MessageState *string         `json:"message_state"`
}

// JobError is an attempt that failed.
type JobError struct {
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
}

// JobGroup is the failures of one cause.
type JobGroup struct {
	Fingerprint string         `json:"fingerprint"`
	Text        string         `json:"text" doc:"What their errors have in common"`
	Example     string         `json:"example" doc:"The newest one's error"`
	JobID       int64          `json:"job_id" doc:"The newest one"`
	Count       int            `json:"count"`
	Kinds       map[string]int `json:"kinds"`
	States      map[string]int `json:"states"`
	Queues      map[string]int `json:"queues"`
	First       time.Time      `json:"first_at"`
	Last        time.Time      `json:"last_at"`
}

const tagJobs = "Jobs"

func (a *API) registerJobs(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/jobs", id: "listJobs", tag: tagJobs, summary: "List jobs, newest first",
	}, a.listJobs)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/jobs/groups", id: "groupJobs", tag: tagJobs, summary: "Failures by cause, the most frequent first",
		description: "Jobs that are retryable, discarded or cancelled, unless the filter names states: their last errors without ids, numbers, " +
			"addresses and what is quoted. At most the newest " + strconv.Itoa(jobadmin.MaxGrouped) + " are read; more says that there were more. Not paged.",
	}, a.groupJobs)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/jobs/{id}", id: "getJob", tag: tagJobs, summary: "One job, with every error",
	}, a.getJob)
	a.registerJobActs(h)
}

// JobQuery is what selects jobs in a query string.
type JobQuery struct {
	ID          []int64   `query:"id" doc:"Any of these, with commas"`
	Kind        []string  `query:"kind" doc:"Any of these, with commas"`
	State       []string  `query:"state" doc:"Any of pending, scheduled, available, running, retryable, completed, cancelled, discarded"`
	Queue       []string  `query:"queue" doc:"Any of these, with commas"`
	Error       string    `query:"error" maxLength:"500" doc:"Part of the last error, in any case"`
	Fingerprint string    `query:"fingerprint" maxLength:"50" doc:"Of the last error, as /jobs/groups shows it"`
	Since       time.Time `query:"since" doc:"Attempted last, or else created, at or after"`
}

func (f JobQuery) filter() (jobadmin.Filter, error) {
	out := jobadmin.Filter{
		IDs: f.ID, Kinds: f.Kind, States: f.State, Queues: f.Queue, Error: f.Error, Fingerprint: f.Fingerprint, Since: f.Since,
	}
	return out, invalidFilter("query.", out.Validate())
}

// invalidFilter names the field of a filter that is wrong.
func invalidFilter(place string, err error) error {
	var field *jobadmin.FieldError
	if errors.As(err, &field) {
		if field.Field == "filter" { // all of it
			return invalid(strings.TrimSuffix(place, "."), field.Message)
		}
		return invalid(place+field.Field, field.Message)
	}
	return err
}

type listJobsInput struct {
	Paging
	JobQuery
}

func (a *API) listJobs(ctx context.Context, in *listJobsInput) (*pageOutput[Job], error) {
	const list = "jobs"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	found, err := jobadmin.List(ctx, a.opts.Pool, f, behind.above(), in.Limit+1)
	if err != nil {
		return nil, err
	}
	return page(in.Paging, list, found, viewJob, func(j jobadmin.Job) any { return byID{j.ID} })
}

func viewJob(j jobadmin.Job) Job {
	return Job{
		ID: j.ID, Kind: j.Kind, Queue: j.Queue, State: j.State, Priority: j.Priority, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts,
		Args: j.Args, Error: orNull(j.Error), Fingerprint: orNull(j.Fingerprint), CreatedAt: j.CreatedAt, ScheduledAt: j.ScheduledAt,
		AttemptedAt: utc(j.AttemptedAt), FinalizedAt: utc(j.FinalizedAt),
	}
}

type jobGroupsInput struct {
	JobQuery
	Whole
}

type jobGroupsOutput struct {
	Body struct {
		Page[JobGroup]
		More bool `json:"more" doc:"There were more failures than were read"`
	}
}

func (*jobGroupsOutput) columns() []string { return columnsOf[JobGroup]() }

func (a *API) groupJobs(ctx context.Context, in *jobGroupsInput) (*jobGroupsOutput, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	groups, more, err := jobadmin.Groups(ctx, a.opts.Pool, f)
	if err != nil {
		return nil, err
	}
	out := &jobGroupsOutput{}
	out.Body.Items, out.Body.More = make([]JobGroup, 0, len(groups)), more
	for _, g := range groups {
		out.Body.Items = append(out.Body.Items, JobGroup(g))
	}
	return out, nil
}

type jobID struct {
	ID int64 `path:"id" minimum:"1"`
}

func (a *API) getJob(ctx context.Context, in *jobID) (*struct{ Body JobDetail }, error) {
	d, err := jobadmin.Get(ctx, a.opts.Pool, in.ID)
	if errors.Is(err, jobadmin.ErrNotFound) {
		return nil, notFound("job, or it is past its retention")
	}
	if err != nil {
		return nil, err
	}
	out := &struct{ Body JobDetail }{JobDetail{
		Job: viewJob(d.Job), Errors: make([]JobError, 0, len(d.Errors)), AttemptedBy: d.AttemptedBy, Metadata: d.Metadata,
		Message: orNull(d.Message), MessageState: orNull(d.MessageState),
	}}
	for _, e := range d.Errors {
		out.Body.Errors = append(out.Body.Errors, JobError{At: e.At.UTC(), Attempt: e.Attempt, Error: e.Error})
	}
	return out, nil
}
