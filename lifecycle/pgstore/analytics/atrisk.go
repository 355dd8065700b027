package analytics

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// Reason is why a customer may be lost.
type Reason string

// The reasons.
const (
	ReasonPastDue       Reason = "past_due"
	ReasonFailedCharges Reason = "failed_charges"
	ReasonOpenTicket    Reason = "open_ticket"
	ReasonPaused        Reason = "paused"
	ReasonSilent        Reason = "silent"
)

// Reasons lists the reasons, the worst first: each outweighs all that follow it together.
func Reasons() []Reason {
	return []Reason{ReasonPastDue, ReasonFailedCharges, ReasonOpenTicket, ReasonPaused, ReasonSilent}
}

// weight is 16 for the worst reason down to 1.
func (r Reason) weight() int { return 1 << (len(Reasons()) - 1 - slices.Index(Reasons(), r)) }

// DefaultSilentDays is how long a customer may be silent where nothing else is asked for.
const DefaultSilentDays = 30

// AtRiskQuery selects customers at risk.
type AtRiskQuery struct {
	Reasons    []Reason        // any of these; none: all
	SilentDays int             // 1 to 3650; 0: DefaultSilentDays
	Behind     *AtRiskPosition // the Position of the last row of the page before; nil: from the top
	Limit      int
}

// AtRiskPosition is a place in the list. At holds the clock of the first page, so that nobody falls silent in between.
type AtRiskPosition struct {
	At       time.Time `json:"a"`
	Severity int       `json:"v"`
	Since    time.Time `json:"s"`
	ID       int64     `json:"i"`
}

// AtRisk is a page of customers at risk: the worst first, of those that are as bad the one that has been so for longest.
type AtRisk struct {
	AsOf *time.Time // see Funnel.AsOf
	Rows []AtRiskRow
}

// AtRiskRow is a customer and what is wrong.
type AtRiskRow struct {
	BusinessID   uuid.UUID
	Name         string
	Country      string
	Contact      lifecycle.Status
	Subscription lifecycle.Status
	Ticket       lifecycle.Status
	PurchasedAt  time.Time // its first purchase
	Severity     int       // 1 to 31: the sum of its reasons' weights
	Since        time.Time // the earliest of its reasons'
	Reasons      []RiskReason
	Position     AtRiskPosition
}

// RiskReason is one reason of a customer.
type RiskReason struct {
	Reason Reason
	Since  time.Time
	Count  int // failed charges since the last that succeeded; 0 for other reasons
}

// atRiskSQL lists customers with their reasons as a sum of weights. $1 is the clock, $2 the days of silence.
const atRiskSQL = `
	SELECT *
	FROM (
		SELECT c.*,
			CASE WHEN past_due_at IS NULL THEN 0 ELSE 16 END + CASE WHEN failed_at IS NULL THEN 0 ELSE 8 END
				+ CASE WHEN ticket_at IS NULL THEN 0 ELSE 4 END + CASE WHEN paused_at IS NULL THEN 0 ELSE 2 END
				+ CASE WHEN alive_at <= $1::timestamptz - make_interval(hours => 24 * $2::int) THEN 1 ELSE 0 END AS severity,
			LEAST(past_due_at, failed_at, ticket_at, paused_at,
				CASE WHEN alive_at <= $1::timestamptz - make_interval(hours => 24 * $2::int) THEN alive_at END) AS since
		FROM analytics_customers c
	) s
	WHERE severity > 0`

// ReadAtRisk reads who is at risk.
func ReadAtRisk(ctx context.Context, q pgstore.Querier, query AtRiskQuery) (AtRisk, error) {
	r, err := readAtRisk(ctx, q, query)
	if err != nil {
		return AtRisk{}, fmt.Errorf("read customers at risk: %w", err)
	}
	return r, nil
}

