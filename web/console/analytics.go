package console

import (
	"fmt"
	"html/template"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"onward/jobs"
	"onward/lifecycle/pgstore/analytics"
	"onward/web/apitoken"
)

func (c *Console) analyticsRoutes() []Route {
	return []Route{
		{http.MethodGet, "/analytics", apitoken.Viewer, c.analyticsFunnel},
		{http.MethodGet, "/analytics/campaigns", apitoken.Viewer, c.analyticsCampaigns},
		{http.MethodGet, "/analytics/revenue", apitoken.Viewer, c.analyticsRevenue},
		{http.MethodGet, "/analytics/at-risk", apitoken.Viewer, c.analyticsAtRisk},
	}
}

// analyticsPage is what the four tabs have in common: a filter, and the API's answer to it.
type analyticsPage struct {
	Tab     string
	AsOf    *time.Time
	Problem string
	CSV     string
	Filter  url.Values
	By      []choice
	Form    []filterField
	Data    any
}

// filterField is a field of the filter.
type filterField struct {
	Name, Label, Kind string // select, date or number
	Value             string
	Options           []choice
	Min, Max          int
}

// ask calls the API for a tab with the filter of the address. What it refuses is the page's problem, not its end.
func (c *Console) ask(v *visit, p *analyticsPage, path string, names []string, into any) {
	p.Filter = selection(v.r, names)
	q := url.Values{}
	for name, values := range p.Filter {
		switch name {
		case "from", "to":
			day, err := time.Parse(time.DateOnly, values[0])
			if err != nil {
				p.Problem = "The days are written as 2026-01-31."
				return
			}
			if name == "from" {
				q.Set("after", day.Format(time.RFC3339))
			} else {
				q.Set("before", day.AddDate(0, 0, 1).Format(time.RFC3339)) // to that day's end
			}
		default:
			q[name] = values
		}
	}
	csv := url.Values{"format": {"csv"}}
	for name, values := range q {
		csv[name] = values
	}
	p.CSV = apiPrefix + path + "?" + csv.Encode()
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
	}
	if err := v.api(http.MethodGet, path+"?"+q.Encode(), nil, into); err != nil {
		r, expected := asRefusal(v.ctx(), err)
		p.Problem = r.text
		if !expected {
			c.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "console", slog.String("panel", path), slog.Any("error", err))
		}
	}
}

func (p *analyticsPage) by(values ...string) {
	on := p.Filter.Get("by")
	if on == "" {
		on = values[0]
	}
	p.By = choices(values, on)
	for i := range p.By {
		p.By[i].To = withQuery(p.Filter, "by", p.By[i].Value)
	}
}

// On is the grouping that is shown.
func (p *analyticsPage) On() string {
	for _, b := range p.By {
		if b.On {
			return b.Value
		}
	}
	return ""
}

func (p *analyticsPage) pick(name, title string, options ...choice) {
	p.Form = append(p.Form, filterField{Name: name, Label: title, Kind: "select", Value: p.Filter.Get(name), Options: chosen(options, p.Filter.Get(name))})
}

func (p *analyticsPage) days(from, to string) {
	p.Form = append(p.Form, filterField{Name: "from", Label: from, Kind: "date", Value: p.Filter.Get("from")}, filterField{Name: "to", Label: to, Kind: "date", Value: p.Filter.Get("to")})
}

func (p *analyticsPage) number(name, title string, otherwise, least, most int) {
	value := p.Filter.Get(name)
	if value == "" {
		value = strconv.Itoa(otherwise)
	}
	p.Form = append(p.Form, filterField{Name: name, Label: title, Kind: "number", Value: value, Min: least, Max: most})
}

func (p *analyticsPage) attribution() {
	p.pick("model", "Credit goes to", choice{Value: "", Label: "the last touch"}, choice{Value: "first", Label: "the first touch"})
	p.number("window_days", "Within days", analytics.DefaultWindowDays, 1, analytics.MaxWindowDays)
}

func channels() []choice {
	return []choice{{Value: "", Label: "both"}, {Value: jobs.ChannelSMS, Label: "SMS"}, {Value: jobs.ChannelEmail, Label: "email"}}
}

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
	p.days("First contacted from", "to")
	p.AsOf = answer.AsOf
	d := funnelData{Total: answer.Total, Cohort: p.On()}
	if len(answer.Total) > 0 && answer.Total[0].Businesses > 0 {
		chart := rowChart{Title: "Businesses that came so far or farther", Top: float64(answer.Total[0].Businesses)}
		for _, s := range answer.Total {
			chart.Rows = append(chart.Rows, rowValue{Name: label(s.Stage), Value: float64(s.Businesses), Text: count(s.Businesses) + " · " + share(s.FromFirst)})
		}
		d.Chart = chart.draw()
		d.cohorts(answer.Items)
	}
	p.Data = d
	return v.render("analytics_funnel", "Analytics", p)
}

