package jobadmin

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter selects jobs: those that match all that is set.
type Filter struct {
	IDs         []int64   `json:"ids,omitempty"`
	Kinds       []string  `json:"kind,omitempty"`
	States      []string  `json:"state,omitempty"`
	Queues      []string  `json:"queue,omitempty"`
	Error       string    `json:"error,omitempty"`       // part of the last error's text, in any case
	Fingerprint string    `json:"fingerprint,omitempty"` // of the last error
	Since       time.Time `json:"since,omitzero"`        // last attempted, or else created, at or after
}

// FieldError names a field of a filter, as JSON has it, and what is wrong with it.
type FieldError struct{ Field, Message string }

// Error implements error.
func (e *FieldError) Error() string { return e.Field + " " + e.Message }

// Validate refuses states that do not exist. Kinds and queues may be those of another version.
func (f Filter) Validate() error {
	for _, s := range f.States {
		if !slices.Contains(States(), s) {
			return &FieldError{"state", fmt.Sprintf("has no %q: there are %s", s, strings.Join(States(), ", "))}
		}
	}
	return nil
}

// Empty reports whether the filter matches every job.
func (f Filter) Empty() bool {
	return len(f.IDs) == 0 && len(f.Kinds) == 0 && len(f.States) == 0 && len(f.Queues) == 0 &&
		f.Error == "" && f.Fingerprint == "" && f.Since.IsZero()
}

// byError reports whether jobs are selected by what went wrong.
func (f Filter) byError() bool { return f.Error != "" || f.Fingerprint != "" }

// lastError is the text of a job's last error; NULL where it has none.
const lastError = `j.errors[array_upper(j.errors, 1)] ->> 'error'`

// where is the filter's condition on river_job j, except for the fingerprint, which is made in Go. It adds to args.
func (f Filter) where(args *[]any) string {
	condition := "true"
	and := func(sql string, arg any) {
		*args = append(*args, arg)
		condition += fmt.Sprintf("\n\t\tAND "+sql, len(*args))
	}
	states := f.States
	if len(states) == 0 && f.byError() {
		// What came right in the end is most of the table, and not looked for by its errors.
		states = slices.DeleteFunc(States(), func(s string) bool { return s == "completed" })
	}
	if len(f.IDs) > 0 {
		and(`j.id = ANY($%d::bigint[])`, f.IDs)
	}
	if len(states) > 0 {
		and(`j.state = ANY($%d::text[]::river_job_state[])`, states)
	}
	if len(f.Kinds) > 0 {
		and(`j.kind = ANY($%d::text[])`, f.Kinds)
	}
	if len(f.Queues) > 0 {
		and(`j.queue = ANY($%d::text[])`, f.Queues)
	}
	if f.Error != "" {
		and(`position(lower($%d::text) IN lower(`+lastError+`)) > 0`, f.Error)
	}
	if !f.Since.IsZero() {
		and(`COALESCE(j.attempted_at, j.created_at) >= $%d::timestamptz`, f.Since)
	}
	if f.Fingerprint != "" {
		condition += "\n\t\tAND array_length(j.errors, 1) > 0"
	}
	return condition
}

// order sorts by id, newest first. Where few jobs of many match, walking the table by id until enough are found would
// walk all of it; an order that no index has makes the planner find them by their state first.
func (f Filter) order() string {
	if f.byError() || len(f.States) > 0 && !slices.Contains(f.States, "completed") {
		return "j.id + 0 DESC"
	}
	return "j.id DESC"
}

// matches is what [Filter.where] leaves to Go.
func (f Filter) matches(lastError string) bool {
	return f.Fingerprint == "" || lastError != "" && FingerprintOf(lastError).ID == f.Fingerprint
}
