package pgstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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

// ListBusinesses returns at most limit businesses that the filter selects, in order, beginning behind a
// position (nil: at the top). Pages by position neither repeat nor skip a row when others come or go.
func ListBusinesses(ctx context.Context, q Querier, f BusinessFilter, sort BusinessSort, behind *BusinessPosition, limit int) ([]Business, error) {
	column, direction, compare := strings.TrimPrefix(string(sort), "-"), "ASC", ">"
	if strings.HasPrefix(string(sort), "-") {
		direction, compare = "DESC", "<"
	}
	switch sort {
	case SortName, SortCreated, SortUpdated, SortNameDesc, SortCreatedDesc, SortUpdatedDesc:
	default:
		return nil, fmt.Errorf("list businesses: unknown order %q", sort)
	}
	var args []any
	condition := f.Where("", &args)
	if behind != nil {
		var key any = behind.At
		if column == "name" {
			key = behind.Name
		}
		args = append(args, key, behind.ID)
		condition += fmt.Sprintf("\n\t\tAND (%s, id) %s ($%d, $%d)", column, compare, len(args)-1, len(args))
	}
	args = append(args, limit)
	rows, err := q.Query(ctx, fmt.Sprintf(`
		SELECT %s
		FROM businesses
		WHERE %s
		ORDER BY %s %s, id %s
		LIMIT $%d`, businessColumns, condition, column, direction, direction, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list businesses: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanBusiness)
	if err != nil {
		return nil, fmt.Errorf("list businesses: %w", err)
	}
	return list, nil
}