// cohorts makes a row of each group of stages, and with several weeks a small chart of each stage.
func (d *funnelData) cohorts(items []apiStage) {
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
				m.At = append(m.At, *first.Week)
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

// apiResult is what a campaign brought, as the API has it.
type apiResult struct {
	CampaignID uuid.UUID `json:"campaign_id"`
	Campaign   string    `json:"campaign"`
	Channel    string    `json:"channel"`
	Status     string    `json:"status"`
	LaunchedAt time.Time `json:"launched_at"`
	Sent       int64     `json:"sent"`
	Delivered  int64     `json:"delivered"`
	Opened     int64     `json:"opened"`
	Clicked    int64     `json:"clicked"`
	Replied    int64     `json:"replied"`
	OptedOut   int64     `json:"opted_out"`
	Failed     int64     `json:"failed"`
	Purchased  int64     `json:"purchased"`
	Costs      []struct {
		Currency    string  `json:"currency"`
		Amount      string  `json:"amount"`
		PerReply    *string `json:"per_reply"`
		PerPurchase *string `json:"per_purchase"`
	} `json:"costs"`
}

type campaignsData struct {
	Items       []apiResult
	Multiples   []template.HTML
	Next, First string
}

func (c *Console) analyticsCampaigns(v *visit) error {
	p := &analyticsPage{Tab: "campaigns"}
	var answer struct {
		AsOf       *time.Time  `json:"as_of"`
		Items      []apiResult `json:"items"`
		NextCursor *string     `json:"next_cursor"`
	}
	c.ask(v, p, "/analytics/campaigns", []string{"channel", "campaign_id", "model", "window_days", "from", "to"}, &answer)
	p.pick("channel", "Channel", channels()...)
	p.attribution()
	p.days("Launched from", "to")
	p.AsOf = answer.AsOf
	d := campaignsData{Items: answer.Items}
	if answer.NextCursor != nil {
		d.Next = v.With("cursor", *answer.NextCursor)
	}
	if v.query("cursor") != "" {
		d.First = v.With("cursor", "")
	}
	// More are not told apart, and are in the table.
	const most = 10
	if len(answer.Items) > 0 {
		for _, m := range []struct {
			title, tone string
			n           func(apiResult) int64
		}{
			{"Delivered", "a", func(r apiResult) int64 { return r.Delivered }},
			{"Clicked", "a", func(r apiResult) int64 { return r.Clicked }},
			{"Replied", "a", func(r apiResult) int64 { return r.Replied }},
			{"Purchased", "c", func(r apiResult) int64 { return r.Purchased }},
			{"Opted out", "b", func(r apiResult) int64 { return r.OptedOut }},
		} {
			chart := rowChart{Title: m.title + ", of sent", Tone: m.tone}
			for _, r := range answer.Items[:min(len(answer.Items), most)] {
				part := 0.0
				if r.Sent > 0 {
					part = float64(m.n(r)) / float64(r.Sent)
				}
				chart.Rows = append(chart.Rows, rowValue{Name: r.Campaign, To: "/campaigns/" + r.CampaignID.String(), Value: part, Text: percent(m.n(r), r.Sent)})
			}
			d.Multiples = append(d.Multiples, chart.draw())
		}
	}
	p.Data = d
	return v.render("analytics_campaigns", "Analytics", p)
}

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
	p.days("Paid from", "to")
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
			d.Chart = weeklyMoney(d)
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

func weeklyMoney(d moneyData) template.HTML {
	out := chart{Title: "Net by week, in " + d.Currency, Series: []series{{Name: "credited to a campaign", Tone: "c"}, {Name: "to none", Tone: "a"}}}
	for _, r := range d.Rows {
		if r.Week == nil {
			continue
		}
		if n := len(out.At); n == 0 || !out.At[n-1].Equal(*r.Week) {
			out.At = append(out.At, *r.Week)
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

// riskData is who may be lost.
type riskData struct {
	Items       []apiRisk
	Summary     *riskSummary
	Chart       template.HTML
	Next, First string
	Filtered    bool
}

// riskSummary counts who is at risk, as the API has it.
type riskSummary struct {
	Customers int64            `json:"customers"`
	AtRisk    int64            `json:"at_risk"`
	ByReason  map[string]int64 `json:"by_reason"`
}

// apiRisk is a customer at risk, as the API has it.
type apiRisk struct {
	BusinessID         uuid.UUID `json:"business_id"`
	Name               string    `json:"name"`
	Country            *string   `json:"country"`
	SubscriptionStatus string    `json:"subscription_status"`
	PurchasedAt        time.Time `json:"purchased_at"`
	Since              time.Time `json:"since"`
	Reasons            []struct {
		Reason string    `json:"reason"`
		Since  time.Time `json:"since"`
		Count  int       `json:"count"`
	} `json:"reasons"`
}

func (c *Console) analyticsAtRisk(v *visit) error {
	p := &analyticsPage{Tab: "at-risk"}
	var d riskData
	var answer struct {
		AsOf       *time.Time   `json:"as_of"`
		Items      []apiRisk    `json:"items"`
		NextCursor *string      `json:"next_cursor"`
		Summary    *riskSummary `json:"summary"`
	}
	c.ask(v, p, "/analytics/at-risk", []string{"reason", "silent_days"}, &answer)
	options := []choice{{Value: "", Label: "any"}}
	for _, r := range analytics.Reasons() {
		options = append(options, choice{Value: string(r), Label: label(r)})
	}
	p.pick("reason", "Reason", options...)
	p.number("silent_days", "Silent after days", analytics.DefaultSilentDays, 1, 3650)
	p.AsOf = answer.AsOf
	d.Items, d.Filtered = answer.Items, p.Filter.Get("reason") != ""
	if answer.NextCursor != nil {
		d.Next = v.With("cursor", *answer.NextCursor)
	}
	if v.query("cursor") != "" {
		d.First = v.With("cursor", "")
	}
	if s := answer.Summary; s != nil {
		d.Summary = s
		chart := rowChart{Title: "Customers by reason; one with two counts in both", Top: float64(s.Customers), Tone: "b"}
		for _, r := range analytics.Reasons() {
			n := s.ByReason[string(r)]
			chart.Rows = append(chart.Rows, rowValue{
				Name: label(r), To: "/analytics/at-risk" + withQuery(p.Filter, "reason", string(r)), Value: float64(n), Text: fmt.Sprintf("%s · %s", count(n), percent(n, s.Customers)),
			})
		}
		d.Chart = chart.draw()
	}
	p.Data = d
	return v.render("analytics_at_risk", "Analytics", p)
}
