package console

import (
	"html/template"
	"slices"
	"time"

	"github.com/google/uuid"
)

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
	p.campaigns(v)
	p.attribution()
	p.days("Launched from", "until")
	p.AsOf = answer.AsOf
	d := campaignsData{Items: answer.Items}
	if answer.NextCursor != nil {
		d.Next = v.With("cursor", *answer.NextCursor)
	}
	if v.query("cursor") != "" {
		d.First = v.With("cursor", "")
	}
	// More are not told apart, and are in the table; of those that wrote to nobody there is nothing to draw.
	const most = 10
	drawn := slices.DeleteFunc(slices.Clone(answer.Items), func(r apiResult) bool { return r.Sent == 0 })
	if len(drawn) > 0 {
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
			for _, r := range drawn[:min(len(drawn), most)] {
				chart.Rows = append(chart.Rows, rowValue{
					Name: r.Campaign, To: "/campaigns/" + r.CampaignID.String(), Value: float64(m.n(r)) / float64(r.Sent), Text: percent(m.n(r), r.Sent),
				})
			}
			d.Multiples = append(d.Multiples, chart.draw())
		}
	}
	p.Data = d
	return v.render("analytics_campaigns", "Analytics", p)
}
