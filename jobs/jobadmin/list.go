package jobadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// jobColumns are those that scanJob reads.
const jobColumns = `j.id, j.kind, j.queue, j.state::text, j.priority, j.attempt, j.max_attempts, j.args, j.created_at, j.scheduled_at,
		j.attempted_at, j.finalized_at, COALESCE(` + lastError + `, ''), COALESCE((j.metadata ->> '` + actionKey + `')::bigint, 0)`

func (j *Job) scan() []any {
	return []any{
		&j.ID, &j.Kind, &j.Queue, &j.State, &j.Priority, &j.Attempt, &j.MaxAttempts, &j.Args, &j.CreatedAt, &j.ScheduledAt,
		&j.AttemptedAt, &j.FinalizedAt, &j.Error, &j.ActionID,
	}
}

func (j *Job) complete() {
	if j.Error != "" {
		j.Fingerprint = FingerprintOf(j.Error).ID
	}
	j.CreatedAt, j.ScheduledAt = j.CreatedAt.UTC(), j.ScheduledAt.UTC()
}

// List returns up to limit jobs below an id, newest first; 0 is above all.
func List(ctx context.Context, q Querier, f Filter, below int64, limit int) ([]Job, error) {
	var list []Job
	err := each(ctx, q, f, below, limit, func(j Job) error {
		list = append(list, j)
		return nil
	})
	return list, err
}

// each calls fn with up to limit jobs of a filter below an id, newest first.
func each(ctx context.Context, q Querier, f Filter, below int64, limit int, fn func(Job) error) error {
	const step = 5000 // of jobs read at once, where the fingerprint picks some
	for n := 0; ; {
		args := []any{}
		condition := f.where(&args)
		if below > 0 {
			args = append(args, below)
			condition += fmt.Sprintf("\n\t\tAND j.id < $%d", len(args))
		}
		want := limit - n
		if f.Fingerprint != "" {
			want = step
		}
		args = append(args, want)
		// First which, by an index alone where that is enough, then what they hold.
		rows, err := q.Query(ctx, `
			SELECT `+jobColumns+`
			FROM river_job j
			WHERE j.id = ANY(ARRAY(
				SELECT j.id
				FROM river_job j
				WHERE `+condition+`
				ORDER BY `+f.order()+fmt.Sprintf(`
				LIMIT $%d
			))
			ORDER BY j.id DESC`, len(args)), args...)
		if err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		read := 0
		var found []Job
		for rows.Next() {
			var j Job
			if err := rows.Scan(j.scan()...); err != nil {
				rows.Close()
				return fmt.Errorf("list jobs: %w", err)
			}
			read, below = read+1, j.ID
			if f.matches(j.Error) {
				j.complete()
				found = append(found, j)
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		for _, j := range found {
			if err := fn(j); err != nil {
				return err
			}
			if n++; n == limit {
				return nil
			}
		}
		if read < want {
			return nil
		}
	}
}

// Get returns one job; [ErrNotFound] when there is none.
func Get(ctx context.Context, q Querier, id int64) (Detail, error) {
	var d Detail
	var raw [][]byte
	err := q.QueryRow(ctx, `
		SELECT `+jobColumns+`, COALESCE(j.errors, '{}'), COALESCE(j.attempted_by, '{}'), j.metadata,
			COALESCE(m.public_id::text, ''), COALESCE(m.state, '')
		FROM river_job j
		LEFT JOIN messages m ON j.kind = 'send' AND m.id = (j.args ->> 'message_id')::bigint
		WHERE j.id = $1`, id).Scan(append(d.scan(), &raw, &d.AttemptedBy, &d.Metadata, &d.Message, &d.MessageState)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("job %d: %w", id, ErrNotFound)
	}
	if err != nil {
		return d, fmt.Errorf("read job %d: %w", id, err)
	}
	d.complete()
	for _, r := range raw {
		var e rivertype.AttemptError
		if err := json.Unmarshal(r, &e); err != nil {
			return d, fmt.Errorf("read an error of job %d: %w", id, err)
		}
		d.Errors = append(d.Errors, e)
	}
	return d, nil
}
