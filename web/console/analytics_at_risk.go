package console

import (
	"fmt"
	"html/template"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle/pgstore/analytics"
)

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
