package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// the order they are, and of a filter of several parts no planner knows that. Together they stay well below the 50 ms that
// an operator waits (docs/queries.md).
const (
	// As the planner would: mostly it walks the order and takes what matches, which is right where much does. What it found
	// when its time is up is kept.
	walkPatience = 7 * time.Millisecond
	// By the filter's indexes alone, then sorted: right where little matches.
	filterPatience = 9 * time.Millisecond
	// Where each part of a filter is frequent and the whole is rare, neither comes to an end. Then businesses are looked
	// through in order until so much time is gone since the beginning, and for this long at least.
	listBudget = 22 * time.Millisecond
	lookBudget = 6 * time.Millisecond
	// Where walking found a tenth of a page, too much matches for the second way: it goes on looking at once.
	walkedFar = 10
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
	list, next, err := q.list(ctx, db, behind, walkPatience, filterPatience, listBudget)
	if err != nil {
		return nil, nil, fmt.Errorf("list businesses: %w", err)
	}
	return list, next, nil
}

// list tries one way after the other.
func (q *businessQuery) list(
	ctx context.Context, db Beginner, behind *BusinessPosition, walk, filter, budget time.Duration,
) ([]Business, *BusinessPosition, error) {
	begun := time.Now()
	found, err := q.run(ctx, db, behind, walk, false)
	if outOfTime(ctx, err) && len(found)*walkedFar < q.limit {
		var sorted []Business
		if sorted, err = q.run(ctx, db, behind, filter, true); err == nil {
			found = sorted
		}
	}
	if err == nil || len(found) > q.limit {
		found, next := q.page(found)
		return found, next, nil
	}
	if !outOfTime(ctx, err) {
		return nil, nil, err
	}
	rest := *q
	if len(found) > 0 {
		p := q.sort.Position(found[len(found)-1])
		behind = &p
		if rest.limit -= len(found); rest.limit == 0 {
			return found, behind, nil
		}
	}
	more, next, err := rest.look(ctx, db, behind, max(budget-time.Since(begun), lookBudget))
	for _, b := range more {
		// What was changed in between may have moved ahead.
		if !slices.ContainsFunc(found, func(f Business) bool { return f.ID == b.ID }) {
			found = append(found, b)
		}
	}
	return found, next, err
}

// outOfTime says whether a statement was ended by its own patience.
func outOfTime(ctx context.Context, err error) bool {
	const cancelled = "57014"
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == cancelled && ctx.Err() == nil
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
}

func newBusinessQuery(f BusinessFilter, sort BusinessSort, limit int) (*businessQuery, error) {
	q := &businessQuery{
		filter: f, sort: sort, limit: limit, from: "businesses", id: "businesses.id", direction: "ASC", beyond: ">",
	}
	switch strings.TrimPrefix(string(sort), "-") {
	case "name":
		q.key, q.hidden = "businesses.name", "businesses.name || ''"
	case "created_at":
		q.key, q.hidden = "businesses.created_at", "businesses.created_at + interval '0'"
	case "updated_at":
		// The index is beside the table (migration 0005), and some filters need nothing else of it.
		q.key, q.hidden = "businesses.updated_at", "businesses.updated_at + interval '0'"
		q.from = "(SELECT business_id AS id, updated_at FROM business_changes) AS businesses"
		if f.needsRow() {
			q.from = "business_changes u JOIN businesses ON businesses.id = u.business_id"
			q.key, q.id, q.hidden = "u.updated_at", "u.business_id", ""
		}
	default:
		return nil, fmt.Errorf("list businesses: unknown order %q", sort)
	}
	if strings.HasPrefix(string(sort), "-") {
		q.direction, q.beyond = "DESC", "<"
	}
	return q, nil
}

// place adds a position to args and returns the condition on a row.
func (q *businessQuery) place(p *BusinessPosition, args *[]any) string {
	if p == nil {
		return "true"
	}
	var key any = p.At
	if q.key == "businesses.name" {
		key = p.Name
	}
	*args = append(*args, key, p.ID)
	return fmt.Sprintf("(%s, %s) %s ($%d, $%d)", q.key, q.id, q.beyond, len(*args)-1, len(*args))
}

// bounds are the parts of the filter that are about the order's key, for its index to begin and end by.
func (q *businessQuery) bounds(args *[]any) string {
	after, before := q.filter.CreatedAfter, q.filter.CreatedBefore
	switch strings.TrimPrefix(string(q.sort), "-") {
	case "name":
		return ""
	case "updated_at":
		after, before = q.filter.UpdatedAfter, q.filter.UpdatedBefore
	}
	terms := ""
	for _, bound := range []struct {
		compare string
		at      *time.Time
	}{{">", after}, {"<", before}} {
		if bound.at != nil {
			*args = append(*args, *bound.at)
			terms += fmt.Sprintf(" AND %s %s $%d", q.key, bound.compare, len(*args))
		}
	}
	return terms
}

