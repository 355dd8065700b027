// Package jobadmin is what operators do with jobs: look at them, see why they fail, put them back, end them. Command, API
// and River UI go through it, so that the same rules hold in all three:
//
//   - A send whose message may or may not have gone out is not put back before somebody resolved it.
//   - A job that a newer one of the same unique key stands in for is not put back, and that is said.
//   - Who did it and why is in operator_actions, and each job names that entry in its metadata.
//
// It imports jobs, River and pgx.
package jobadmin

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/rivertype"
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// ErrNotFound says that there is no such job: it never was, or it is past its retention.
var ErrNotFound = errors.New("there is no such job: it never was, or it is past its retention")

// States lists the states of a job, from the beginning to the ends.
func States() []string {
	return []string{
		string(rivertype.JobStatePending), string(rivertype.JobStateScheduled), string(rivertype.JobStateAvailable),
		string(rivertype.JobStateRunning), string(rivertype.JobStateRetryable), string(rivertype.JobStateCompleted),
		string(rivertype.JobStateCancelled), string(rivertype.JobStateDiscarded),
	}
}

// Job is a job as operators see it.
type Job struct {
	ID          int64
	Kind        string
	Queue       string
	State       string
	Priority    int
	Attempt     int
	MaxAttempts int
	Args        []byte // JSON; ids and provider facts, never a body
	CreatedAt   time.Time
	ScheduledAt time.Time
	AttemptedAt *time.Time
	FinalizedAt *time.Time
	Error       string // of the last attempt that failed
	Fingerprint string // of Error; "" without one
	ActionID    int64  // operator_actions.id of the last act on it; 0: none
}

// Detail is a job with its past.
type Detail struct {
	Job
	Errors      []rivertype.AttemptError // oldest first
	AttemptedBy []string                 // River's ids of the processes
	Metadata    []byte                   // JSON
	// Message is the public id of a send's message, MessageState its state; "" for other jobs.
	Message, MessageState string
}