func readAtRisk(ctx context.Context, q pgstore.Querier, query AtRiskQuery) (AtRisk, error) {
	var out AtRisk
	p, err := ReadProgress(ctx, q)
	if err != nil {
		return out, err
	}
	out.AsOf = p.AsOf
	if query.SilentDays == 0 {
		query.SilentDays = DefaultSilentDays
	}
	mask, err := maskOf(query.Reasons)
	if err != nil {
		return out, err
	}
	at := p.clock()
	args := []any{&at, query.SilentDays, mask, query.Limit}
	behind := ""
	if b := query.Behind; b != nil {
		at = b.At
		args = append(args, b.Severity, b.Since, b.ID)
		behind = `AND (severity < $5 OR severity = $5 AND (since, business_id) > ($6::timestamptz, $7::bigint))`
	}
	rows, err := q.Query(ctx, `
		WITH page AS (`+atRiskSQL+` AND severity & $3 <> 0 `+behind+`
			ORDER BY severity DESC, since, business_id
			LIMIT $4
		)
		SELECT b.public_id, b.name, COALESCE(b.country, ''), b.contact_status, b.subscription_status, b.ticket_status,
			p.purchased_at, p.severity, p.since, p.business_id, p.past_due_at, p.failed_at, p.ticket_at, p.paused_at, p.alive_at, p.failed_charges
		FROM page p
		JOIN businesses b ON b.id = p.business_id
		ORDER BY p.severity DESC, p.since, p.business_id`, args...)
	if err != nil {
		return out, err
	}
	out.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r AtRiskRow, err error) {
		var id int64
		var pastDue, failed, ticket, paused, alive *time.Time
		var charges int
		err = row.Scan(&r.BusinessID, &r.Name, &r.Country, &r.Contact, &r.Subscription, &r.Ticket, &r.PurchasedAt, &r.Severity, &r.Since, &id,
			&pastDue, &failed, &ticket, &paused, &alive, &charges)
		if err != nil {
			return r, err
		}
		r.PurchasedAt, r.Since = r.PurchasedAt.UTC(), r.Since.UTC()
		r.Position = AtRiskPosition{At: at, Severity: r.Severity, Since: r.Since, ID: id}
		for i, since := range []*time.Time{pastDue, failed, ticket, paused, alive} {
			reason := Reasons()[i]
			if r.Severity&reason.weight() == 0 {
				continue
			}
			rr := RiskReason{Reason: reason, Since: since.UTC()}
			if reason == ReasonFailedCharges {
				rr.Count = charges
			}
			r.Reasons = append(r.Reasons, rr)
		}
		return r, nil
	})
	return out, err
}

func maskOf(reasons []Reason) (int, error) {
	if len(reasons) == 0 {
		return 1<<len(Reasons()) - 1, nil
	}
	mask := 0
	for _, r := range reasons {
		if !slices.Contains(Reasons(), r) {
			return 0, fmt.Errorf("unknown reason %q", r)
		}
		mask |= r.weight()
	}
	return mask, nil
}

// RiskSummary is how many customers there are, and how many are at risk for each reason. One with two reasons counts in
// both.
type RiskSummary struct {
	AsOf      *time.Time // see Funnel.AsOf
	Customers int64      // who bought, are not erased, and whose subscription is not cancelled
	AtRisk    int64
	ByReason  map[Reason]int64 // every reason is there
}

// ReadRiskSummary counts who is at risk; silentDays as in [AtRiskQuery].
func ReadRiskSummary(ctx context.Context, q pgstore.Querier, silentDays int) (RiskSummary, error) {
	s := RiskSummary{ByReason: map[Reason]int64{}}
	p, err := ReadProgress(ctx, q)
	if err != nil {
		return s, err
	}
	s.AsOf = p.AsOf
	if silentDays == 0 {
		silentDays = DefaultSilentDays
	}
	for _, r := range Reasons() {
		s.ByReason[r] = 0
	}
	rows, err := q.Query(ctx, `
		SELECT severity, count(*)
		FROM (`+atRiskSQL+`) r
		GROUP BY severity`, p.clock(), silentDays)
	if err != nil {
		return s, fmt.Errorf("count customers at risk: %w", err)
	}
	var severity int
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&severity, &n}, func() error {
		s.AtRisk += n
		for _, r := range Reasons() {
			if severity&r.weight() != 0 {
				s.ByReason[r] += n
			}
		}
		return nil
	}); err != nil {
		return s, fmt.Errorf("count customers at risk: %w", err)
	}
	if err := q.QueryRow(ctx, `SELECT count(*) FROM analytics_customers`).Scan(&s.Customers); err != nil {
		return s, fmt.Errorf("count customers: %w", err)
	}
	return s, nil
}
