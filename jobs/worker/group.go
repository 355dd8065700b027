package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"onward/jobs"
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

// groupItem is one job that waits to be applied with others.
type groupItem struct {
	id   uuid.UUID
	row  *rivertype.JobRow
	done chan error // buffered: an answer never waits for its reader

	receipt receipt
	result  result
	lone    bool // not for the group: nothing of it was written
}

// group applies receipts of one kind that are worked at the same time in one process together, in one transaction. What
// arrives while a group commits makes the next; an idle process applies a receipt at once. There is no goroutine of its
// own: a job that finds a committer free leads the next group, and its peers wait for it.
//
// Groups share transactions, not failures: when one fails, each of its jobs is told to go alone.
type group struct {
	apply func(ctx context.Context, tx pgx.Tx, items []*groupItem) error
	run   func(ctx context.Context, fn func(pgx.Tx) error) error

	mu      sync.Mutex
	waiting []*groupItem
	leaders int
}

// do applies one receipt, alone or with others, and returns what came of it. errNotInGroup: apply it alone.
func (g *group) do(ctx context.Context, id uuid.UUID, row *rivertype.JobRow) (receipt, result, error) {
	item := &groupItem{id: id, row: row, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, item)
	lead := g.leaders < groupCommitters
	if lead {
		g.leaders++
	}
	g.mu.Unlock()
	if lead {
		g.lead(ctx)
	}
	// Also when ctx has ended: what the group commits is committed for this job, too.
	err := <-item.done
	return item.receipt, item.result, err
}

// lead commits groups until nobody waits. Its own job is in the first.
func (g *group) lead(ctx context.Context) {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), maxGroup)
		if n == 0 {
			g.leaders--
			g.mu.Unlock()
			return
		}
		items := g.waiting[:n:n]
		g.waiting = append([]*groupItem(nil), g.waiting[n:]...)
		g.mu.Unlock()
		g.commit(ctx, items)
	}
}

// commit applies one group and answers its jobs. The leader's own end must not cut off its peers.
func (g *group) commit(ctx context.Context, items []*groupItem) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), groupTimeout, errors.New("time-out of a group of jobs"))
	defer cancel()
	answered := false
	defer func() {
		// A panic in a group, too, is one job's failure at most: each finds out alone whose.
		if !answered {
			_ = recover()
			for _, i := range items {
				i.done <- errNotInGroup
			}
		}
	}()
	err := g.run(ctx, func(tx pgx.Tx) error { return g.apply(ctx, tx, items) })
	answered = true
	for _, i := range items {
		switch {
		case err != nil, i.lone:
			i.done <- errNotInGroup
		default:
			i.done <- nil
		}
	}
}

// applyInGroup is [applier.apply] for a kind that can share transactions; alone is the same for a receipt of its own.
func (a *applier) applyInGroup(ctx context.Context, row *rivertype.JobRow, args jobs.ReceiptArgs, g *group, alone func(context.Context, pgx.Tx, receipt) (result, error)) error {
	id, err := uuid.Parse(args.ReceiptID)
	if err != nil || row.Attempt > 1 {
		// What failed before goes alone from the start.
		return a.apply(ctx, row, args, alone)
	}
	r, res, err := g.do(ctx, id, row)
	if errors.Is(err, errNotInGroup) {
		return a.apply(ctx, row, args, alone)
	}
	if err != nil {
		return fmt.Errorf("apply receipt %s: %w", id, err)
	}
	return a.applied(ctx, r, res)
}

// readReceipts reads the receipts of a group. Those that are gone go alone, which says so.
func readReceipts(ctx context.Context, tx pgx.Tx, items []*groupItem) error {
	byID := make(map[uuid.UUID]*groupItem, len(items))
	ids := make([]string, 0, len(items))
	for _, i := range items {
		if byID[i.id] != nil {
			i.lone = true // one receipt, two jobs: the second after the first
			continue
		}
		byID[i.id] = i
		ids = append(ids, i.id.String())
	}
	rows, err := tx.Query(ctx, `
		SELECT id, provider, kind, query, body, dedupe_key, received_at
		FROM webhook_events
		WHERE id = ANY($1::text[]::uuid[])`, ids)
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	var r receipt
	found := 0
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Provider, &r.Kind, &r.Query, &r.Body, &r.DedupeKey, &r.ReceivedAt}, func() error {
		i := byID[r.ID]
		i.receipt = r
		i.receipt.Body = append([]byte(nil), r.Body...)
		i.receipt.JobID = i.row.ID
		found++
		return nil
	})
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	if found < len(byID) {
		for _, i := range items {
			i.lone = i.lone || i.receipt.ID == uuid.Nil
		}
	}
	return nil
}

// markReceipts is [markReceipt] for a group. Receipts of groups are none that hold sends back.
func markReceipts(ctx context.Context, tx pgx.Tx, items []*groupItem) error {
	var ids, outcomes, details []string
	for _, i := range items {
		if !i.lone {
			ids, outcomes, details = append(ids, i.id.String()), append(outcomes, i.result.outcome), append(details, i.result.detail)
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO receipt_outcomes AS o (receipt_id, outcome, detail)
		SELECT u.id::uuid, u.outcome, NULLIF(u.detail, '')
		FROM unnest($1::text[], $2::text[], $3::text[]) AS u (id, outcome, detail)
		ORDER BY 1
		ON CONFLICT (receipt_id) DO UPDATE
		SET outcome = EXCLUDED.outcome, detail = EXCLUDED.detail, match_key = NULL, processed_at = now()
		WHERE o.outcome <> 'applied' AND o.outcome IS DISTINCT FROM EXCLUDED.outcome`, ids, outcomes, details)
	if err != nil {
		return fmt.Errorf("mark receipts: %w", err)
	}
	return nil
}
