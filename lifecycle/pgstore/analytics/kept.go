package analytics

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// line writes a contribution down, to be compared.
func (s stored) line() string {
	return rowLine([]any{s.contactedAt, s.channel, s.campaign, s.country, s.furthest, s.touches, s.customer})
}

func rowLine(row []any) string {
	parts := make([]string, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case time.Time:
			parts[i] = v.UTC().Format(time.RFC3339Nano)
		case *time.Time:
			if v != nil {
				parts[i] = v.UTC().Format(time.RFC3339Nano)
			}
		case nil:
		default:
			parts[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(parts, "|")
}

// readKept reads everything that is kept of businesses: a line for each row.
func readKept(ctx context.Context, q pgstore.Querier, ids []int64) (map[int64][]string, error) {
	lines := map[int64][]string{}
	rows, err := readStored(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	for id, s := range rows {
		lines[id] = append(lines[id], s.line())
	}
	for _, query := range []string{
		`SELECT business_id, payment_id, model, from_days, until_days, campaign_id, channel, at, currency, amount_in_cents, refunded_in_cents,
			touched_days
		FROM analytics_credits
		WHERE business_id = ANY($1)`,
		`SELECT business_id, purchased_at, alive_at, past_due_at, paused_at, ticket_at, failed_at, failed_charges
		FROM analytics_customers
		WHERE business_id = ANY($1)`,
	} {
		rows, err := q.Query(ctx, query, ids)
		if err != nil {
			return nil, fmt.Errorf("read what is kept of customers: %w", err)
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		if err != nil {
			return nil, fmt.Errorf("read what is kept of customers: %w", err)
		}
		for _, values := range list {
			id, ok := values[0].(int64)
			if !ok {
				return nil, fmt.Errorf("read what is kept of customers: an id of type %T", values[0])
			}
			for i, v := range values {
				if v == nil {
					values[i] = ""
				}
			}
			lines[id] = append(lines[id], rowLine(values[1:]))
		}
	}
	for id := range lines {
		slices.Sort(lines[id])
	}
	return lines, nil
}
