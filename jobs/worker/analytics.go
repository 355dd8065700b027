package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore/analytics"
)

const (
	// analyticsEvery is how long analytics rest between two runs: with a run's own time it is how far they are behind.
	analyticsEvery = 3 * time.Second
	// analyticsPatience is how long a run waits for transactions that were open when it began. Most take milliseconds.
	analyticsPatience = time.Second
	// analyticsBudget ends a run, below the time-out of a job: the rest of a rebuild is the next run's.
	analyticsBudget = 30 * time.Second
)

// workAnalytics counts what was committed since the last run. It sleeps afterwards instead of ending, so that a job every
// few seconds leaves no rows behind.
func (a *applier) workAnalytics(ctx context.Context, _ *river.Job[jobs.AnalyticsArgs]) error {
	budget, cancel := context.WithTimeout(ctx, analyticsBudget)
	defer cancel()
	_, err := analytics.Advance(budget, a.Pool, analytics.AdvanceOptions{Patience: analyticsPatience})
	if err != nil && (ctx.Err() != nil || !errors.Is(budget.Err(), context.DeadlineExceeded)) {
		return fmt.Errorf("keep analytics: %w", err)
	}
	if err != nil {
		return river.JobSnooze(0) // what was counted is committed
	}
	return river.JobSnooze(analyticsEvery)
}
