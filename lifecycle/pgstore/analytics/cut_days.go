package analytics

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// cuts is what cuts through days: the limits of a query, and its weeks.
type cuts struct {
	after, before time.Time
	byWeek        bool
	timeZone      string
	table, rows   string // whose days are asked for, and which of its rows
}

// cutDays are the days (UTC) that a query cuts through: where its limits are, and where its weeks begin, unless that is at
// midnight. What is added up by days is of no use there, and is read one by one.
func cutDays(ctx context.Context, q pgstore.Querier, c cuts) ([]time.Time, error) {
	days := []time.Time{}
	cut := func(t time.Time) {
		if d := t.UTC().Truncate(day); !t.Equal(d) && !slices.ContainsFunc(days, d.Equal) {
			days = append(days, d)
		}
	}
	cut(c.after)
	if !c.before.IsZero() {
		cut(c.before)
	}
	if !c.byWeek || zone(c.timeZone) == "UTC" {
		return days, nil
	}
	loc, err := time.LoadLocation(c.timeZone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", c.timeZone, err)
	}
	// From day to day by the index: there are some hundred among tens of thousands of rows.
	rows, err := q.Query(ctx, fmt.Sprintf(`
		WITH RECURSIVE held AS (
			SELECT min(day) AS day
			FROM %[1]s
			WHERE %[2]s
			UNION ALL
			SELECT (SELECT min(t.day) FROM %[1]s t WHERE %[2]s AND t.day > held.day)
			FROM held
			WHERE held.day IS NOT NULL
		)
		SELECT day::timestamp AT TIME ZONE 'UTC'
		FROM held
		WHERE day IS NOT NULL`, c.table, c.rows))
	if err != nil {
		return nil, err
	}
	held, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, err
	}
	for _, d := range held {
		end := d.Add(day - 1).In(loc)
		monday := time.Date(end.Year(), end.Month(), end.Day()-(int(end.Weekday())+6)%7, 0, 0, 0, 0, loc)
		if monday.After(d) {
			cut(monday)
		}
	}
	return days, nil
}
