package pgstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// foldSites refolds every site that a new fact names and appends what changed to the fact's changes.
// A site has few facts (its making, its charges, its subscription), so each is folded from scratch.
func foldSites(ctx context.Context, tx pgx.Tx, applied []Applied, fresh []int) error {
	last := map[int64]int{} // site → the newest of its new facts, which a change is attributed to
	var ids []int64
	for _, i := range fresh {
		if id := applied[i].Fact.SiteID; id != 0 {
			last[id] = i
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	before, err := lockSites(ctx, tx, ids)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT site_id, event, occurred_at, dedupe_key
		FROM facts
		WHERE site_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("read facts of sites: %w", err)
	}
	facts := map[int64][]lifecycle.Fact{}
	var id int64
	var f lifecycle.Fact
	if _, err := pgx.ForEachRow(rows, []any{&id, &f.Event, &f.OccurredAt, &f.Key}, func() error {
		facts[id] = append(facts[id], f)
		return nil
	}); err != nil {
		return fmt.Errorf("read facts of sites: %w", err)
	}
	for _, id := range ids {
		was, ok := before[id]
		if !ok {
			return fmt.Errorf("fold site %d: no such site", id)
		}
		now := lifecycle.FoldSite(facts[id])
		changes := lifecycle.SiteChanges(was, now, lifecycle.Applied)
		if len(changes) == 0 {
			continue
		}
		_, err := tx.Exec(ctx, `
			UPDATE sites
			SET status = $2, subscription_status = $3, updated_at = now()
			WHERE id = $1`, id, string(now.Status), string(now.Subscription))
		if err != nil {
			return fmt.Errorf("write status of site %d: %w", id, err)
		}
		applied[last[id]].Changes = append(applied[last[id]].Changes, changes...)
	}
	return nil
}

func lockSites(ctx context.Context, tx pgx.Tx, ids []int64) (map[int64]lifecycle.SiteState, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, status, subscription_status
		FROM sites
		WHERE id = ANY($1)
		ORDER BY id
		FOR NO KEY UPDATE`, ids)
	if err != nil {
		return nil, fmt.Errorf("lock sites: %w", err)
	}
	states := make(map[int64]lifecycle.SiteState, len(ids))
	var id int64
	var s lifecycle.SiteState
	if _, err := pgx.ForEachRow(rows, []any{&id, &s.Status, &s.Subscription}, func() error {
		states[id] = s
		return nil
	}); err != nil {
		return nil, fmt.Errorf("lock sites: %w", err)
	}
	return states, nil
}
