package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// BusinessSort is an order of a list of businesses.
type BusinessSort string

// The orders; a minus turns one round.
const (
	SortName        BusinessSort = "name"
	SortCreated     BusinessSort = "created_at"
	SortUpdated     BusinessSort = "updated_at"
	SortNameDesc    BusinessSort = "-name"
	SortCreatedDesc BusinessSort = "-created_at"
	SortUpdatedDesc BusinessSort = "-updated_at"
)

// BusinessPosition is a place in a sorted list: behind the business with this key and id.
type BusinessPosition struct {
	Name string    `json:"n,omitempty"`
	At   time.Time `json:"t,omitzero"`
	ID   int64     `json:"i"`
}

// Position is the place behind a business.
func (s BusinessSort) Position(b Business) BusinessPosition {
	switch strings.TrimPrefix(string(s), "-") {
	case "name":
		return BusinessPosition{Name: b.Name, ID: b.ID}
	case "updated_at":
		return BusinessPosition{At: b.UpdatedAt, ID: b.ID}
	}
	return BusinessPosition{At: b.CreatedAt, ID: b.ID}
}

// Beginner begins transactions: a pool, a connection or a transaction.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// How long each way to a page may take before the next is tried. Which is right depends on how many match and where in
// the order they are, and of a filter of several parts no planner knows that. Together they stay below the 50 ms that an
// operator waits (docs/queries.md).
const (
	// As the planner would: mostly it walks the order and takes what matches, which is right where much does.
	walkPatience = 8 * time.Millisecond
	// By the filter's indexes alone, then sorted: right where little matches.
	filterPatience = 17 * time.Millisecond
	// Where each part of a filter is frequent and the whole is rare, neither comes to an end. Then businesses are looked
	// through in order, window by window, for as long as the budget lasts.
	listWindow = 200
	listBudget = 6 * time.Millisecond
)

// ListBusinesses returns at most limit businesses that the filter selects, in order, beginning behind a position (nil: at
// the top), and the position behind which the list goes on; nil where nothing is left. Pages by position neither repeat
// nor skip a row when others come or go. A page may hold fewer than limit, even none, with more to come: what a call reads
// is bounded.
func ListBusinesses(ctx context.Context, db Beginner, f BusinessFilter, sort BusinessSort, behind *BusinessPosition, limit int) ([]Business, *BusinessPosition, error) {
	q, err := newBusinessQuery(f, sort, limit)
	if err != nil {
		return nil, nil, err
	}
	for _, way := range []struct {
		patience time.Duration
		sorted   bool
	}{{walkPatience, false}, {filterPatience, true}} {
		list, err := q.run(ctx, db, behind, way.patience, way.sorted)
		const cancelled = "57014"
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			list, next := q.page(list)
			return list, next, nil
		case !ok || pgErr.Code != cancelled || ctx.Err() != nil:
			return nil, nil, fmt.Errorf("list businesses: %w", err)
		}
	}
	return q.inWindows(ctx, db, behind, listWindow, listBudget)
}

// businessQuery is one list, of which pages are asked for.
type businessQuery struct {
	filter    BusinessFilter
	sort      BusinessSort
	limit     int
	from      string // the tables, and the columns of the order in them
	key, id   string
	hidden    string // the key as no index has it; "" where the rows of businesses have it without one
	direction string
	beyond    string // compares a row with a position before it
	upTo      string // compares a row with the last of a window
}

func newBusinessQuery(f BusinessFilter, sort BusinessSort, limit int) (*businessQuery, error) {
	q := &businessQuery{
		filter: f, sort: sort, limit: limit, from: "businesses", id: "businesses.id", direction: "ASC", beyond: ">", upTo: "<=",
	}
	switch strings.TrimPrefix(string(sort), "-") {
	case "name":
		q.key, q.hidden = "businesses.name", "businesses.name || ''"
	case "created_at":
		q.key, q.hidden = "businesses.created_at", "businesses.created_at + interval '0'"
	case "updated_at":
		// The index is beside the table (migration 0005).
		q.from = "business_changes u JOIN businesses ON businesses.id = u.business_id"
		q.key, q.id = "u.updated_at", "u.business_id"
	default:
		return nil, fmt.Errorf("list businesses: unknown order %q", sort)
	}
	if strings.HasPrefix(string(sort), "-") {
		q.direction, q.beyond, q.upTo = "DESC", "<", ">="
	}
	return q, nil
}

// place adds a position to args and returns the condition on a row.
func (q *businessQuery) place(compare string, p *BusinessPosition, args *[]any) string {
	if p == nil {
		return "true"
	}
	var key any = p.At
	if q.key == "businesses.name" {
		key = p.Name
	}
	*args = append(*args, key, p.ID)
	return fmt.Sprintf("(%s, %s) %s ($%d, $%d)", q.key, q.id, compare, len(*args)-1, len(*args))
}

