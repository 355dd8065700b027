package jobwatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/tidwall/gjson"

	"onward/jobs/jobtrace"
)

// Outcome is what an attempt came to.
type Outcome string

// The outcomes: a closed set, for metrics.
const (
	Completed   Outcome = "completed"
	Snoozed     Outcome = "snoozed"     // asked to run again later, without having failed
	Failed      Outcome = "failed"      // to be tried again
	Discarded   Outcome = "discarded"   // failed for the last time
	Cancelled   Outcome = "cancelled"   // never to be tried again, by its own verdict or an operator's
	Interrupted Outcome = "interrupted" // cut off by the end of its process, to be tried again
)

// Attempt is one attempt of a job.
type Attempt struct {
	JobID        int64
	Kind, Queue  string
	Number, Most int // of attempts
	Outcome      Outcome
	Err          error // nil with Completed
	// Wait is from when the job was due to when a worker took it, Took how long it was worked.
	Wait, Took time.Duration
	// What the job is about, from its arguments: "" and 0 where they name none.
	ReceiptID string
	MessageID int64
	TraceID   string
}

func newAttempt(ctx context.Context, job *rivertype.JobRow, err error, took time.Duration) Attempt {
	a := Attempt{
		JobID: job.ID, Kind: job.Kind, Queue: job.Queue, Number: job.Attempt, Most: job.MaxAttempts,
		Outcome: outcomeOf(ctx, job, err), Err: err, Took: took, TraceID: jobtrace.TraceID(ctx),
	}
	if job.AttemptedAt != nil {
		a.Wait = max(job.AttemptedAt.Sub(job.ScheduledAt), 0)
	}
	// What joins an attempt to the rest of its story. Arguments of another shape name nothing.
	if id := gjson.GetBytes(job.EncodedArgs, "receipt_id"); id.Type == gjson.String {
		a.ReceiptID = id.Str
	}
	if id := gjson.GetBytes(job.EncodedArgs, "message_id"); id.Type == gjson.Number {
		a.MessageID = id.Int()
	}
	return a
}

// outcomeOf says what River will make of an attempt.
func outcomeOf(ctx context.Context, job *rivertype.JobRow, err error) Outcome {
	var cancel *rivertype.JobCancelError
	var snooze *rivertype.JobSnoozeError
	switch {
	case err == nil:
		return Completed
	case errors.As(err, &snooze):
		return Snoozed
	case errors.As(err, &cancel), errors.As(context.Cause(ctx), &cancel):
		return Cancelled
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))):
		// Of what ends a job's context only the end of the process is left: its own time-out is beneath this one.
		return Interrupted
	case job.Attempt >= job.MaxAttempts:
		return Discarded
	}
	return Failed
}

// log writes the canonical line of an attempt.
func (a Attempt) log(ctx context.Context, logger *slog.Logger) {
	level := slog.LevelInfo
	switch a.Outcome {
	case Snoozed:
		level = slog.LevelDebug // a paced send may sleep many times
	case Failed, Cancelled:
		level = slog.LevelWarn
	case Discarded:
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.Int64("job_id", a.JobID), slog.String("kind", a.Kind), slog.String("queue", a.Queue),
		slog.Int("attempt", a.Number), slog.String("outcome", string(a.Outcome)), slog.Duration("took", a.Took), slog.Duration("wait", a.Wait),
	}
	if a.ReceiptID != "" {
		attrs = append(attrs, slog.String("receipt_id", a.ReceiptID))
	}
	if a.MessageID != 0 {
		attrs = append(attrs, slog.Int64("message_id", a.MessageID))
	}
	if a.Err != nil && a.Outcome != Snoozed {
		attrs = append(attrs, slog.Int("max_attempts", a.Most), slog.String("error", a.Err.Error()))
	}
	logger.LogAttrs(ctx, level, "job", attrs...)
}
