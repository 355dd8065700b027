package jobadmin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Verb is what an operator does with jobs.
type Verb string

// The verbs.
const (
	Retry  Verb = "retry"
	Cancel Verb = "cancel"
)

// actsOn lists the states that a verb changes.
func (v Verb) actsOn() []string {
	if v == Cancel {
		return []string{"pending", "scheduled", "available", "running", "retryable"}
	}
	return []string{"scheduled", "retryable", "completed", "cancelled", "discarded"}
}

// defaults lists the states that a verb acts on where the filter names none: what failed, and what is not over.
func (v Verb) defaults() []string {
	if v == Cancel {
		return v.actsOn()
	}
	return []string{"retryable", "discarded"}
}

// Prepare is the filter as a verb takes it, or what is wrong with it.
func (v Verb) Prepare(f Filter) (Filter, error) {
	if err := f.Validate(); err != nil {
		return f, err
	}
	if f.Empty() {
		return f, &FieldError{"filter", "is empty: name at least a kind, a state, a queue, an error, a time or ids"}
	}
	if len(f.States) == 0 {
		f.States = v.defaults()
	}
	for _, s := range f.States {
		if !slices.Contains(v.actsOn(), s) {
			return f, &FieldError{"state", fmt.Sprintf("%s: a job that is %s cannot be %s", s, s, v.done())}
		}
	}
	return f, nil
}

func (v Verb) done() string {
	if v == Cancel {
		return "cancelled"
	}
	return "retried"
}

// Why a job is left as it is.
const (
	// UnresolvedSend: its message may or may not have gone out, and somebody has to find out first.
	UnresolvedSend = "unresolved_send"
	// NewerJob: another job of the same unique key stands in for it.
	NewerJob = "newer_job"
	// Changed: it is in another state by now.
	Changed = "changed"
)

// Refusal is a job that was left as it is.
type Refusal struct {
	JobID  int64  `json:"job_id"`
	Code   string `json:"code"`
	Detail string `json:"detail"` // with what to do about it
}

// Result is what an act came to.
type Result struct {
	Matched int       `json:"matched"`
	Done    int       `json:"done"`
	Refused int       `json:"refused"`
	Refusal []Refusal `json:"refusals"` // the first maxRefusals
	Queues  []string  `json:"-"`        // of the jobs that were put back
}

const maxRefusals = 100

func (r *Result) refuse(id int64, code, detail string) {
	r.Refused++
	if len(r.Refusal) < maxRefusals {
		r.Refusal = append(r.Refusal, Refusal{JobID: id, Code: code, Detail: detail})
	}
}

func (r *Result) add(o Result) {
	r.Done += o.Done
	r.Refused += o.Refused
	r.Refusal = append(r.Refusal, o.Refusal[:min(len(o.Refusal), max(maxRefusals-len(r.Refusal), 0))]...)
	for _, q := range o.Queues {
		if !slices.Contains(r.Queues, q) {
			r.Queues = append(r.Queues, q)
		}
	}
}

// Select lists the ids of the jobs that match, oldest first.
func Select(ctx context.Context, q Querier, f Filter) ([]int64, error) {
	args := []any{}
	column := "''"
	if f.Fingerprint != "" {
		column = "COALESCE(" + lastError + ", '')"
	}
	rows, err := q.Query(ctx, `
		SELECT j.id, `+column+`
		FROM river_job j
		WHERE `+f.where(&args)+`
		ORDER BY j.id + 0`, args...)
	if err != nil {
		return nil, fmt.Errorf("select jobs: %w", err)
	}
	var ids []int64
	var id int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		if f.matches(text) {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("select jobs: %w", err)
	}
	return ids, nil
}

// look is what decides about one job.
type look struct {
	id           int64
	kind, queue  string
	state        string
	message      *string // public id of a send's message
	messageState *string
	unique       []byte // its unique key, where one that is put back must be alone with it
	other        *int64 // a job of the same unique key that stands in for it
	otherState   *string
}

// Apply does an act to jobs in a transaction, and says which it left. Each is spaced from the one before by spacing,
// if that is set, so that what is put back does not come all at once; after is where the first of them stands.
func Apply(ctx context.Context, tx pgx.Tx, client *river.Client[pgx.Tx], v Verb, action int64, ids []int64, spacing time.Duration, after int) (Result, error) {
	r := Result{Matched: len(ids)}
	looks, err := inspect(ctx, tx, ids, true)
	if err != nil {
		return r, err
	}
	gone := map[int64]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	newest := newestOfKey(looks)
	var free, running []int64
	for _, l := range looks {
		delete(gone, l.id)
		code, detail := v.refuses(l)
		if twin := newest[string(l.unique)]; code == "" && v == Retry && l.unique != nil && twin != l.id {
			code, detail = NewerJob, fmt.Sprintf("job %d, which matches as well, does the same work", twin)
		}
		if code != "" {
			r.refuse(l.id, code, detail)
			continue
		}
		if l.state == "running" {
			running = append(running, l.id)
			continue
		}
		free = append(free, l.id)
		if !slices.Contains(r.Queues, l.queue) {
			r.Queues = append(r.Queues, l.queue)
		}
	}
	for id := range gone {
		r.refuse(id, Changed, fmt.Sprintf("job %d is gone: past its retention, or deleted", id))
	}
	r.Done = len(free) + len(running)
	if v == Retry {
		return r, putBack(ctx, tx, action, free, spacing, after)
	}
	r.Queues = nil
	return r, end(ctx, tx, client, action, free, running)
}

