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
	// analyticsChunk is how many facts or businesses a transaction of a run takes, 3 ms of the database and of this process, or 20 where both are busy,
	// and analyticsRest how many times as long the run rests after each. Nobody waits for analytics, and callbacks would wait
	// behind them: in one go, what 3,000 callbacks a second leave to be counted keeps a core busy for half a second.
	analyticsChunk = 250
	analyticsRest  = 2
)

// workAnalytics counts what was committed since the last run. It sleeps afterwards instead of ending, so that a job every
// few seconds leaves no rows behind.
func (a *applier) workAnalytics(ctx context.Context, _ *river.Job[jobs.AnalyticsArgs]) error {
	budget, cancel := context.WithTimeout(ctx, analyticsBudget)
	defer cancel()
	_, err := analytics.Advance(budget, a.Pool, analytics.AdvanceOptions{
		Patience: analyticsPatience, Facts: analyticsChunk, Businesses: analyticsChunk, Rest: analyticsRest,
	})
	if err != nil && (ctx.Err() != nil || !errors.Is(budget.Err(), context.DeadlineExceeded)) {
		return fmt.Errorf("keep analytics: %w", err)
	}
	if err != nil {
		return river.JobSnooze(0) // what was counted is committed
	}
	return river.JobSnooze(analyticsEvery)
}
