package jobsui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"onward/jobs/jobadmin"
	"onward/web/apitoken"
)

// byUI is the reason of an act by page: River's pages ask for none.
const byUI = "(by River UI, which asks for no reason)"

// maxJobs is what one request may name, as River's pages have it.
const maxJobs = 1000

// errRefused ends a transaction that changed nothing, for a reason that people are told.
type errRefused struct {
	status int
	text   string
}

func (e *errRefused) Error() string { return e.text }

func (u *UI) retry(w http.ResponseWriter, r *http.Request)  { u.act(w, r, jobadmin.Retry) }
func (u *UI) cancel(w http.ResponseWriter, r *http.Request) { u.act(w, r, jobadmin.Cancel) }

// act does to the named jobs what was asked for, to all of them or to none.
func (u *UI) act(w http.ResponseWriter, r *http.Request, verb jobadmin.Verb) {
	var queues []string
	u.inTx(w, r, func(ctx context.Context, tx pgx.Tx, ids []int64) error {
		action, err := jobadmin.Begin(ctx, tx, verb, operator(ctx), jobadmin.Filter{IDs: ids}, len(ids))
		if err != nil {
			return err
		}
		result, err := jobadmin.Apply(ctx, tx, u.opts.River, verb, action, ids, 0, 0)
		if jobadmin.MetTwin(err) {
			return &errRefused{http.StatusConflict, "A job that does the same work was enqueued at this moment: try again."}
		}
		if err != nil {
			return err
		}
		if result.Refused > 0 {
			return &errRefused{http.StatusConflict, refusals(result)}
		}
		queues = result.Queues
		return jobadmin.Note(ctx, tx, action, result)
	})
	if u.opts.Wake != nil && len(queues) > 0 {
		u.opts.Wake(queues)
	}
}

// refusals says why nothing was done.
func refusals(r jobadmin.Result) string {
	var lines []string
	for _, f := range r.Refusal[:min(len(r.Refusal), 3)] {
		lines = append(lines, fmt.Sprintf("Job %d: %s.", f.JobID, f.Detail))
	}
	if more := r.Refused - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("And %d more.", more))
	}
	return "Nothing was done. " + strings.Join(lines, " ")
}

// remove deletes jobs that do not run.
func (u *UI) remove(w http.ResponseWriter, r *http.Request) {
	u.inTx(w, r, func(ctx context.Context, tx pgx.Tx, ids []int64) error {
		if _, err := jobadmin.Begin(ctx, tx, "delete", operator(ctx), jobadmin.Filter{IDs: ids}, len(ids)); err != nil {
			return err
		}
		for _, id := range ids {
			_, err := u.opts.River.JobDeleteTx(ctx, tx, id)
			switch {
			case errors.Is(err, rivertype.ErrJobRunning):
				return &errRefused{http.StatusBadRequest, fmt.Sprintf("Job %d is running and can't be deleted until it ends.", id)}
			case errors.Is(err, river.ErrNotFound):
				return &errRefused{http.StatusNotFound, fmt.Sprintf("Job not found: %d.", id)}
			case err != nil:
				return err
			}
		}
		return nil
	})
}

// queue pauses or resumes a queue: River's own code does it, and the operators' log is told.
func (u *UI) queue(verb string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := chi.URLParam(r, "name")
		u.finish(w, r, pgx.BeginFunc(r.Context(), u.opts.Pool, func(tx pgx.Tx) error {
			change := u.opts.River.QueuePauseTx
			if verb == "resume" {
				change = u.opts.River.QueueResumeTx
			}
			err := change(r.Context(), tx, name, nil)
			if errors.Is(err, river.ErrNotFound) {
				return &errRefused{http.StatusNotFound, "Queue not found: " + name + "."}
			}
			if err != nil {
				return err
			}
			o := operator(r.Context())
			_, err = tx.Exec(r.Context(), `
				INSERT INTO operator_actions (actor, token_id, action, target_type, target_id, reason)
				VALUES ($1, $2, $3, 'queue', $4, $5)`, o.Actor, o.TokenID, "queue."+verb, name, o.Reason)
			return err
		}))
	}
}

func operator(ctx context.Context) jobadmin.Operator {
	token, _ := apitoken.FromContext(ctx)
	return jobadmin.Operator{Actor: token.Name, TokenID: token.ID, Reason: byUI}
}

// inTx reads the ids that a request names and does something to them in a transaction.
func (u *UI) inTx(w http.ResponseWriter, r *http.Request, fn func(context.Context, pgx.Tx, []int64) error) {
	ids, err := readIDs(w, r)
	if err != nil {
		message(w, http.StatusBadRequest, err.Error())
		return
	}
	u.finish(w, r, pgx.BeginFunc(r.Context(), u.opts.Pool, func(tx pgx.Tx) error { return fn(r.Context(), tx, ids) }))
}

// finish answers as River's own endpoints do.
func (u *UI) finish(w http.ResponseWriter, r *http.Request, err error) {
	var refused *errRefused
	switch {
	case err == nil:
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	case errors.As(err, &refused):
		message(w, refused.status, refused.text)
	default:
		u.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "act on jobs by page", slog.Any("error", err))
		message(w, http.StatusInternalServerError, "An unexpected error, which is in the log.")
	}
}

// readIDs reads {"ids": ["1", 2]}.
func readIDs(w http.ResponseWriter, r *http.Request) ([]int64, error) {
	var body struct {
		IDs []json.RawMessage `json:"ids"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		return nil, errors.New("the body is no JSON object with ids")
	}
	if len(body.IDs) == 0 || len(body.IDs) > maxJobs {
		return nil, fmt.Errorf("ids: name 1 to %d jobs", maxJobs)
	}
	ids := make([]int64, 0, len(body.IDs))
	for _, raw := range body.IDs {
		id, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
		if err != nil {
			return nil, errors.New("ids: a job's id is a number")
		}
		ids = append(ids, id)
	}
	return ids, nil
}
