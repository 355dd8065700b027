package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// What a periodic look costs is bounded, whatever the size of the history: a sample of businesses, and invariants
// over what is young. `onward verify` looks at everything.
const (
	// verifySample is how many businesses: some 40 ms of the database. Drift in 1 of 10 000 is found within a few hours
	// with near certainty (144 looks a day, 2000 draws each).
	verifySample = 2000
	// verifyWindow is how far back the invariants are checked: a violation is reported for a day.
	verifyWindow = 24 * time.Hour
	// verifyQuery bounds one invariant's query, verifyTimeout the whole job.
	verifyQuery   = 20 * time.Second
	verifyTimeout = 4 * time.Minute
	// verifyTold is how many drifts a look logs: where rules were changed by mistake, everything drifts.
	verifyTold = 20
)

// Verified is what a periodic look found.
type Verified struct {
	At         time.Time      `json:"at"`
	Businesses int            `json:"businesses"` // looked at
	Drifted    int            `json:"drifted"`
	Violations map[string]int `json:"violations"` // by invariant: only those that could be checked
}

// Invariants lists the names that Verified.Violations may hold.
func Invariants() []string {
	var names []string
	for _, i := range pgstore.Invariants() {
		names = append(names, string(i))
	}
	return names
}

// verifier looks, again and again, for what must not be: statuses that are not the fold of their facts, invariants
// that are broken. It repairs nothing: that takes an operator with a reason.
type verifier struct {
	river.WorkerDefaults[jobs.VerifySampleArgs]
	Options
}

// Timeout is longer than that of other jobs.
func (*verifier) Timeout(*river.Job[jobs.VerifySampleArgs]) time.Duration { return verifyTimeout }

// Work is one look. What it found becomes the job's output, too, for whoever asks what the fleet saw last.
func (v *verifier) Work(ctx context.Context, job *river.Job[jobs.VerifySampleArgs]) error {
	done := Verified{At: v.Clock(), Violations: map[string]int{}}
	told := 0
	found, driftErr := pgstore.Verify(ctx, v.Pool, pgstore.VerifyOptions{
		Sample: verifySample,
		Found: func(d pgstore.Drift) {
			if told++; told > verifyTold {
				return
			}
			v.Logger.LogAttrs(ctx, slog.LevelError, "drift: a stored value is not the fold of its facts",
				slog.String("business", d.Business.String()), slog.String("axis", string(d.Axis)), slog.String("field", string(d.Field)),
				slog.String("stored", d.Stored), slog.String("folded", d.Folded), slog.Int64("job_id", job.ID))
		},
	})
	done.Businesses, done.Drifted = int(found.Businesses), int(found.Drifted)
	checked, err := pgstore.CheckInvariants(ctx, v.Pool, pgstore.InvariantOptions{Since: done.At.Add(-verifyWindow), Timeout: verifyQuery})
	for _, c := range checked {
		done.Violations[string(c.Invariant)] = c.Count
		if c.Count > 0 {
			v.Logger.LogAttrs(ctx, slog.LevelError, "an invariant is violated",
				slog.String("invariant", string(c.Invariant)), slog.Int("count", c.Count), slog.String("of", c.Of),
				slog.Any("examples", c.Examples), slog.Int64("job_id", job.ID))
		}
	}
	if driftErr != nil {
		// A look that was cut off saw nothing certain.
		return errors.Join(fmt.Errorf("verify a sample: %w", driftErr), err)
	}
	if v.Observer.Verified != nil {
		v.Observer.Verified(done)
	}
	return errors.Join(river.RecordOutput(ctx, done), err)
}
