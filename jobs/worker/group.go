package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/rivertype"

	"onward/jobs"
	"onward/jobs/pipeline"
)

// maxGroup bounds one shared transaction: beyond it a statement's cost grows with its rows, and a group that fails is
// redone one by one.
const maxGroup = 200

// groupCommitters is how many groups commit at once in a process: while one waits for the disk another is computed.
const groupCommitters = 2

// groupTimeout bounds one shared transaction.
const groupTimeout = 20 * time.Second

// errNotInGroup sends a job to the path of its own: its group failed, or found that it needs more than a group does.
var errNotInGroup = errors.New("applied alone")

// member is what every item of a group has.
type member struct {
	done chan error // buffered: an answer never waits for its reader
	lone bool       // not for the group: nothing of it was written
}

func newMember() member { return member{done: make(chan error, 1)} }

func (m *member) membership() *member { return m }

// grouped is an item: it embeds a member.
type grouped interface{ membership() *member }

// groupItem is one receipt that waits to be applied with others.
type groupItem struct {
	member
	id  uuid.UUID
	row *rivertype.JobRow

	receipt receipt // it may have come with the job
	result  result
}

// group does what jobs of one kind have to do in the database together, in one transaction, where they are worked at the
// same time in one process. What arrives while a group commits makes the next; an idle process commits a job's at once.
// There is no goroutine of its own: a job that finds a committer free leads the next group, and its peers wait for it.
//
// Groups share transactions, not failures: when one fails, each of its jobs is told to go alone.
type group[I grouped] struct {
	work       func(items []I) groupWork
	run        transact
	committers int

	mu      sync.Mutex
	waiting []I
	leaders int
}

// transact is [pipeline.Run] on a connection of its own.
type transact func(ctx context.Context, first func(first *pgx.Batch), fn func(tx pgx.Tx, last *pgx.Batch) error) error

// groupWork is what one group does in its transaction.
type groupWork interface {
	// first queues what is sent together with BEGIN.
	first(batch *pgx.Batch)

	// apply does the rest; what it queues on last is sent together with COMMIT.
	apply(ctx context.Context, tx pgx.Tx, last *pgx.Batch) error
}

// applying is the work of a group that has nothing to send with BEGIN.
func applying[I grouped](apply func(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []I) error) func(items []I) groupWork {
	return func(items []I) groupWork { return applyingWork[I]{items, apply} }
}

type applyingWork[I grouped] struct {
	items []I
	do    func(ctx context.Context, tx pgx.Tx, last *pgx.Batch, items []I) error
}

func (applyingWork[I]) first(*pgx.Batch) {}

func (w applyingWork[I]) apply(ctx context.Context, tx pgx.Tx, last *pgx.Batch) error {
	return w.do(ctx, tx, last, w.items)
}

// newGroup returns a group that commits in transactions of a pool.
func newGroup[I grouped](pool *pgxpool.Pool, work func(items []I) groupWork) *group[I] {
	return &group[I]{
		work: work, committers: groupCommitters,
		run: func(ctx context.Context, first func(*pgx.Batch), fn func(pgx.Tx, *pgx.Batch) error) error {
			return pipelineHot(ctx, pool, first, fn)
		},
	}
}

