package pgstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

// A list that is looked through, a part of it at a time or all at once, holds the same as one that the planner finds.
func TestListBusinessesByLooking(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	var want []int64
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for i := range 23 {
			id, _, err := UpsertBusiness(t.Context(), tx, NewBusiness{Name: fmt.Sprintf("B%02d", i), City: []string{"Antigua", "Tikal"}[i%5/4]})
			if err != nil {
				return err
			}
			if i%5 == 4 {
				want = append(want, id)
			}
		}
		return nil
	}))
	for _, sort := range []BusinessSort{SortName, SortNameDesc, SortCreated, SortCreatedDesc, SortUpdated, SortUpdatedDesc} {
		q, err := newBusinessQuery(BusinessFilter{City: "tikal", Q: "b"}, sort, 3)
		require.NoError(t, err)
		look := func(budget time.Duration) (got []int64, calls int) {
			var behind *BusinessPosition
			for {
				list, next, err := q.look(t.Context(), pool, behind, budget)
				require.NoError(t, err)
				require.LessOrEqual(t, len(list), 3)
				calls++
				for _, b := range list {
					got = append(got, b.ID)
				}
				if behind = next; next == nil {
					return got, calls
				}
			}
		}
		got, calls := look(0)
		require.ElementsMatch(t, want, got, "%s: each once", sort)
		require.Equal(t, 6, calls, "%s: without time, a page of rows and the one behind it a call, of 23", sort)
		whole, calls := look(time.Hour)
		require.Equal(t, got, whole, "%s", sort)
		require.Equal(t, 2, calls, "%s: with time, a page of what matches a call", sort)
		// So does one that is sorted instead of walked, in the same order.
		for behind, i := (*BusinessPosition)(nil), 0; i < len(got); {
			list, err := q.run(t.Context(), pool, behind, 0, true)
			require.NoError(t, err)
			list, behind = q.page(list)
			for _, b := range list {
				require.Equal(t, got[i], b.ID, "%s", sort)
				i++
			}
		}
	}
}

// interrupted begins transactions, and does something before the one with a number.
type interrupted struct {
	Beginner
	begun  int
	before map[int]func()
}

func (i *interrupted) Begin(ctx context.Context) (pgx.Tx, error) {
	i.begun++
	if do := i.before[i.begun]; do != nil {
		do()
	}
	return i.Beginner.Begin(ctx)
}

// What a walk found before its time was up is the beginning of the page.
func TestListBusinessesOutOfTime(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	const limit = 20
	var all []int64
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for i := range 40 {
			b := NewBusiness{Name: fmt.Sprintf("B%02d", i), Category: "bakery"}
			if i == 1 || i == 12 || i == 30 {
				b.Category = "slow"
			}
			id, _, err := UpsertBusiness(t.Context(), tx, b)
			if err != nil {
				return err
			}
			if b.Category == "bakery" {
				all = append(all, id)
			}
		}
		return nil
	}))
	// Who comes by a slow one is out of time.
	_, err := pool.Exec(t.Context(), `
		CREATE OR REPLACE FUNCTION onward_fold(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
		BEGIN
			IF t = 'slow' THEN
				PERFORM pg_sleep(0.3);
			END IF;
			RETURN lower(t);
		END
		$$`)
	require.NoError(t, err)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	// A large table's plan: by the order's index.
	_, err = conn.Exec(t.Context(), `
		SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('enable_sort', 'enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin')`)
	require.NoError(t, err)
	const patience = 100 * time.Millisecond
	q, err := newBusinessQuery(BusinessFilter{Category: "bakery"}, SortName, limit)
	require.NoError(t, err)

	// The first walk comes to the second business; by the filter it takes as long; looking, it passes all slow ones.
	db := &interrupted{Beginner: conn}
	page, next, err := q.list(t.Context(), db, nil, patience, patience, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 3, db.begun, "little was found by walking: three ways")
	require.Equal(t, all[:limit], ids(page))

	// The second walk comes to the third slow one, having found most of a page.
	db = &interrupted{Beginner: conn}
	behind := next
	page, next, err = q.list(t.Context(), db, behind, patience, patience, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 2, db.begun, "much was found by walking: it goes on")
	require.Equal(t, all[limit:], ids(page))
	require.Nil(t, next)

	// What was found and then moved ahead is on the page once.
	db = &interrupted{Beginner: conn, before: map[int]func(){2: func() {
		_, err := pool.Exec(t.Context(), `UPDATE businesses SET name = 'C' WHERE id = $1`, all[limit])
		require.NoError(t, err)
	}}}
	page, next, err = q.list(t.Context(), db, behind, patience, patience, time.Hour)
	require.NoError(t, err)
	require.Equal(t, 2, db.begun)
	require.Equal(t, all[limit:], ids(page))
	require.Nil(t, next)

	// Any other error ends it.
	db = &interrupted{Beginner: conn, before: map[int]func(){1: func() {
		_, err := pool.Exec(t.Context(), `DROP TABLE business_tags`)
		require.NoError(t, err)
	}}}
	_, _, err = q.list(t.Context(), db, nil, patience, patience, time.Hour)
	require.ErrorContains(t, err, "business_tags")
	require.Equal(t, 1, db.begun)
}

func ids(list []Business) []int64 {
	out := make([]int64, len(list))
	for i, b := range list {
		out[i] = b.ID
	}
	return out
}

// Where the filter is about the order's key, nothing outside of it is looked at.
func TestListBusinessesWithinBounds(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	var last int64
	for i := range 12 {
		require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
			last, _, err = UpsertBusiness(t.Context(), tx, NewBusiness{Name: fmt.Sprintf("B%02d", i)})
			return err
		}))
	}
	b, err := BusinessByID(t.Context(), pool, last)
	require.NoError(t, err)
	created, updated := b.CreatedAt.Add(-time.Microsecond), b.UpdatedAt.Add(-time.Microsecond)
	for name, f := range map[BusinessSort]BusinessFilter{
		SortCreated: {CreatedAfter: &created}, SortUpdated: {UpdatedAfter: &updated},
	} {
		for _, f := range []BusinessFilter{f, {CreatedAfter: f.CreatedAfter, UpdatedAfter: f.UpdatedAfter, ContactStatus: AnyOf{"pending"}}} {
			q, err := newBusinessQuery(f, name, 3)
			require.NoError(t, err)
			list, next, err := q.look(t.Context(), pool, nil, 0)
			require.NoError(t, err)
			require.Equal(t, []int64{last}, ids(list), "%s: without time, in one call", name)
			require.Nil(t, next)
			list, err = q.run(t.Context(), pool, nil, 0, false)
			require.NoError(t, err)
			require.Equal(t, []int64{last}, ids(list), "%s", name)
		}
	}
}
