package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"onward/web/apitoken"
)

func (c *Console) bulkRoutes() []Route {
	return []Route{
		{http.MethodGet, "/businesses/bulk", apitoken.Operator, c.bulkForm},
		{http.MethodPost, "/businesses/bulk/preview", apitoken.Operator, c.bulkPreview},
		{http.MethodPost, "/businesses/bulk", apitoken.Operator, c.startBulk},
		{http.MethodGet, "/businesses/bulk/{id}", apitoken.Viewer, wholePage(c.readBulk, "bulk_action", apiBulk.Title)},
		{http.MethodGet, "/businesses/bulk/{id}/progress", apitoken.Viewer, livePart(c.readBulk, "bulk_action", "progress")},
		{http.MethodPost, "/businesses/bulk/{id}/cancel", apitoken.Operator, c.moveBulk("cancel", "Stopped. What was done stays done.")},
		{http.MethodPost, "/businesses/bulk/{id}/undo", apitoken.Operator, c.moveBulk("undo", "It is being taken back.")},
	}
}

// apiBulk is a bulk action as the API has it.
type apiBulk struct {
	ID         *uuid.UUID       `json:"id"`
	Action     string           `json:"action"`
	Tag        string           `json:"tag"`
	CampaignID *uuid.UUID       `json:"campaign_id"`
	State      string           `json:"state"`
	Total      int64            `json:"total"`
	Done       int64            `json:"done"`
	Skipped    map[string]int64 `json:"skipped"`
	Filter     json.RawMessage  `json:"filter"`
	Reason     string           `json:"reason"`
	Actor      string           `json:"actor"`
	UndoneBy   *uuid.UUID       `json:"undone_by"`
	CreatedAt  *time.Time       `json:"created_at"`
	FinishedAt *time.Time       `json:"finished_at"`
	Sample     []apiBusiness    `json:"sample"`
}

// Title says what it does.
func (b apiBulk) Title() string {
	switch b.Action {
	case "opt_out":
		return "Opt out"
	case "tag":
		return "Tag “" + b.Tag + "”"
	case "untag":
		return "Take the tag “" + b.Tag + "” away"
	}
	return "Start a campaign"
}

// Passed is how many are over, done or skipped.
func (b apiBulk) Passed() int64 {
	n := b.Done
	for _, skipped := range b.Skipped {
		n += skipped
	}
	return n
}

// CanUndo reports whether the facts allow to take it back.
func (b apiBulk) CanUndo() bool {
	return b.Action != "opt_out" && b.Done > 0 && b.UndoneBy == nil && (b.State == "done" || b.Action == "start_campaign" && b.State == "running")
}

type bulkFormPage struct {
	Filter  url.Values
	Query   string
	Words   []string // the filter, for people
	Count   apiBulk
	Actions []apiBulk // the last ones
}

// bulkBody is the filter of an address, as the API's body has it.
func bulkBody(filter url.Values) map[string]any {
	f := map[string]any{}
	for k := range filter {
		f[k] = filter.Get(k)
	}
	return f
}

func (c *Console) bulkForm(v *visit) error {
	if err := onlyFilters(v.r.URL.Query(), businessFilters(), "sort"); err != nil {
		return err
	}
	p := bulkFormPage{Filter: selection(v.r, businessFilters())}
	p.Query = p.Filter.Encode()
	for _, name := range businessFilters() {
		if value := p.Filter.Get(name); value != "" {
			p.Words = append(p.Words, strings.TrimSuffix(label(name), " status")+": "+label(value))
		}
	}
	if err := v.api(http.MethodPost, "/crm/businesses/bulk", map[string]any{"action": "opt_out", "filter": bulkBody(p.Filter), "dry_run": true}, &p.Count); err != nil {
		return err
	}
	var list struct {
		Items []apiBulk `json:"items"`
	}
	if err := v.api(http.MethodGet, "/crm/businesses/bulk?limit=10", nil, &list); err != nil {
		return err
	}
	p.Actions = list.Items
	return v.render("bulk", "Bulk action", p)
}

// bulkRequest makes the API's body of a posted form.
func (v *visit) bulkRequest(dry bool) (map[string]any, error) {
	q, err := url.ParseQuery(v.form("query"))
	if err != nil {
		return nil, field("query", "This is no filter: go back to the list.")
	}
	if err := onlyFilters(q, businessFilters(), "sort"); err != nil {
		return nil, err
	}
	filter := selection(&http.Request{URL: &url.URL{RawQuery: q.Encode()}}, businessFilters())
	body := map[string]any{"action": v.form("action"), "filter": bulkBody(filter), "dry_run": dry, "reason": v.form("reason")}
	switch v.form("action") {
	case "tag", "untag":
		if v.form("tag") == "" {
			return nil, field("tag", "Say which tag.")
		}
		body["tag"] = v.form("tag")
	case "start_campaign":
		campaign := map[string]any{"name": v.form("name"), "channel": v.form("channel"), "body": v.form("body")}
		if v.form("channel") == "email" {
			campaign["subject"] = v.form("subject")
		}
		body["campaign"] = campaign
	case "opt_out":
	default:
		return nil, field("action", "Choose what to do.")
	}
	if !dry && v.form("reason") == "" {
		return nil, field("reason", "Say why: the reason goes to the operators' log.")
	}
	return body, nil
}

// bulkPreview says what would be done, and to whom.
func (c *Console) bulkPreview(v *visit) error {
	body, err := v.bulkRequest(true)
	if err != nil {
		return err
	}
	var found apiBulk
	if err := v.api(http.MethodPost, "/crm/businesses/bulk", body, &found); err != nil {
		return err
	}
	return v.fragment("bulk", "preview", found)
}

func (c *Console) startBulk(v *visit) error {
	if v.form("previewed") == "" {
		return refuse(http.StatusUnprocessableEntity, "Look at the preview first.")
	}
	body, err := v.bulkRequest(false)
	if err != nil {
		return err
	}
	var begun apiBulk
	if err := v.api(http.MethodPost, "/crm/businesses/bulk", body, &begun); err != nil {
		return err
	}
	if begun.ID == nil {
		return v.done("/businesses", toneGood, "Done.")
	}
	return v.done("/businesses/bulk/"+begun.ID.String(), toneGood, "Begun, for "+plural(begun.Total, "business", "businesses")+".")
}

func (c *Console) readBulk(v *visit) (apiBulk, error) {
	var b apiBulk
	id, err := v.id("id")
	if err != nil {
		return b, err
	}
	err = v.api(http.MethodGet, "/crm/businesses/bulk/"+id.String(), nil, &b)
	return b, err
}

// moveBulk stops a bulk action, or takes it back.
func (c *Console) moveBulk(verb, told string) func(*visit) error {
	return func(v *visit) error {
		id, err := v.id("id")
		if err != nil {
			return err
		}
		if v.form("reason") == "" {
			return field("reason", "Say why: the reason goes to the operators' log.")
		}
		var moved apiBulk
		if err := v.api(http.MethodPost, "/crm/businesses/bulk/"+id.String()+"/"+verb, map[string]any{"reason": v.form("reason")}, &moved); err != nil {
			return err
		}
		to := id
		if moved.ID != nil {
			to = *moved.ID
		}
		return v.done("/businesses/bulk/"+to.String(), toneGood, told)
	}
}
