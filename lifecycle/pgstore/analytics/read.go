package analytics

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"onward/lifecycle/pgstore"
)

// Progress is how far analytics have come.
type Progress struct {
	// AsOf: everything that was committed before is counted. Nil until a rebuild is complete.
	AsOf *time.Time
	// Rebuilding is true from a rebuild's start (the first is the installation's) until it is complete.
	Rebuilding bool
	// Now is the database's clock at the reading.
	Now time.Time
}

// clock is what silence is measured by: the moment as of which the rest holds, so that the same facts have the same answer.
func (p Progress) clock() time.Time {
	if p.AsOf != nil {
		return *p.AsOf
	}
	return p.Now
}

// ReadProgress reads how far analytics have come.
func ReadProgress(ctx context.Context, q pgstore.Querier) (Progress, error) {
	var p Progress
	err := q.QueryRow(ctx, `SELECT as_of, as_of IS NULL, now() FROM analytics_progress`).Scan(&p.AsOf, &p.Rebuilding, &p.Now)
	if err != nil {
		return p, fmt.Errorf("read the progress of analytics: %w", err)
	}
	if p.AsOf != nil {
		utc := p.AsOf.UTC()
		p.AsOf = &utc
	}
	return p, nil
}

// since and before are limits in time; the zero value is none.
func since(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}

func before(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}

// planned asks for a plan of its own: one for all queries of a kind does not know which days a query reads.
func planned(args []any) []any { return append([]any{pgx.QueryExecModeCacheDescribe}, args...) }

func zone(name string) string {
	if name == "" {
		return "UTC"
	}
	return name
}

func campaignID(ctx context.Context, q pgstore.Querier, public uuid.UUID) (int64, error) {
	var id int64
	err := q.QueryRow(ctx, `SELECT id FROM campaigns WHERE public_id = $1`, public).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNoCampaign
	}
	return id, err
}

// named is what a group's key stands for.
type named struct {
	week             time.Time
	channel, country string
	campaign         Campaign
}

// namer reads what keys of a grouping stand for.
func namer(ctx context.Context, q pgstore.Querier, by FunnelBy, keys []string, timeZone string) (func(key string) named, error) {
	switch by {
	case FunnelByWeek:
		loc, err := time.LoadLocation(zone(timeZone))
		if err != nil {
			return nil, fmt.Errorf("time zone %q: %w", timeZone, err)
		}
		return func(key string) named {
			seconds, _ := strconv.ParseInt(key, 10, 64) // written by our own query
			return named{week: time.Unix(seconds, 0).In(loc)}
		}, nil
	case FunnelByCountry:
		return func(key string) named { return named{country: key} }, nil
	case FunnelByCampaign:
		ids := make([]int64, 0, len(keys))
		for _, k := range keys {
			id, err := strconv.ParseInt(k, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("campaign %q: %w", k, err)
			}
			ids = append(ids, id)
		}
		rows, err := q.Query(ctx, `SELECT id::text, public_id, name, status, channel FROM campaigns WHERE id = ANY($1)`, ids)
		if err != nil {
			return nil, err
		}
		byID := map[string]Campaign{}
		var id string
		var c Campaign
		if _, err := pgx.ForEachRow(rows, []any{&id, &c.ID, &c.Name, &c.Status, &c.Channel}, func() error {
			byID[id] = c
			return nil
		}); err != nil {
			return nil, err
		}
		return func(key string) named { return named{campaign: byID[key]} }, nil
	}
	return func(key string) named { return named{channel: key} }, nil
}
