package analytics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// Stage is a stage of the funnel.
type Stage string

// The stages. A later stage implies the earlier.
const (
	StageContacted Stage = "contacted"
	StageDelivered Stage = "delivered"
	StageOpened    Stage = "opened"
	StageClicked   Stage = "clicked"
	StageReplied   Stage = "replied"
	StagePurchased Stage = "purchased"
	StageActive    Stage = "active"
)

// Stages lists the stages in their order.
func Stages() []Stage {
	return []Stage{StageContacted, StageDelivered, StageOpened, StageClicked, StageReplied, StagePurchased, StageActive}
}

// FunnelBy is what a funnel is grouped by.
type FunnelBy string

// The groupings; the zero value makes one row of all.
const (
	FunnelByWeek     FunnelBy = "week"
	FunnelByChannel  FunnelBy = "channel"
	FunnelByCampaign FunnelBy = "campaign"
	FunnelByCountry  FunnelBy = "country"
)

// FunnelQuery selects businesses by their first contact, and says how to group them.
type FunnelQuery struct {
	By       FunnelBy
	Channel  string    // sms or email; "": both
	Campaign uuid.UUID // whose message was the first contact; Nil: any and none
	Country  string    // ISO 3166-1 alpha-2; "": any and none
	After    time.Time // at or after; full quarters of an hour; zero: no limit
	Before   time.Time // before; full quarters of an hour; zero: no limit
	TimeZone string    // IANA name, of the weeks; "": UTC
}

// Funnel is how far businesses came.
type Funnel struct {
	AsOf  *time.Time // everything committed before is counted; nil: a rebuild is under way, and the numbers are not complete
	Total FunnelRow
	Rows  []FunnelRow // by week: oldest first; else the most contacted first; empty where not grouped
}

// FunnelRow is one cohort. Of the fields that name it, that of the grouping is set.
type FunnelRow struct {
	Week     time.Time // Monday, 00:00 in the query's time zone
	Channel  string
	Campaign Campaign // the zero value: a message without one
	Country  string   // "": not known
	Counts   []int64  // businesses by stage, in the order of Stages; never growing
}

// Campaign names a campaign.
type Campaign struct {
	ID      uuid.UUID
	Name    string
	Status  string
	Channel string
}

// FromPrevious is the share of the stage before that reached a stage, by its place in [Stages]; false: nobody did.
func (r FunnelRow) FromPrevious(stage int) (float64, bool) {
	if stage == 0 || r.Counts[stage-1] == 0 {
		return 0, false
	}
	return float64(r.Counts[stage]) / float64(r.Counts[stage-1]), true
}

// FromFirst is the share of those contacted that reached a stage; false: nobody was.
func (r FunnelRow) FromFirst(stage int) (float64, bool) {
	if r.Counts[0] == 0 {
		return 0, false
	}
	return float64(r.Counts[stage]) / float64(r.Counts[0]), true
}

// ErrNoCampaign says that a query names a campaign that does not exist.
var ErrNoCampaign = errors.New("no such campaign")

// ReadFunnel reads a funnel.
func ReadFunnel(ctx context.Context, q pgstore.Querier, query FunnelQuery) (Funnel, error) {
	f, err := readFunnel(ctx, q, query)
	if err != nil {
		return Funnel{}, fmt.Errorf("read the funnel: %w", err)
	}
	return f, nil
}

func readFunnel(ctx context.Context, q pgstore.Querier, query FunnelQuery) (Funnel, error) {
	var f Funnel
	// Before the numbers: they hold at least what was counted by then.
	p, err := ReadProgress(ctx, q)
	if err != nil {
		return f, err
	}
	f.AsOf = p.AsOf
	edges, err := cutDays(ctx, q, cuts{
		after: query.After, before: query.Before, byWeek: query.By == FunnelByWeek, timeZone: query.TimeZone,
		table: `analytics_funnel_days`, rows: `true`,
	})
	if err != nil {
		return f, err
	}
	args := []any{query.Channel, query.Country, since(query.After), before(query.Before), edges}
	where := `($1 = '' OR channel = $1) AND ($2 = '' OR country = $2)`
	if query.Campaign != uuid.Nil {
		id, err := campaignID(ctx, q, query.Campaign)
		if err != nil {
			return f, err
		}
		args = append(args, id)
		where += ` AND campaign_id = $6`
	}
	column, key, order := `1`, `NULL::text`, `2 DESC, 1`
	switch query.By {
	case "":
	case FunnelByWeek:
		args = append(args, zone(query.TimeZone))
		column, order = `at`, `1`
		key = fmt.Sprintf(`extract(epoch FROM date_trunc('week', at, $%d))::bigint::text`, len(args))
	case FunnelByChannel:
		column, key = `channel`, `channel`
	case FunnelByCampaign:
		column, key = `campaign_id`, `campaign_id::text`
	case FunnelByCountry:
		column, key = `country`, `country`
	default:
		return f, fmt.Errorf("unknown grouping %q", query.By)
	}
	rows, err := q.Query(ctx, `
		WITH cohort AS (
			SELECT day::timestamp AT TIME ZONE 'UTC' AS at, channel, campaign_id, country, contacted, delivered, opened, clicked, replied, purchased, active
			FROM analytics_funnel_days
			WHERE day >= ($3::timestamptz AT TIME ZONE 'UTC')::date AND day < ($4::timestamptz AT TIME ZONE 'UTC')::date AND day <> ALL ($5::date[])
				AND `+where+`
			UNION ALL
			SELECT at, channel, campaign_id, country, contacted, delivered, opened, clicked, replied, purchased, active
			FROM unnest($5::date[]) AS edge (day)
			JOIN analytics_funnel f ON f.at >= edge.day::timestamp AT TIME ZONE 'UTC' AND f.at < (edge.day + 1)::timestamp AT TIME ZONE 'UTC'
			WHERE at >= $3 AND at < $4 AND `+where+`
		), part AS (
			-- First by the column as it stands: the weeks of thousands of rows cost less than those of all.
			SELECT `+column+`, sum(contacted) AS contacted, sum(delivered) AS delivered, sum(opened) AS opened, sum(clicked) AS clicked,
				sum(replied) AS replied, sum(purchased) AS purchased, sum(active) AS active
			FROM cohort
			GROUP BY 1
		)
		SELECT `+key+`, sum(contacted)::bigint, sum(delivered)::bigint, sum(opened)::bigint, sum(clicked)::bigint, sum(replied)::bigint,
			sum(purchased)::bigint, sum(active)::bigint
		FROM part
		GROUP BY 1
		HAVING sum(contacted) > 0
		ORDER BY `+order, planned(args)...)
	if err != nil {
		return f, err
	}
	type counted struct {
		key    *string
		counts [7]int64
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c counted, err error) {
		n := &c.counts
		err = row.Scan(&c.key, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6])
		return c, err
	})
	if err != nil {
		return f, err
	}
	f.Total.Counts = make([]int64, len(Stages()))
	var keys []string
	for _, c := range list {
		for i, n := range c.counts {
			f.Total.Counts[i] += n
		}
		if c.key != nil {
			keys = append(keys, *c.key)
		}
	}
	if query.By == "" {
		return f, nil
	}
	name, err := namer(ctx, q, query.By, keys, query.TimeZone)
	if err != nil {
		return f, err
	}
	for _, c := range list {
		r := FunnelRow{Counts: slices.Clone(c.counts[:])}
		n := name(*c.key)
		r.Week, r.Channel, r.Campaign, r.Country = n.week, n.channel, n.campaign, n.country
		f.Rows = append(f.Rows, r)
	}
	return f, nil
}