// run reads one row more than a page, from a position on; sorted keeps the planner from walking the order. It returns the
// first of these rows when the time is up.
func (q *businessQuery) run(
	ctx context.Context, db Beginner, behind *BusinessPosition, patience time.Duration, sorted bool,
) ([]Business, error) {
	key := q.key
	if sorted && q.hidden == "" {
		// The same time stands in the row that the filter reads.
		here := *q
		here.from, here.key, here.id = "businesses", "businesses.updated_at", "businesses.id"
		q, key = &here, here.key
	} else if sorted {
		key = q.hidden
	}
	var args []any
	conditions := q.filter.Where("", &args) + "\n\t\tAND " + q.place(behind, &args)
	if !sorted {
		conditions += q.bounds(&args)
	}
	args = append(args, q.limit+1)
	sql := fmt.Sprintf(`
		SELECT %s
		FROM (
			SELECT %s AS key, %s AS row_id
			FROM %s
			WHERE %s
			ORDER BY 1 %s, 2 %[6]s
			LIMIT $%[7]d
		) w
		JOIN businesses ON businesses.id = w.row_id
		ORDER BY w.key %[6]s, w.row_id %[6]s`, businessColumns, key, q.id, q.from, conditions, q.direction, len(args))
	return listRows(ctx, db, listSession, patience, sql, args, scanBusiness)
}

// listSession sets up a transaction that reads a list, each statement within a time. Each filter has a plan of its own: one
// for all of its kind would be wrong for most. To compile it, or to begin workers for it, takes longer than it may take.
const listSession = `
	SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true),
		set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)`

// lookSession does the same for a look: whatever the planner thinks of a filter, it goes by the order's index.
const lookSession = listSession + `,
		set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// listRows runs a query within a time; 0: as long as it takes. With an error it returns the rows that came before it.
func listRows[T any](
	ctx context.Context, db Beginner, session string, patience time.Duration, sql string, args []any, scan pgx.RowToFunc[T],
) (list []T, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(session, fmt.Sprintf("%dms", patience.Milliseconds()))
		batch.Queue(sql, args...)
		results := tx.SendBatch(ctx, batch)
		if _, err := results.Exec(); err != nil {
			return errors.Join(err, results.Close())
		}
		rows, err := results.Query()
		if err == nil {
			for rows.Next() {
				one, err := scan(rows)
				if err != nil {
					return errors.Join(err, results.Close())
				}
				list = append(list, one)
			}
			err = rows.Err()
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

// looked is a business that a look came by.
type looked struct {
	business Business
	matches  bool
}

// look goes through businesses in order and takes what matches, until a page is full, nothing is left, or the budget is
// used up: then the page is what was found, and the list goes on behind the last row looked at. A page of rows it always
// looks at, so that a list comes to its end.
func (q *businessQuery) look(
	ctx context.Context, db Beginner, behind *BusinessPosition, budget time.Duration,
) (found []Business, next *BusinessPosition, err error) {
	var args []any
	filter := q.filter.probing(&args)
	place := q.place(behind, &args) + q.bounds(&args)
	args = append(args, budget.Microseconds(), q.limit+1)
	// Once the time is up each row is taken, whether it matches or not, and the limit ends it.
	rows, err := listRows(ctx, db, lookSession, 0, fmt.Sprintf(`
		SELECT %s, w.matches
		FROM (
			SELECT %s AS key, %s AS row_id, COALESCE(%s, false) AS matches
			FROM %s
			WHERE %s
				AND (clock_timestamp() > statement_timestamp() + $%d * interval '1 microsecond' OR %[4]s)
			ORDER BY 1 %[8]s, 2 %[8]s
			LIMIT $%[9]d
		) w
		JOIN businesses ON businesses.id = w.row_id
		ORDER BY w.key %[8]s, w.row_id %[8]s`,
		businessColumns, q.key, q.id, "("+filter+")", q.from, place, len(args)-1, q.direction, len(args)), args,
		func(row pgx.CollectableRow) (l looked, err error) {
			l.business, err = scanBusinessAnd(row, &l.matches)
			return l, err
		})
	if err != nil {
		return nil, nil, err
	}
	for _, l := range rows {
		if l.matches {
			found = append(found, l.business)
		}
	}
	if len(found) < len(rows) && len(rows) > q.limit {
		last := q.sort.Position(rows[len(rows)-1].business)
		return found, &last, nil
	}
	found, next = q.page(found)
	return found, next, nil
}
