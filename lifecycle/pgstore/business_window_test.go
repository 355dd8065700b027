package pgstore

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

// A list that is looked through in windows holds the same as one that the planner finds.
func TestListBusinessesInWindows(t *testing.T) {
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
		var got []int64
		var behind *BusinessPosition
		calls := 0
		for {
			list, next, err := q.inWindows(t.Context(), pool, behind, 4, 0)
			require.NoError(t, err)
			require.LessOrEqual(t, len(list), 3)
			calls++
			for _, b := range list {
				got = append(got, b.ID)
			}
			if behind = next; next == nil {
				break
			}
		}
		require.ElementsMatch(t, want, got, "%s: each once", sort)
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
		require.Equal(t, 6, calls, "%s: a window a call", sort)
	}
}
