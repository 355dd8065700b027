package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// LatestChange is a status that moved lately.
type LatestChange struct {
	At         time.Time
	BusinessID uuid.UUID
	Name       string
	Axis       lifecycle.Axis
	From, To   lifecycle.Status
	Event      lifecycle.Event
	Source     Source
}

// latestLooked bounds how far back is looked for transitions that moved something.
const latestLooked = 500

// LatestChanges returns the newest changes of statuses over all businesses, limit of them at most, newest first. It
// reads the newest transitions alone, so its cost does not grow with history.
func LatestChanges(ctx context.Context, q Querier, limit int) ([]LatestChange, error) {
	rows, err := q.Query(ctx, `
		SELECT t.at, b.public_id, b.name, t.axis, t.from_status, t.to_status, f.event, f.source
		FROM (
			SELECT *
			FROM (SELECT * FROM transitions ORDER BY id DESC LIMIT $1) newest
			WHERE from_status <> to_status AND axis IN ('contact', 'website', 'subscription', 'ticket')
			ORDER BY id DESC
			LIMIT $2
		) t
		JOIN facts f ON f.id = t.fact_id
		JOIN businesses b ON b.id = t.business_id
		ORDER BY t.id DESC`, latestLooked, limit)
	if err != nil {
		return nil, fmt.Errorf("read the latest changes: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (LatestChange, error) {
		var c LatestChange
		err := row.Scan(&c.At, &c.BusinessID, &c.Name, &c.Axis, &c.From, &c.To, &c.Event, &c.Source)
		c.At = c.At.UTC()
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the latest changes: %w", err)
	}
	return list, nil
}