// newestOfKey finds the newest job of each unique key: of those that match, one alone can be put back.
func newestOfKey(looks []look) map[string]int64 {
	newest := map[string]int64{}
	for _, l := range looks {
		if l.unique != nil {
			newest[string(l.unique)] = max(newest[string(l.unique)], l.id)
		}
	}
	return newest
}

// Inspect says which of these jobs a verb would leave, without doing anything.
func Inspect(ctx context.Context, q Querier, v Verb, ids []int64) (Result, error) {
	r := Result{Matched: len(ids)}
	for chunk := range slices.Chunk(ids, 5000) {
		looks, err := inspect(ctx, q, chunk, false)
		if err != nil {
			return r, err
		}
		for _, l := range looks {
			if code, detail := v.refuses(l); code != "" {
				r.refuse(l.id, code, detail)
			}
		}
	}
	return r, nil
}

func inspect(ctx context.Context, q Querier, ids []int64, lock bool) ([]look, error) {
	locking := ""
	if lock {
		locking = "FOR NO KEY UPDATE OF j"
	}
	rows, err := q.Query(ctx, `
		SELECT j.id, j.kind, j.queue, j.state::text, m.public_id::text, m.state,
			CASE WHEN river_job_state_in_bitmask(j.unique_states, 'available') THEN j.unique_key END, o.id, o.state::text
		FROM river_job j
		LEFT JOIN messages m ON j.kind = 'send' AND m.id = (j.args ->> 'message_id')::bigint
		LEFT JOIN LATERAL (
			-- As River's unique index has it: whoever is in it keeps the others out.
			SELECT o.id, o.state
			FROM river_job o
			WHERE o.unique_key = j.unique_key AND o.id <> j.id AND o.unique_states IS NOT NULL
				AND river_job_state_in_bitmask(o.unique_states, o.state)
				AND river_job_state_in_bitmask(j.unique_states, 'available')
			LIMIT 1
		) o ON j.unique_key IS NOT NULL
		WHERE j.id = ANY($1)
		ORDER BY j.id
		`+locking, ids)
	if err != nil {
		return nil, fmt.Errorf("look at the jobs: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (look, error) {
		var l look
		err := row.Scan(&l.id, &l.kind, &l.queue, &l.state, &l.message, &l.messageState, &l.unique, &l.other, &l.otherState)
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the jobs: %w", err)
	}
	return list, nil
}

// refuses says why a verb leaves a job; "" when it does not.
func (v Verb) refuses(l look) (code, detail string) {
	switch {
	case !slices.Contains(v.actsOn(), l.state):
		return Changed, fmt.Sprintf("job %d is %s by now", l.id, l.state)
	case v == Cancel:
		return "", ""
	case l.messageState != nil && (*l.messageState == "unknown" || *l.messageState == "held"):
		return UnresolvedSend, fmt.Sprintf("message %s is %s: it may have been sent. Resolve it first: POST /api/v1/messages/%s/resolve with {\"as\":\"sent\"} or {\"as\":\"not_sent\"}, which sends it",
			*l.message, *l.messageState, *l.message)
	case l.other != nil:
		return NewerJob, fmt.Sprintf("job %d (%s) does the same work", *l.other, *l.otherState)
	}
	return "", ""
}

// soon is how near a time may be for a job to be available at once, as River has it: its scheduler comes every 5 s.
const soon = 5 * time.Second

// putBack does to many what River's own JobRetry does to one (a test compares the two).
func putBack(ctx context.Context, tx pgx.Tx, action int64, ids []int64, spacing time.Duration, after int) error {
	if len(ids) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, `
		UPDATE river_job j
		SET state = CASE WHEN make_interval(secs => (p.place + $4) * $3) <= make_interval(secs => $5) THEN 'available' ELSE 'scheduled' END::river_job_state,
			max_attempts = CASE WHEN j.attempt >= j.max_attempts THEN j.attempt + 1 ELSE j.max_attempts END,
			finalized_at = NULL,
			scheduled_at = now() + make_interval(secs => (p.place + $4) * $3),
			metadata = (j.metadata - 'cancel_attempted_at') || jsonb_build_object('`+actionKey+`', $2::bigint)
		FROM (SELECT id, place - 1 AS place FROM unnest($1::bigint[]) WITH ORDINALITY AS u (id, place)) p
		WHERE j.id = p.id`, ids, action, spacing.Seconds(), after, soon.Seconds())
	if err != nil {
		return fmt.Errorf("put %d jobs back: %w", len(ids), err)
	}
	if int(tag.RowsAffected()) != len(ids) {
		return fmt.Errorf("put %d jobs back: %d changed", len(ids), tag.RowsAffected())
	}
	return nil
}

// end cancels jobs that wait, and asks the workers of those that run.
func end(ctx context.Context, tx pgx.Tx, client *river.Client[pgx.Tx], action int64, waiting, running []int64) error {
	if len(waiting)+len(running) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		UPDATE river_job
		SET metadata = metadata || jsonb_build_object('`+actionKey+`', $2::bigint)
		WHERE id = ANY($1)`, slices.Concat(waiting, running), action)
	if err != nil {
		return fmt.Errorf("note the act on the jobs: %w", err)
	}
	_, err = tx.Exec(ctx, `
		UPDATE river_job
		SET state = 'cancelled', finalized_at = now(),
			metadata = jsonb_set(metadata, '{cancel_attempted_at}', to_jsonb(now()), true)
		WHERE id = ANY($1)`, waiting)
	if err != nil {
		return fmt.Errorf("cancel %d jobs: %w", len(waiting), err)
	}
	for _, id := range running {
		if _, err := client.JobCancelTx(ctx, tx, id); err != nil && !errors.Is(err, river.ErrNotFound) {
			return fmt.Errorf("cancel running job %d: %w", id, err)
		}
	}
	return nil
}
