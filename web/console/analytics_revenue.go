package console

import (
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
)

// apiMoney is the money of one group in one currency, as the API has it.
type apiMoney struct {
	Attributed bool       `json:"attributed"`
	CampaignID *uuid.UUID `json:"campaign_id"`
	Campaign   *string    `json:"campaign"`
	Channel    *string    `json:"channel"`
	Week       *time.Time `json:"week"`
	Currency   string     `json:"currency"`
	Payments   int64      `json:"payments"`
	Gross      int64      `json:"gross_in_cents"`
	Refunded   int64      `json:"refunded_in_cents"`
	Net        int64      `json:"net_in_cents"`
}

// Name is what the row is of, for people.
func (m apiMoney) Name() string {
	switch {
	case !m.Attributed:
		return "no campaign"
	case m.Campaign != nil:
		return *m.Campaign
	case m.Channel != nil:
		return label(*m.Channel)
	case m.Week != nil:
		return "a campaign"
	}
	return "not known"
}

// moneyData is the money in one currency.
type moneyData struct {
	Currency string
	Total    apiMoney
	Rows     []apiMoney
	Chart    template.HTML
}

func (c *Console) analyticsRevenue(v *visit) error {
	p := &analyticsPage{Tab: "revenue"}
	var answer struct {
		AsOf   *time.Time `json:"as_of"`
		Items  []apiMoney `json:"items"`
		Totals []apiMoney `json:"totals"`
	}
	c.ask(v, p, "/analytics/revenue", []string{"by", "model", "window_days", "from", "to"}, &answer)
	p.by("campaign", "channel", "week")
	p.attribution()
	p.days("Paid from", "until")
	p.AsOf = answer.AsOf
	var list []moneyData
	for _, total := range answer.Totals {
		d := moneyData{Currency: strings.ToUpper(total.Currency), Total: total}
		for _, row := range answer.Items {
			if row.Currency == total.Currency {
				d.Rows = append(d.Rows, row)
			}
		}
		if p.On() == "week" {
			d.Chart = weeklyMoney(d, p.Zone)
		} else {
			d.Chart = moneyRows(d)
		}
		list = append(list, d)
	}
	p.Data = list
	return v.render("analytics_revenue", "Analytics", p)
}

func moneyRows(d moneyData) template.HTML {
	chart := rowChart{Title: "Net, in " + d.Currency, Tone: "c"}
	const most = 15
	for _, r := range d.Rows[:min(len(d.Rows), most)] {
		row := rowValue{Name: r.Name(), Value: float64(r.Net), Text: money(r.Net, "")}
		if r.CampaignID != nil {
			row.To = "/campaigns/" + r.CampaignID.String()
		}
		chart.Rows = append(chart.Rows, row)
	}
	return chart.draw()
}

func weeklyMoney(d moneyData, zone *time.Location) template.HTML {
	out := chart{Title: "Net by week, in " + d.Currency, Series: []series{{Name: "credited to a campaign", Tone: "c"}, {Name: "to none", Tone: "a"}}}
	for _, r := range d.Rows {
		if r.Week == nil {
			continue
		}
		if n := len(out.At); n == 0 || !out.At[n-1].Equal(*r.Week) {
			out.At = append(out.At, r.Week.In(zone))
			for k := range out.Series {
				out.Series[k].Values = append(out.Series[k].Values, 0)
			}
		}
		k := 1
		if r.Attributed {
			k = 0
		}
		// What was refunded beyond that week's payments has no height.
		out.Series[k].Values[len(out.At)-1] = math.Max(0, float64(r.Net)/100)
	}
	return barChart(out)
}
