package console

import (
	"html/template"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle/pgstore/analytics"
)

// apiStage is a stage of the funnel as the API has it.
type apiStage struct {
	Week         *time.Time `json:"week"`
	Channel      *string    `json:"channel"`
	CampaignID   *uuid.UUID `json:"campaign_id"`
	Campaign     *string    `json:"campaign"`
	Country      *string    `json:"country"`
	Stage        string     `json:"stage"`
	Businesses   int64      `json:"businesses"`
	FromPrevious *float64   `json:"from_previous"`
	FromFirst    *float64   `json:"from_first"`
}

// Before is the share of the stage before, in words.
func (s apiStage) Before() string { return share(s.FromPrevious) }

// First is the share of those contacted.
func (s apiStage) First() string { return share(s.FromFirst) }

// funnelData is the funnel for its page.
type funnelData struct {
	Total     []apiStage
	Chart     template.HTML
	Multiples []template.HTML
	Cohorts   []cohort
	Cohort    string // what a cohort is
}

// cohort is a row of the heat map.
type cohort struct {
	Week     *time.Time
	Name, To string
	Cells    []heatCell
}

// heatCell is a number whose ground is the darker the greater its share.
type heatCell struct {
	N     int64
	Share string
	Heat  int // 0 to 9
}

func (c *Console) analyticsFunnel(v *visit) error {
	p := &analyticsPage{Tab: "funnel"}
	var answer struct {
		AsOf  *time.Time `json:"as_of"`
		Items []apiStage `json:"items"`
		Total []apiStage `json:"total"`
	}
	c.ask(v, p, "/analytics/funnel", []string{"by", "channel", "country", "campaign_id", "from", "to"}, &answer)
	p.by("week", "channel", "campaign", "country")
	p.pick("channel", "Channel", channels()...)
	p.country()
	p.campaigns(v)
	p.days("First contacted from", "until")
	p.AsOf = answer.AsOf
	d := funnelData{Total: answer.Total, Cohort: p.On()}
	if len(answer.Total) > 0 && answer.Total[0].Businesses > 0 {
		chart := rowChart{Title: "Businesses that came so far or farther", Top: float64(answer.Total[0].Businesses)}
		for _, s := range answer.Total {
			chart.Rows = append(chart.Rows, rowValue{Name: label(s.Stage), Value: float64(s.Businesses), Text: count(s.Businesses) + " · " + share(s.FromFirst)})
		}
		d.Chart = chart.draw()
		d.cohorts(answer.Items, p.Zone)
	}
	p.Data = d
	return v.render("analytics_funnel", "Analytics", p)
}

// cohorts makes a row of each group of stages, and with several weeks a small chart of each stage.
func (d *funnelData) cohorts(items []apiStage, zone *time.Location) {
	n := len(analytics.Stages())
	multiples := make([]chart, n)
	for group := range slices.Chunk(items, n) {
		first := group[0]
		row := cohort{Week: first.Week, Name: "not known"}
		switch {
		case first.Campaign != nil:
			row.Name = *first.Campaign
			if first.CampaignID != nil {
				row.To = "/campaigns/" + first.CampaignID.String()
			}
		case first.Channel != nil:
			row.Name = label(*first.Channel)
		case first.Country != nil:
			row.Name = *first.Country
		case d.Cohort == "campaign":
			row.Name = "no campaign"
		}
		for i, s := range group {
			cell := heatCell{N: s.Businesses}
			part := 0.0
			if s.FromFirst != nil {
				part = *s.FromFirst
			}
			if i > 0 {
				cell.Share, cell.Heat = share(s.FromFirst), int(math.Ceil(9*math.Min(1, part)))
			}
			row.Cells = append(row.Cells, cell)
			if first.Week != nil {
				m := &multiples[i]
				if m.Title == "" {
					m.Title, m.Unit, m.Series = label(s.Stage), "%", []series{{Name: "of contacted"}}
				}
				m.At = append(m.At, first.Week.In(zone))
				m.Series[0].Values = append(m.Series[0].Values, math.Round(1000*part)/10)
			}
		}
		d.Cohorts = append(d.Cohorts, row)
	}
	if len(multiples[0].At) < 2 {
		return
	}
	for _, m := range multiples[1:] {
		d.Multiples = append(d.Multiples, lineChart(m))
	}
}

// share writes a share that the API may leave out.
func share(s *float64) string {
	if s == nil {
		return "–"
	}
	return percent(*s, 1.0)
}
