package crmapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/lifecycle/pgstore/analytics"
	"onward/web/apitoken"
)

// AtRiskCustomer is a customer that may be lost.
type AtRiskCustomer struct {
	BusinessID         uuid.UUID    `json:"business_id" format:"uuid"`
	Name               string       `json:"name"`
	Country            *string      `json:"country"`
	ContactStatus      string       `json:"contact_status"`
	SubscriptionStatus string       `json:"subscription_status"`
	TicketStatus       string       `json:"ticket_status"`
	PurchasedAt        time.Time    `json:"purchased_at" doc:"Its first purchase"`
	Severity           int          `json:"severity" minimum:"1" maximum:"31" doc:"Sum of 16 past_due, 8 failed_charges, 4 open_ticket, 2 paused, 1 silent: the order of the list"`
	Since              time.Time    `json:"since" doc:"The earliest of its reasons'"`
	Reasons            []RiskReason `json:"reasons" nullable:"false"`
}

// RiskReason is why a customer may be lost.
type RiskReason struct {
	Reason string    `json:"reason" enum:"past_due,failed_charges,open_ticket,paused,silent"`
	Since  time.Time `json:"since" doc:"Of silence: when the customer last did something"`
	Count  int       `json:"count,omitempty" doc:"Of failed_charges: since the last that succeeded"`
}

// RiskSummary counts who is at risk.
type RiskSummary struct {
	Customers int64            `json:"customers" doc:"Who bought, were not erased, and whose subscription is not cancelled"`
	AtRisk    int64            `json:"at_risk"`
	ByReason  map[string]int64 `json:"by_reason" doc:"Customers with this reason; one with two counts in both"`
}

type atRiskOutput struct {
	Body struct {
		AnalyticsPage[AtRiskCustomer]
		Summary *RiskSummary `json:"summary" doc:"Of all customers, whatever the filter; null on later pages"`
	}
}

func (*atRiskOutput) columns() []string { return columnsOf[AtRiskCustomer]() }

func (a *API) registerAtRisk(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/analytics/at-risk", id: "listAtRisk", tag: tagAnalytics,
		summary: "Customers that may be lost, the worst first, with the reasons",
		description: "Customers that are past due, have charges that failed since the last that succeeded, an open ticket, a paused " +
			"subscription, or did nothing for silent_days. Those of equal severity come in the order of since, the longest first.",
	}, a.listAtRisk)
}

type atRiskInput struct {
	Reason     []string `query:"reason" doc:"Any of these, with commas: past_due, failed_charges, open_ticket, paused, silent"`
	SilentDays int      `query:"silent_days" minimum:"1" maximum:"3650" default:"30" doc:"Days without a reply, click, open, ticket or first purchase that make silence"`
	Paging
}

func (a *API) listAtRisk(ctx context.Context, in *atRiskInput) (*atRiskOutput, error) {
	if err := checkAnyOf("query.reason", in.Reason, analytics.Reasons()); err != nil {
		return nil, err
	}
	const list = "analytics:at-risk"
	behind, err := position[analytics.AtRiskPosition](in.Paging, list)
	if err != nil {
		return nil, err
	}
	q := analytics.AtRiskQuery{SilentDays: in.SilentDays, Behind: behind, Limit: in.Limit + 1}
	for _, r := range in.Reason {
		q.Reasons = append(q.Reasons, analytics.Reason(r))
	}
	r, err := analytics.ReadAtRisk(ctx, a.opts.Pool, q)
	if err != nil {
		return nil, err
	}
	p, err := page(in.Paging, list, r.Rows, viewAtRisk, func(r analytics.AtRiskRow) any { return r.Position })
	if err != nil {
		return nil, err
	}
	out := &atRiskOutput{}
	out.Body.AsOf, out.Body.Items, out.Body.NextCursor = r.AsOf, p.Body.Items, p.Body.NextCursor
	if behind != nil {
		return out, nil
	}
	s, err := analytics.ReadRiskSummary(ctx, a.opts.Pool, in.SilentDays)
	if err != nil {
		return nil, err
	}
	out.Body.Summary = &RiskSummary{Customers: s.Customers, AtRisk: s.AtRisk, ByReason: map[string]int64{}}
	for reason, n := range s.ByReason {
		out.Body.Summary.ByReason[string(reason)] = n
	}
	return out, nil
}

func viewAtRisk(r analytics.AtRiskRow) AtRiskCustomer {
	v := AtRiskCustomer{
		BusinessID: r.BusinessID, Name: r.Name, Country: orNull(r.Country), ContactStatus: string(r.Contact),
		SubscriptionStatus: string(r.Subscription), TicketStatus: string(r.Ticket), PurchasedAt: r.PurchasedAt, Severity: r.Severity, Since: r.Since,
		Reasons: make([]RiskReason, len(r.Reasons)),
	}
	for i, why := range r.Reasons {
		v.Reasons[i] = RiskReason{Reason: string(why.Reason), Since: why.Since, Count: why.Count}
	}
	return v
}
