package inbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/riverqueue/river"
)

// jobTx is the transaction that River inserts jobs in, as far as River can see. It keeps the rows that River would copy and
// the statements that it would run, and sends nothing: the rows go out in the statement that stores their receipts, which
// saves COPY and two round trips a batch.
type jobTx struct {
	pgx.Tx // nil: River's fast insert calls nothing but what is below
	conn   *pgx.Conn

	rows       []jobRow
	statements []statement // River's notification, at most
}

type statement struct {
	sql  string
	args []any
}

// jobRow is a row of river_job, with what River sets when it inserts a job.
type jobRow struct {
	args, metadata         []byte // JSON
	createdAt, scheduledAt time.Time
	kind, queue, state     string
	maxAttempts, priority  int16
}

// jobRows lets River make the rows of the entries' jobs: one of each kind, since but for their arguments all of a kind are
// alike, and one of each that brings a trace.
func (i *Inbox) jobRows(ctx context.Context, conn *pgx.Conn, entries []*entry) (*jobTx, error) {
	var (
		params []river.InsertManyParams
		made   = make([]int, len(entries)) // whose row River makes
		first  = map[string]int{}          // of a kind
	)
	for n, e := range entries {
		args, err := json.Marshal(e.job)
		if err != nil {
			return nil, fmt.Errorf("make the jobs: %w", err)
		}
		e.row.args = args
		if at, ok := first[e.job.Kind()]; ok && e.traceparent == "" {
			made[n] = at
			continue
		}
		made[n] = len(params)
		if e.traceparent == "" {
			first[e.job.Kind()] = len(params)
		}
		params = append(params, river.InsertManyParams{Args: e.job, InsertOpts: insertOpts(e)})
	}
	tx, err := i.riverRows(ctx, conn, params)
	if err != nil {
		return nil, err
	}
	for n, e := range entries {
		row, args := tx.rows[made[n]], e.row.args
		e.row = row
		e.row.args = args
	}
	return tx, nil
}

// riverRows lets River make rows.
func (i *Inbox) riverRows(ctx context.Context, conn *pgx.Conn, params []river.InsertManyParams) (*jobTx, error) {
	tx := &jobTx{conn: conn, rows: make([]jobRow, 0, len(params))}
	if _, err := i.opts.River.InsertManyFastTx(ctx, tx, params); err != nil {
		return nil, fmt.Errorf("make the jobs: %w", err)
	}
	if len(tx.rows) != len(params) {
		return nil, fmt.Errorf("make the jobs: %d rows of %d jobs", len(tx.rows), len(params))
	}
	for n, p := range params {
		// What River stores of a job must be what we say it is: the others of its kind are made after it.
		want, err := json.Marshal(p.Args)
		if err == nil && !bytes.Equal(tx.rows[n].args, want) {
			err = fmt.Errorf("arguments %q, which are %q", tx.rows[n].args, want)
		}
		if err != nil {
			return nil, fmt.Errorf("make the jobs: %w", err)
		}
	}
	return tx, nil
}

// copiedColumns is how many columns River copies.
const copiedColumns = 12

// copied are their names, in its order.
func copied() [copiedColumns]string {
	return [...]string{
		"args", "created_at", "kind", "max_attempts", "metadata", "priority", "queue", "scheduled_at", "state",
		"tags", "unique_key", "unique_states",
	}
}

// CopyFrom keeps the rows.
func (tx *jobTx) CopyFrom(_ context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	known := copied()
	if !slices.Equal(table, pgx.Identifier{"river_job"}) || !slices.Equal(columns, known[:]) {
		return 0, fmt.Errorf("columns %v of %v, not known here", columns, table)
	}
	var n int64
	for src.Next() {
		values, err := src.Values()
		if err != nil {
			return n, err
		}
		row, err := rowOf(values)
		if err != nil {
			return n, err
		}
		tx.rows = append(tx.rows, row)
		n++
	}
	return n, src.Err()
}

// rowOf takes a row apart that River would copy.
func rowOf(values []any) (jobRow, error) {
	if len(values) != copiedColumns {
		return jobRow{}, fmt.Errorf("a job of %d columns", len(values))
	}
	var row jobRow
	var known [copiedColumns]bool
	row.args, known[0] = values[0].([]byte)
	row.createdAt, known[1] = values[1].(time.Time)
	row.kind, known[2] = values[2].(string)
	row.maxAttempts, known[3] = values[3].(int16)
	row.metadata, known[4] = values[4].([]byte)
	row.priority, known[5] = values[5].(int16)
	row.queue, known[6] = values[6].(string)
	row.scheduledAt, known[7] = values[7].(time.Time)
	if state := reflect.ValueOf(values[8]); state.Kind() == reflect.String {
		row.state, known[8] = state.String(), true
	}
	// No job of a receipt has any of these: its receipt is what is unique.
	tags, isTags := values[9].([]string)
	key, isKey := values[10].([]byte)
	states, isStates := values[11].(pgtype.Bits)
	known[9], known[10], known[11] = isTags && len(tags) == 0, isKey && key == nil, isStates && !states.Valid
	for n, ok := range known {
		if !ok {
			return jobRow{}, fmt.Errorf("a job whose %s is %v, which is not known here", copied()[n], values[n])
		}
	}
	return row, nil
}

// Exec keeps the statement.
func (tx *jobTx) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tx.statements = append(tx.statements, statement{sql, args})
	return pgconn.CommandTag{}, nil
}

// Conn, Query and QueryRow are the connection's: River asks once what server it has.
func (tx *jobTx) Conn() *pgx.Conn { return tx.conn }

// Query asks outside of the transaction, which has not begun.
func (tx *jobTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return tx.conn.Query(ctx, sql, args...)
}

// QueryRow asks likewise.
func (tx *jobTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return tx.conn.QueryRow(ctx, sql, args...)
}
