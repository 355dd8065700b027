package console

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
	Zone    *time.Location // whose days and weeks are meant: the visitor's
	By      []choice
	Form    []filterField
	Data    any
}

// filterField is a field of the filter.
type filterField struct {
	Name, Label, Kind string // select, date, number or country
	Value             string
	Options           []choice
	Min, Max          int
}

// ask calls the API for a tab with the filter of the address. What it refuses is the page's problem, not its end.
func (c *Console) ask(v *visit, p *analyticsPage, path string, names []string, into any) {
	p.Filter, p.Zone = selection(v.r, names), v.zone()
	if country := p.Filter.Get("country"); country != "" {
		p.Filter.Set("country", strings.ToUpper(country))
	}
	q := url.Values{}
	for name, values := range p.Filter {
		switch name {
		case "from", "to":
			day, err := time.ParseInLocation(time.DateOnly, values[0], p.Zone)
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
	if slices.Contains(names, "by") {
		q.Set("timezone", p.Zone.String()) // whose weeks
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

func (p *analyticsPage) country() {
	p.Form = append(p.Form, filterField{Name: "country", Label: "Country", Kind: "country", Value: p.Filter.Get("country")})
}

// campaigns offers the newest campaigns, and the one that is chosen.
func (p *analyticsPage) campaigns(v *visit) {
	const offered = 200
	var list struct {
		Items []struct {
			ID, Name string
		} `json:"items"`
	}
	// Without the list the page is as good; the filter of the address holds.
	if err := v.api(http.MethodGet, "/campaigns?limit="+strconv.Itoa(offered), nil, &list); err != nil {
		v.console.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "console", slog.String("panel", "campaigns to choose from"), slog.Any("error", err))
	}
	options := []choice{{Value: "", Label: "any"}}
	on := p.Filter.Get("campaign_id")
	found := on == ""
	for _, c := range list.Items {
		found = found || c.ID == on
		options = append(options, choice{Value: c.ID, Label: c.Name})
	}
	if !found {
		options = append(options, choice{Value: on, Label: "an older one"})
	}
	p.pick("campaign_id", "Campaign", options...)
}

func (p *analyticsPage) attribution() {
	p.pick("model", "Credit goes to", choice{Value: "", Label: "the last touch"}, choice{Value: "first", Label: "the first touch"})
	p.number("window_days", "Within days", analytics.DefaultWindowDays, 1, analytics.MaxWindowDays)
}

func channels() []choice {
	return []choice{{Value: "", Label: "both"}, {Value: jobs.ChannelSMS, Label: "SMS"}, {Value: jobs.ChannelEmail, Label: "email"}}
}
