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

// FunnelStage is how many businesses of a cohort reached a stage.
type FunnelStage struct {
	Week    *time.Time `json:"week" doc:"Of the first contact: its Monday, 00:00 in the time zone asked for"`
	Channel *string    `json:"channel" doc:"Of the first contact"`
	CampaignName
	Country *string `json:"country" doc:"Of the business; null in the row of those without"`
	StageCount
}

// StageCount is a stage with its conversion.
type StageCount struct {
	Stage        string   `json:"stage" enum:"contacted,delivered,opened,clicked,replied,purchased,active"`
	Businesses   int64    `json:"businesses" doc:"That reached this stage or a later one, each once"`
	FromPrevious *float64 `json:"from_previous" doc:"Share of the stage before; null for the first, and where nobody reached that"`
	FromFirst    *float64 `json:"from_first" doc:"Share of those contacted"`
}

type funnelOutput struct {
	Body struct {
		AnalyticsPage[FunnelStage]
		Total []StageCount `json:"total" nullable:"false" doc:"Of all that the filters select"`
	}
}

func (*funnelOutput) columns() []string { return columnsOf[FunnelStage]() }

func (a *API) registerFunnel(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/analytics/funnel", id: "getFunnel", tag: tagAnalytics,
		summary: "How far businesses came: contacted, delivered, opened, clicked, replied, purchased, active",
		description: "Businesses, each once, in the cohort of their first contact. A later stage implies the earlier ones, so numbers never " +
			"grow from stage to stage. An item is a stage of a cohort, in order; cohorts by week come oldest first, others the most contacted " +
			"first. Not paged.",
	}, a.getFunnel)
}

type funnelInput struct {
	By         string    `query:"by" enum:"week,channel,campaign,country" default:"week" doc:"What a cohort is, always of the first contact"`
	Channel    string    `query:"channel" enum:"sms,email" doc:"Of the first contact"`
	CampaignID uuid.UUID `query:"campaign_id" format:"uuid" doc:"Whose message was the first contact"`
	Country    string    `query:"country" pattern:"^[A-Z]{2}$" doc:"ISO 3166-1 alpha-2"`
	After      time.Time `query:"after" doc:"First contacted at or after; a full quarter of an hour"`
	Before     time.Time `query:"before" doc:"First contacted before; a full quarter of an hour"`
	ZoneQuery
	Whole
}

func (a *API) getFunnel(ctx context.Context, in *funnelInput) (*funnelOutput, error) {
	for _, err := range []error{in.check(), checkQuarter("query.after", in.After), checkQuarter("query.before", in.Before)} {
		if err != nil {
			return nil, err
		}
	}
	f, err := analytics.ReadFunnel(ctx, a.opts.Pool, analytics.FunnelQuery{
		By: analytics.FunnelBy(in.By), Channel: in.Channel, Campaign: in.CampaignID, Country: in.Country, After: in.After, Before: in.Before,
		TimeZone: in.TimeZone,
	})
	if err != nil {
		return nil, filtered(err)
	}
	out := &funnelOutput{}
	out.Body.AsOf, out.Body.Total = f.AsOf, stageCounts(f.Total)
	out.Body.Items = make([]FunnelStage, 0, len(f.Rows)*len(analytics.Stages()))
	for _, r := range f.Rows {
		for _, s := range stageCounts(r) {
			item := FunnelStage{StageCount: s, CampaignName: nameCampaign(r.Campaign), Channel: orNull(r.Channel), Country: orNull(r.Country)}
			if !r.Week.IsZero() {
				item.Week = &r.Week
			}
			out.Body.Items = append(out.Body.Items, item)
		}
	}
	return out, nil
}

func stageCounts(r analytics.FunnelRow) []StageCount {
	list := make([]StageCount, len(analytics.Stages()))
	for i, s := range analytics.Stages() {
		list[i] = StageCount{Stage: string(s), Businesses: r.Counts[i]}
		if share, ok := r.FromPrevious(i); ok {
			list[i].FromPrevious = &share
		}
		if share, ok := r.FromFirst(i); ok {
			list[i].FromFirst = &share
		}
	}
	return list
}
