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

// CampaignResult is what a campaign brought.
type CampaignResult struct {
	CampaignName
	Channel    string    `json:"channel"`
	Status     string    `json:"status"`
	LaunchedAt time.Time `json:"launched_at"`
	Sent       int64     `json:"sent" doc:"Businesses that a message went out to"`
	Delivered  int64     `json:"delivered" doc:"Whose message arrived: reported, or shown by an open or a click"`
	Opened     int64     `json:"opened"`
	Clicked    int64     `json:"clicked"`
	Replied    int64     `json:"replied" doc:"That replied after this campaign's message and before another's"`
	OptedOut   int64     `json:"opted_out" doc:"By this campaign's message, or after it and before another's"`
	Failed     int64     `json:"failed" doc:"Messages that are failed or undelivered now"`
	Purchased  int64     `json:"purchased" doc:"Businesses whose first purchase is credited to it"`

	Cost            *string        `json:"cost" doc:"What its messages cost, as far as the provider said; null where that is nothing, or in several currencies"`
	CostCurrency    *string        `json:"cost_currency"`
	CostPerReply    *string        `json:"cost_per_reply"`
	CostPerPurchase *string        `json:"cost_per_purchase"`
	Costs           []CampaignCost `json:"costs" nullable:"false" doc:"The same by currency: these are never added up"`
}

// CampaignCost is what messages cost in one currency.
type CampaignCost struct {
	Currency    string  `json:"currency" doc:"ISO 4217; empty where the provider did not say"`
	Amount      string  `json:"amount" doc:"A decimal number"`
	PerReply    *string `json:"per_reply"`
	PerPurchase *string `json:"per_purchase"`
}

type campaignResultsOutput struct {
	Body AnalyticsPage[CampaignResult]
}

func (*campaignResultsOutput) columns() []string { return columnsOf[CampaignResult]() }

func (a *API) registerCampaignResults(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/analytics/campaigns", id: "listCampaignResults", tag: tagAnalytics,
		summary: "What each campaign brought, and what a reply and a purchase cost",
		description: "Launched campaigns, newest first. But for failed, numbers are businesses, each once. A business's first purchase is " +
			"credited to the campaign whose message went out to it last (or first) within window_days before.",
	}, a.listCampaignResults)
}

type campaignResultsInput struct {
	AttributionQuery
	Channel    string    `query:"channel" enum:"sms,email"`
	CampaignID uuid.UUID `query:"campaign_id" format:"uuid"`
	After      time.Time `query:"after" doc:"Launched at or after"`
	Before     time.Time `query:"before" doc:"Launched before"`
	Paging
}

func (a *API) listCampaignResults(ctx context.Context, in *campaignResultsInput) (*campaignResultsOutput, error) {
	const list = "analytics:campaigns"
	below, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	c, err := analytics.ReadCampaigns(ctx, a.opts.Pool, analytics.CampaignsQuery{
		Attribution: in.rule(), Channel: in.Channel, Campaign: in.CampaignID, After: in.After, Before: in.Before, Below: below.above(), Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	p, err := page(in.Paging, list, c.Rows, viewCampaignResult, func(r analytics.CampaignRow) any { return byID{r.Position} })
	if err != nil {
		return nil, err
	}
	return &campaignResultsOutput{Body: AnalyticsPage[CampaignResult]{AsOf: c.AsOf, Items: p.Body.Items, NextCursor: p.Body.NextCursor}}, nil
}

func viewCampaignResult(r analytics.CampaignRow) CampaignResult {
	v := CampaignResult{
		CampaignName: nameCampaign(r.Campaign), Channel: r.Campaign.Channel, Status: r.Campaign.Status, LaunchedAt: r.LaunchedAt,
		Sent: r.Sent, Delivered: r.Delivered, Opened: r.Opened, Clicked: r.Clicked, Replied: r.Replied, OptedOut: r.OptedOut, Failed: r.Failed,
		Purchased: r.Purchased, Costs: make([]CampaignCost, 0, len(r.Costs)),
	}
	for _, c := range r.Costs {
		v.Costs = append(v.Costs, CampaignCost{Currency: c.Currency, Amount: c.Amount, PerReply: orNull(c.PerReply), PerPurchase: orNull(c.PerPurchase)})
	}
	if len(v.Costs) == 1 {
		c := v.Costs[0]
		v.Cost, v.CostCurrency, v.CostPerReply, v.CostPerPurchase = &c.Amount, &c.Currency, c.PerReply, c.PerPurchase
	}
	return v
}
