package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/puddle/v2"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
)

// completed are the jobs of a batch that did what they had to do, of which nothing is stored but when: nearly all, nearly always.
type completed struct {
	ids []int64
	at  []time.Time
}

// splitCompleted takes those out of a batch. What is left is River's.
func splitCompleted(params *riverdriver.JobSetStateIfRunningManyParams) (completed, *riverdriver.JobSetStateIfRunningManyParams) {
	var plain []int
	rest := &riverdriver.JobSetStateIfRunningManyParams{Now: params.Now, Schema: params.Schema}
	for n, id := range params.ID {
		if params.State[n] == rivertype.JobStateCompleted && params.FinalizedAt[n] != nil && params.Attempt[n] == nil &&
			params.ErrData[n] == nil && !params.MetadataDoMerge[n] && params.ScheduledAt[n] == nil {
			plain = append(plain, n)
			continue
		}
		rest.ID = append(rest.ID, id)
		rest.Attempt = append(rest.Attempt, params.Attempt[n])
		rest.ErrData = append(rest.ErrData, params.ErrData[n])
		rest.FinalizedAt = append(rest.FinalizedAt, params.FinalizedAt[n])
		rest.MetadataDoMerge = append(rest.MetadataDoMerge, params.MetadataDoMerge[n])
		rest.MetadataUpdates = append(rest.MetadataUpdates, params.MetadataUpdates[n])
		rest.ScheduledAt = append(rest.ScheduledAt, params.ScheduledAt[n])
		rest.State = append(rest.State, params.State[n])
	}
	slices.SortFunc(plain, func(a, b int) int { return cmp.Compare(params.ID[a], params.ID[b]) }) // as they lie
	c := completed{ids: make([]int64, len(plain)), at: make([]time.Time, len(plain))}
	for k, n := range plain {
		c.ids[k], c.at[k] = params.ID[n], *params.FinalizedAt[n]
	}
	return c, rest
}

// JobSetStateIfRunningMany implements riverdriver.Executor. River asks one statement for whatever may become of a job: it reads each
// row again and returns it whole, for subscribers. Here nobody subscribes, and what is returned of a completed job is its id, its
// state and when.
func (e *fetchExecutor) JobSetStateIfRunningMany(ctx context.Context, params *riverdriver.JobSetStateIfRunningManyParams) ([]*rivertype.JobRow, error) {
	if params.Schema != "" {
		return e.Executor.JobSetStateIfRunningMany(ctx, params)
	}
	plain, rest := splitCompleted(params)
	var rows []*rivertype.JobRow
	if len(rest.ID) > 0 {
		var err error
		if rows, err = e.Executor.JobSetStateIfRunningMany(ctx, rest); err != nil {
			return nil, err
		}
	}
	done, err := e.driver.complete(ctx, plain)
	if errors.Is(err, puddle.ErrClosedPool) {
		err = riverdriver.ErrClosedPool // which River does not try again
	}
	if err != nil {
		return nil, fmt.Errorf("complete jobs: %w", err)
	}
	return append(rows, done...), nil
}

// completedAtOnce bounds a statement: each job's time is looked for in a list of all.
const completedAtOnce = 500

// completeJobs finds jobs by key, and nothing else is left to the planner: in its statistics hardly a job is ever running, so in a
// join it would begin with all that are, by reading every job; and by its index, but for IS TRUE.
const completeJobs = `
		UPDATE river_job
		SET state = 'completed', finalized_at = ($2::timestamptz[])[array_position($1::bigint[], id)]
		WHERE id = ANY($1::bigint[]) AND (state = 'running') IS TRUE
		RETURNING id`

// complete marks jobs as completed. One that is not running any more, since somebody cancelled it or gave it another run, or that
// was completed before, by a batch that is tried again, stays as it is, and is not returned.
func (d *fetchDriver) complete(ctx context.Context, c completed) ([]*rivertype.JobRow, error) {
	list := make([]*rivertype.JobRow, 0, len(c.ids))
	for len(c.ids) > 0 {
		n := min(len(c.ids), completedAtOnce)
		rows, err := d.queue.Query(ctx, completeJobs, c.ids[:n], c.at[:n])
		if err != nil {
			return nil, err
		}
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
			at, _ := slices.BinarySearch(c.ids[:n], id)
			list = append(list, &rivertype.JobRow{ID: id, State: rivertype.JobStateCompleted, FinalizedAt: &c.at[at]})
			return nil
		})
		if err != nil {
			return nil, err
		}
		c.ids, c.at = c.ids[n:], c.at[n:]
	}
	return list, nil
}