// run reads one row more than a page, from a position on; sorted keeps the planner from walking the order.
func (q *businessQuery) run(
	ctx context.Context, db Beginner, behind *BusinessPosition, patience time.Duration, sorted bool,
) ([]Business, error) {
	key := q.key
	if sorted && q.keys() != "businesses" {
		// The same time stands in the row that the filter reads.
		here := *q
		here.from, here.key, here.id = "businesses", "businesses.updated_at", "businesses.id"
		q, key = &here, here.key
	} else if sorted {
		key = q.hidden
	}
	var args []any
	conditions := q.filter.Where("", &args) + "\n\t\tAND " + q.place(q.beyond, behind, &args)
	args = append(args, q.limit+1)
	sql := fmt.Sprintf(`
		SELECT %s
		FROM %s
		WHERE %s
		ORDER BY %s %s, %s %[5]s
		LIMIT $%[7]d`, businessColumns, q.from, conditions, key, q.direction, q.id, len(args))
	return q.read(ctx, db, patience, sql, args)
}

// listSession sets up a transaction that reads a list, each statement within a time. Each filter has a plan of its own: one
// for all of its kind would be wrong for most. To compile it, or to begin workers for it, takes longer than it may take.
const listSession = `
	SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true),
		set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)`

// read runs a query within a time.
func (q *businessQuery) read(ctx context.Context, db Beginner, patience time.Duration, sql string, args []any) (list []Business, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(listSession, fmt.Sprintf("%dms", patience.Milliseconds()))
		batch.Queue(sql, args...)
		results := tx.SendBatch(ctx, batch)
		if _, err := results.Exec(); err != nil {
			return errors.Join(err, results.Close())
		}
		rows, err := results.Query()
		if err == nil {
			list, err = pgx.CollectRows(rows, scanBusiness)
		}
		if closed := results.Close(); err == nil {
			err = closed
		}
		return err
	})
	return list, err
}

// page cuts off the row that tells that there are more.
func (q *businessQuery) page(list []Business) ([]Business, *BusinessPosition) {
	if len(list) <= q.limit {
		return list, nil
	}
	list = list[:q.limit]
	next := q.sort.Position(list[q.limit-1])
	return list, &next
}

// inWindows looks through businesses in order, window by window, each twice as large as the one before, until a page is
// full, nothing is left, or the budget is used up; once through a window it always comes.
func (q *businessQuery) inWindows(
	ctx context.Context, db Beginner, behind *BusinessPosition, window int, budget time.Duration,
) (found []Business, next *BusinessPosition, err error) {
	until := time.Now().Add(budget)
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, listSession, "0"); err != nil {
			return err
		}
		for ; ; window *= 2 {
			end, err := q.windowEnd(ctx, tx, behind, window)
			if err != nil {
				return err
			}
			list, err := q.window(ctx, tx, behind, end)
			if err != nil {
				return err
			}
			found = append(found, list...)
			if len(found) > q.limit || end == nil {
				found, next = q.page(found)
				return nil
			}
			if behind = end; time.Now().After(until) {
				next = end
				return nil
			}
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list businesses: %w", err)
	}
	return found, next, nil
}

// window reads what matches between two positions: it takes these rows first, whatever the planner thinks of the filter.
func (q *businessQuery) window(ctx context.Context, tx pgx.Tx, behind, end *BusinessPosition) ([]Business, error) {
	var args []any
	filter := q.filter.probing(&args)
	positions := q.place(q.beyond, behind, &args) + " AND " + q.place(q.upTo, end, &args)
	args = append(args, q.limit+1)
	rows, err := tx.Query(ctx, fmt.Sprintf(`
		WITH w AS MATERIALIZED (
			SELECT %s AS key, %s AS id
			FROM %s
			WHERE %s
		)
		SELECT %s
		FROM w
		JOIN businesses ON businesses.id = w.id
		WHERE %s
		ORDER BY w.key %s, w.id %[7]s
		LIMIT $%[8]d`, q.key, q.id, q.keys(), positions, businessColumns, filter, q.direction, len(args)), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanBusiness)
}

// keys is the table that has the order's index.
func (q *businessQuery) keys() string {
	if q.id == "u.business_id" {
		return "business_changes u"
	}
	return "businesses"
}

// windowEnd is the position of the last row of a window; nil where fewer are left.
func (q *businessQuery) windowEnd(ctx context.Context, tx pgx.Tx, behind *BusinessPosition, window int) (*BusinessPosition, error) {
	var args []any
	condition := q.place(q.beyond, behind, &args)
	args = append(args, window-1)
	p := &BusinessPosition{}
	var key any = &p.At
	if q.key == "businesses.name" {
		key = &p.Name
	}
	err := tx.QueryRow(ctx, fmt.Sprintf(`
		SELECT %s, %s
		FROM %s
		WHERE %s
		ORDER BY %[1]s %[5]s, %[2]s %[5]s
		OFFSET $%[6]d
		LIMIT 1`, q.key, q.id, q.keys(), condition, q.direction, len(args)), args...).Scan(key, &p.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.At = p.At.UTC()
	return p, nil
}
