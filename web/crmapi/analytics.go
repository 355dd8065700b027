package crmapi

import (
	"errors"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle/pgstore/analytics"
)

const tagAnalytics = "Analytics"

func (a *API) registerAnalytics(h huma.API) {
	a.registerFunnel(h)
	a.registerCampaignResults(h)
	a.registerRevenue(h)
	a.registerAtRisk(h)
}

// AnalyticsPage is a list that says as of when it holds.
type AnalyticsPage[T any] struct {
	AsOf       *time.Time `json:"as_of" doc:"What was committed before is counted; null while a rebuild is under way, when the numbers are not complete"`
	Items      []T        `json:"items" nullable:"false"`
	NextCursor *string    `json:"next_cursor" doc:"Send it as cursor for the next page; null on the last"`
}

// Whole is what a list takes that has one page. A page of its export asks for a limit, which it has no use for.
type Whole struct {
	Format string `query:"format" enum:"json,csv" default:"json" doc:"csv, as Accept: text/csv: the same as a table"`
	Limit  int    `query:"limit" hidden:"true"`
}

// columnsOf are the members of an item, for its CSV.
func columnsOf[T any]() []string { return jsonNames(reflect.TypeFor[T]()) }

// AttributionQuery is the rule by which purchases and payments are credited to campaigns.
type AttributionQuery struct {
	Model      string `query:"model" enum:"last,first" default:"last" doc:"Which of the campaigns that wrote to the business within the window is credited"`
	WindowDays int    `query:"window_days" minimum:"1" maximum:"365" default:"30" doc:"How long before a purchase or payment a message may have gone out to be credited with it"`
}

func (q AttributionQuery) rule() analytics.Attribution {
	return analytics.Attribution{Model: analytics.Model(q.Model), WindowDays: q.WindowDays}
}

// ZoneQuery says whose weeks are meant.
type ZoneQuery struct {
	TimeZone string `query:"timezone" maxLength:"64" default:"UTC" doc:"IANA name of the time zone whose weeks are meant; they begin on Monday"`
}

func (q ZoneQuery) check() error {
	if _, err := time.LoadLocation(q.TimeZone); err != nil || q.TimeZone == "" || q.TimeZone == "Local" {
		return invalid("query.timezone", "is not the name of a time zone, such as America/Guatemala")
	}
	return nil
}

// checkQuarter refuses a time within a quarter of an hour, which is as finely as funnels are kept.
func checkQuarter(location string, t time.Time) error {
	if !t.Equal(t.Truncate(analytics.Quarter)) {
		return invalid(location, "is not a full quarter of an hour: funnels are kept by quarters")
	}
	return nil
}

// filtered makes a problem of a filter that names nothing.
func filtered(err error) error {
	if errors.Is(err, analytics.ErrNoCampaign) {
		return invalid("query.campaign_id", "names no campaign")
	}
	return err
}

// CampaignName are the members that name a campaign.
type CampaignName struct {
	CampaignID *string `json:"campaign_id" format:"uuid"`
	Campaign   *string `json:"campaign" doc:"Its name"`
}

func nameCampaign(c analytics.Campaign) CampaignName {
	if c == (analytics.Campaign{}) {
		return CampaignName{}
	}
	return CampaignName{CampaignID: new(c.ID.String()), Campaign: &c.Name}
}