// planOnce has the statements of a transaction planned once a session instead of each time they run, which took a third
// of a small group's time; and for large tables, whatever their size is at that first time: by index, row for row. Left to
// itself, PostgreSQL would make a plan for a new database, or for a new week's partition, that reads the whole table, and
// keep it until somebody analyzes.
const planOnce = `
	SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// beginHot runs fn in a transaction with [planOnce], in one round trip with BEGIN.
func beginHot(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: "BEGIN; " + planOnce}, fn)
}

// pipelineHot is [beginHot] by [pipeline.Run].
func pipelineHot(ctx context.Context, pool *pgxpool.Pool, first func(*pgx.Batch), fn func(tx pgx.Tx, last *pgx.Batch) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	return pipeline.Run(ctx, conn, pgx.TxOptions{}, func(batch *pgx.Batch) {
		batch.Queue(planOnce)
		first(batch)
	}, fn)
}

// do does one item's part, alone or with others; what came of it stands in the item. errNotInGroup: nothing was done, do
// it alone.
func (g *group[I]) do(ctx context.Context, item I) error {
	g.mu.Lock()
	g.waiting = append(g.waiting, item)
	lead := g.leaders < g.committers
	if lead {
		g.leaders++
	}
	g.mu.Unlock()
	if lead {
		g.lead(ctx)
	}
	// Also when ctx has ended: what the group commits is committed for this job, too.
	return <-item.membership().done
}

// lead commits groups until nobody waits. Its own job is in the first.
func (g *group[I]) lead(ctx context.Context) {
	for {
		g.mu.Lock()
		g.gather()
		n := min(len(g.waiting), maxGroup)
		if n == 0 {
			g.leaders--
			g.mu.Unlock()
			return
		}
		items := g.waiting[:n:n]
		g.waiting = append([]I(nil), g.waiting[n:]...)
		g.mu.Unlock()
		g.commit(ctx, items)
	}
}

// gather lets the jobs that were started together get in line before one of them leads: River starts all jobs of a fetch
// at once, and without this the first would commit alone while the others queue up behind it. It yields for as long as
// more come, and never waits: alone, a job loses a microsecond. Called with mu locked.
func (g *group[I]) gather() {
	for seen := 0; len(g.waiting) > seen && len(g.waiting) < maxGroup; {
		seen = len(g.waiting)
		g.mu.Unlock()
		runtime.Gosched()
		g.mu.Lock()
	}
}

// commit applies one group and answers its jobs. The leader's own end must not cut off its peers.
func (g *group[I]) commit(ctx context.Context, items []I) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), groupTimeout, errors.New("time-out of a group of jobs"))
	defer cancel()
	answered := false
	defer func() {
		// A panic in a group, too, is one job's failure at most: each finds out alone whose.
		if !answered {
			_ = recover()
			for _, i := range items {
				i.membership().done <- errNotInGroup
			}
		}
	}()
	work := g.work(items)
	err := g.run(ctx, work.first, func(tx pgx.Tx, last *pgx.Batch) error { return work.apply(ctx, tx, last) })
	answered = true
	for _, i := range items {
		switch m := i.membership(); {
		case err != nil, m.lone:
			m.done <- errNotInGroup
		default:
			m.done <- nil
		}
	}
}

// applyInGroup is [applier.apply] for a kind that can share transactions; alone is the same for a receipt of its own.
func (a *applier) applyInGroup(ctx context.Context, row *rivertype.JobRow, args jobs.ReceiptArgs, g *group[*groupItem], alone func(context.Context, pgx.Tx, receipt) (result, error)) error {
	fetched, _ := a.Fetched.take(row.ID)
	id, err := uuid.Parse(args.ReceiptID)
	if err != nil || row.Attempt > 1 {
		// What failed before goes alone from the start.
		return a.apply(ctx, row, args, alone)
	}
	item := &groupItem{member: newMember(), id: id, row: row}
	if fetched.ID == id {
		item.receipt = fetched
	}
	err = g.do(ctx, item)
	if errors.Is(err, errNotInGroup) {
		return a.apply(ctx, row, args, alone)
	}
	if err != nil {
		return fmt.Errorf("apply receipt %s: %w", id, err)
	}
	return a.applied(ctx, item.receipt, item.result)
}

// readReceipts queues the read of a group's receipts. Those that are gone go alone, which says so.
func readReceipts(batch *pgx.Batch, items []*groupItem) {
	byID := make(map[uuid.UUID]*groupItem, len(items))
	ids := make([]string, 0, len(items))
	for _, i := range items {
		i.lone = true // until its receipt is read; and of one receipt with two jobs, the second goes after the first
		if byID[i.id] == nil {
			byID[i.id] = i
			ids = append(ids, i.id.String())
		}
	}
	batch.Queue(`
		SELECT id, provider, kind, query, body, dedupe_key, received_at, erased_at IS NOT NULL
		FROM webhook_events
		WHERE id = ANY($1::text[]::uuid[]) AND id BETWEEN $2::text::uuid AND $3::text::uuid`, // the range finds the partitions
		ids, slices.Min(ids), slices.Max(ids)).Query(func(rows pgx.Rows) error {
		var r receipt
		_, err := pgx.ForEachRow(rows, []any{&r.ID, &r.Provider, &r.Kind, &r.Query, &r.Body, &r.DedupeKey, &r.ReceivedAt, &r.Erased}, func() error {
			i := byID[r.ID]
			i.receipt = r
			i.receipt.Body = append([]byte(nil), r.Body...)
			i.receipt.JobID = i.row.ID
			i.lone = r.Erased // there is nothing left to apply, which the path of its own says
			return nil
		})
		if err != nil {
			return fmt.Errorf("read receipts: %w", err)
		}
		return nil
	})
}

// markReceipts is [markReceipt] for a group, queued on batch. Receipts of groups are none that hold sends back.
func markReceipts(batch *pgx.Batch, items []*groupItem) {
	var ids, outcomes, details []string
	for _, i := range items {
		if !i.lone {
			ids, outcomes, details = append(ids, i.id.String()), append(outcomes, i.result.outcome), append(details, i.result.detail)
		}
	}
	if len(ids) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO receipt_outcomes AS o (receipt_id, outcome, detail)
		SELECT u.id::uuid, u.outcome, NULLIF(u.detail, '')
		FROM unnest($1::text[], $2::text[], $3::text[]) AS u (id, outcome, detail)
		ORDER BY 1
		ON CONFLICT (receipt_id) DO UPDATE
		SET outcome = EXCLUDED.outcome, detail = EXCLUDED.detail, match_key = NULL, processed_at = now()
		WHERE o.outcome <> 'applied' AND o.outcome IS DISTINCT FROM EXCLUDED.outcome`, ids, outcomes, details)
}
