package crmapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle/pgstore/analytics"
	"onward/web/apitoken"
)

// RevenueItem is the money of one group in one currency.
type RevenueItem struct {
	Attributed bool `json:"attributed" doc:"false: what no campaign is credited with"`
	CampaignName
	Channel *string    `json:"channel" doc:"Of the message that is credited"`
	Week    *time.Time `json:"week" doc:"Of the payment: its Monday, 00:00 in the time zone asked for"`
	RevenueSum
}

// RevenueSum is money in one currency.
type RevenueSum struct {
	Currency        string `json:"currency" doc:"ISO 4217"`
	Payments        int64  `json:"payments"`
	GrossInCents    int64  `json:"gross_in_cents"`
	RefundedInCents int64  `json:"refunded_in_cents"`
	NetInCents      int64  `json:"net_in_cents" doc:"Gross without what was refunded"`
}

type revenueOutput struct {
	Body struct {
		AnalyticsPage[RevenueItem]
		Totals []RevenueSum `json:"totals" nullable:"false" doc:"Of all payments, by currency: these are never added up"`
	}
}

func (*revenueOutput) columns() []string { return columnsOf[RevenueItem]() }

func (a *API) registerRevenue(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/analytics/revenue", id: "getRevenue", tag: tagAnalytics,
		summary: "Whose money it is: payments by the campaign that touched last, or first",
		description: "Each payment is credited to the campaign whose message went out to the business last (or first) within window_days " +
			"before it; what none is credited with is a row of its own. Refunds are subtracted. The rows of a currency add up to its payments. Not paged.",
	}, a.getRevenue)
}

type revenueInput struct {
	AttributionQuery
	By     string    `query:"by" enum:"campaign,channel,week" default:"campaign"`
	After  time.Time `query:"after" doc:"Paid at or after"`
	Before time.Time `query:"before" doc:"Paid before"`
	ZoneQuery
	Whole
}

func (a *API) getRevenue(ctx context.Context, in *revenueInput) (*revenueOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	r, err := analytics.ReadRevenue(ctx, a.opts.Pool, analytics.RevenueQuery{
		Attribution: in.rule(), By: analytics.FunnelBy(in.By), After: in.After, Before: in.Before, TimeZone: in.TimeZone,
	})
	if err != nil {
		return nil, err
	}
	out := &revenueOutput{}
	out.Body.AsOf = r.AsOf
	out.Body.Items, out.Body.Totals = make([]RevenueItem, 0, len(r.Rows)), make([]RevenueSum, 0, len(r.Totals))
	for _, row := range r.Rows {
		item := RevenueItem{
			Attributed: row.Attributed, CampaignName: nameCampaign(row.Campaign), Channel: orNull(row.Channel), RevenueSum: viewRevenueSum(row),
		}
		if !row.Week.IsZero() {
			item.Week = &row.Week
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	for _, row := range r.Totals {
		out.Body.Totals = append(out.Body.Totals, viewRevenueSum(row))
	}
	return out, nil
}

func viewRevenueSum(r analytics.RevenueRow) RevenueSum {
	return RevenueSum{Currency: r.Currency, Payments: r.Payments, GrossInCents: r.Gross, RefundedInCents: r.Refunded, NetInCents: r.Net}
}
