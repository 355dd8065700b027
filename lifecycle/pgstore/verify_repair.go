package pgstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// ActionRepair is operator_actions.action of a repair; the business is its target.
const ActionRepair = "business.repair"

// lastFacts reads the newest facts that speak of a drift's axis.
func (l *ledger) lastFacts(ctx context.Context, q Querier, d Drift) ([]LastFact, error) {
	where, id := `business_id = $1`, l.id
	for _, s := range l.sites {
		if d.Site == s.public {
			where, id = `site_id = $1`, s.id
		}
	}
	rows, err := q.Query(ctx, `
		SELECT id, event, occurred_at, recorded_at, source
		FROM facts
		WHERE `+where+` AND event = ANY($2)
		ORDER BY occurred_at DESC, dedupe_key DESC
		LIMIT $3`, id, eventsOf(d.Axis), lastFacts)
	if err != nil {
		return nil, fmt.Errorf("read the last facts: %w", err)
	}
	facts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LastFact])
	if err != nil {
		return nil, fmt.Errorf("read the last facts: %w", err)
	}
	for i := range facts {
		facts[i].OccurredAt, facts[i].RecordedAt = facts[i].OccurredAt.UTC(), facts[i].RecordedAt.UTC()
	}
	return facts, nil
}

// eventsOf lists the events that speak of an axis: all of them for "".
func eventsOf(axis lifecycle.Axis) []string {
	var events []string
	for _, e := range lifecycle.Events() {
		if axis == "" || slices.Contains(e.Axes(), axis) || moves(e, axis) {
			events = append(events, string(e))
		}
	}
	return events
}

// moves reports whether there is a site whose axis an event would move.
func moves(e lifecycle.Event, axis lifecycle.Axis) bool {
	for _, status := range lifecycle.Statuses(lifecycle.AxisSite) {
		for _, subscription := range lifecycle.Statuses(lifecycle.AxisSiteSubscription) {
			_, changes := lifecycle.TransitionSite(lifecycle.SiteState{Status: status, Subscription: subscription}, e)
			if slices.ContainsFunc(changes, func(c lifecycle.Change) bool { return c.Axis == axis }) {
				return true
			}
		}
	}
	return false
}

// repair writes what the facts fold to, for a business that this transaction has locked. It leaves a trace: a
// corrected transition for each axis that drifted, on the newest fact that speaks of it (or else of the business), and in
// the operators' log who did it, why, what drifted and which transitions that made. Where there is no fact, there is no
// transition that could name one: the log alone tells.
func (l *ledger) repair(ctx context.Context, tx pgx.Tx, r Repair, found []Drift) error {
	batch := &pgx.Batch{}
	writeStatuses(batch, map[int64]*business{
		l.id: {id: l.id, state: l.folded, foldedAt: l.foldedAt.at, key: l.foldedAt.key, changed: true},
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write statuses: %w", err)
	}
	for _, s := range l.sites {
		if s.stored == s.folded {
			continue
		}
		_, err := tx.Exec(ctx, `
			UPDATE sites
			SET status = $2, subscription_status = $3, updated_at = now()
			WHERE id = $1`, s.id, s.folded.Status, s.folded.Subscription)
		if err != nil {
			return fmt.Errorf("write status of site %d: %w", s.id, err)
		}
	}
	transitions, corrected, err := l.correct(ctx, tx, found)
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Repaired = found[i].Field != FieldTransitions || slices.Contains(corrected, axisOf{found[i].Site, found[i].Axis})
	}
	details, err := json.Marshal(map[string]any{"drift": found, "transitions": transitions})
	if err != nil {
		return fmt.Errorf("record the repair: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO operator_actions (actor, action, target_type, target_id, reason, details)
		VALUES ($1, $2, 'business', $3, $4, $5::text::jsonb)`, r.Actor, ActionRepair, l.public.String(), r.Reason, string(details))
	if err != nil {
		return fmt.Errorf("record the repair: %w", err)
	}
	return nil
}

// axisOf is an axis of the business, or of one of its sites.
type axisOf struct {
	site uuid.UUID
	axis lifecycle.Axis
}

// correct adds the transitions of a repair, one for each axis that drifted, and returns their ids and the axes.
func (l *ledger) correct(ctx context.Context, tx pgx.Tx, found []Drift) (ids []int64, corrected []axisOf, err error) {
	done := map[axisOf]bool{}
	ids = []int64{}
	// A status comes before its transitions and marks: where it drifted, the transition says from what.
	for _, d := range found {
		key := axisOf{d.Site, d.Axis}
		if done[key] || d.Field == FieldPosition {
			continue
		}
		done[key] = true
		fact, err := l.anchor(ctx, tx, d)
		if err != nil {
			return nil, nil, err
		}
		if fact == 0 {
			continue
		}
		from, to := d.Stored, d.Folded
		if d.Field != FieldStatus && d.Field != FieldTransitions {
			// Only a mark beneath the status drifted.
			from, to = string(l.folded.Status(d.Axis)), string(l.folded.Status(d.Axis))
		}
		var id int64
		err = tx.QueryRow(ctx, `
			INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
			VALUES ($1, $2, $3, $4, $5, $6)
			RETURNING id`, fact, l.id, string(d.Axis), from, to, string(lifecycle.Corrected)).Scan(&id)
		if err != nil {
			return nil, nil, fmt.Errorf("write transitions: %w", err)
		}
		ids, corrected = append(ids, id), append(corrected, key)
	}
	return ids, corrected, nil
}

// anchor is the fact that the transition of a repair names; 0: there is none.
func (l *ledger) anchor(ctx context.Context, q Querier, d Drift) (int64, error) {
	if len(d.LastFacts) > 0 {
		return d.LastFacts[0].ID, nil
	}
	if d.Site != uuid.Nil {
		return 0, nil // of the business's other facts none names the site
	}
	newest, err := l.lastFacts(ctx, q, Drift{})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].ID, nil
}
