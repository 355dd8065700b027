package console

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"onward/jobs"
	"onward/lifecycle"
)

// campaignForm is the editor's fields, as they were typed.
type campaignForm struct {
	Key       string // makes a second press of the button harmless
	Name      string
	Channel   string
	Subject   string
	Body      string
	To        string // filter, ids or failed
	Filter    url.Values
	IDs       string
	FailedOf  string
	SendAt    string // datetime-local, in Zone
	SendAtUTC string // what the page's script shows in the reader's zone
	Zone      string // IANA name
	PerSecond string
	For       string // whom the preview is for: a name, a phone
}

// filterNames are the filters of an audience, as the API names them; those of statuses may have several values.
func filterNames() []string {
	return []string{
		"q", "contact_status", "website_status", "subscription_status", "ticket_status", "city", "country", "category", "tag",
		"created_after", "created_before", "updated_after", "updated_before",
	}
}

type editorPage struct {
	Form     campaignForm
	ID       string // of the draft; "": new
	Statuses []statusChoice
	Fields   []string // of templates
	MaxSMS   int
}

type statusChoice struct {
	Name, Label string
	Values      []lifecycle.Status
}

func newEditor(form campaignForm, id string) editorPage {
	p := editorPage{Form: form, ID: id, Fields: []string{"{{.Name}}", "{{.City}}", "{{.SiteURL}}", "{{.UnsubscribeURL}}"}}
	for _, axis := range []lifecycle.Axis{lifecycle.AxisContact, lifecycle.AxisWebsite, lifecycle.AxisSubscription, lifecycle.AxisTicket} {
		p.Statuses = append(p.Statuses, statusChoice{Name: string(axis) + "_status", Label: formLabel(string(axis)), Values: lifecycle.Statuses(axis)})
	}
	return p
}

// newCampaign shows an empty editor. Filters in the address are its audience's: a list of businesses leads here.
func (c *Console) newCampaign(v *visit) error {
	form := campaignForm{Key: uuid.NewString(), Channel: jobs.ChannelSMS, To: "filter", Filter: url.Values{}}
	for _, name := range filterNames() {
		for _, value := range v.r.URL.Query()[name] {
			if value != "" {
				form.Filter[name] = append(form.Filter[name], strings.Split(value, ",")...)
			}
		}
	}
	if ids := v.r.URL.Query()["business_id"]; len(ids) > 0 {
		form.To, form.IDs = "ids", strings.Join(ids, "\n")
	}
	return v.render("campaign_edit", "New campaign", newEditor(form, ""))
}

func (c *Console) editCampaign(v *visit) error {
	stored, err := v.readCampaign()
	if err != nil {
		return err
	}
	if stored.Status != "draft" {
		return refuse(http.StatusConflict, "Only a draft can be changed; this campaign is "+stored.Status+".")
	}
	return v.render("campaign_edit", "Edit "+stored.Name, newEditor(formOf(stored), stored.ID.String()))
}

// formOf is a stored draft as the editor shows it.
func formOf(c campaignView) campaignForm {
	f := campaignForm{Name: c.Name, Channel: c.Channel, Subject: c.Subject, Body: c.Body, To: "filter", Filter: url.Values{}}
	if c.SendAt != nil {
		f.SendAtUTC = c.SendAt.UTC().Format(time.RFC3339)
		f.SendAt = c.SendAt.UTC().Format(localTime)
	}
	if c.PerSecond != nil {
		f.PerSecond = strconv.FormatFloat(*c.PerSecond, 'g', -1, 64)
	}
	switch {
	case c.Audience.FailedOf != nil:
		f.To, f.FailedOf = "failed", c.Audience.FailedOf.String()
	case len(c.Audience.BusinessIDs) > 0:
		f.To = "ids"
		ids := make([]string, len(c.Audience.BusinessIDs))
		for i, id := range c.Audience.BusinessIDs {
			ids[i] = id.String()
		}
		f.IDs = strings.Join(ids, "\n")
	}
	for name, value := range c.Audience.Filter {
		switch value := value.(type) {
		case string:
			f.Filter.Set(name, value)
		case []any:
			for _, one := range value {
				f.Filter.Add(name, fmt.Sprint(one))
			}
		}
	}
	return f
}

// localTime is what a field for a local time holds.
const localTime = "2006-01-02T15:04"

// readForm reads the editor's fields.
func (v *visit) readForm() campaignForm {
	f := campaignForm{
		Key: v.form("key"), Name: v.form("name"), Channel: v.form("channel"), Subject: v.form("subject"), Body: v.r.PostFormValue("body"),
		To: v.form("to"), Filter: url.Values{}, IDs: v.form("ids"), FailedOf: v.form("failed_of"), SendAt: v.form("send_at"), Zone: v.form("zone"),
		PerSecond: v.form("per_second"), For: v.form("for"),
	}
	f.Body = unixLines(f.Body)
	for _, name := range filterNames() {
		for _, value := range v.r.PostForm[name] {
			if value = strings.TrimSpace(value); value != "" {
				f.Filter.Add(name, value)
			}
		}
	}
	return f
}

// unixLines is what was typed into a text area: browsers send its line breaks as CR LF, which would count as two characters.
func unixLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// audience is whom the form speaks of, as the API takes it.
func (f campaignForm) audience() (map[string]any, error) {
	switch f.To {
	case "failed":
		return map[string]any{"failed_of": f.FailedOf}, nil
	case "ids":
		ids := strings.FieldsFunc(f.IDs, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' || r == '\t' || r == ';' })
		for i, id := range ids {
			parsed, err := uuid.Parse(id)
			if err != nil {
				return nil, field("ids", fmt.Sprintf("Recipients: %q is no id of a business.", id))
			}
			ids[i] = parsed.String()
		}
		if len(ids) == 0 {
			return nil, field("ids", "Recipients: name at least one business, or choose a filter.")
		}
		return map[string]any{"business_ids": slices.Compact(ids)}, nil
	}
	filter := map[string]any{}
	for name, values := range f.Filter {
		if strings.HasSuffix(name, "_status") || name == "tag" {
			filter[name] = values
		} else {
			filter[name] = values[0]
		}
	}
	return map[string]any{"filter": filter}, nil
}

// sendAt is the form's time in UTC; nil: now.
func (f campaignForm) sendAt() (*time.Time, error) {
	if f.SendAt == "" {
		return nil, nil // now is an answer
	}
	zone, err := time.LoadLocation(f.Zone)
	if err != nil {
		zone = time.UTC
	}
	at, err := time.ParseInLocation(localTime, f.SendAt, zone)
	if err != nil {
		return nil, field("send_at", "Send at: write a day and a time, or leave it empty.")
	}
	at = at.UTC()
	return &at, nil
}

// body is the form as the API takes it.
func (f campaignForm) body() (map[string]any, error) {
	audience, err := f.audience()
	if err != nil {
		return nil, err
	}
	at, err := f.sendAt()
	if err != nil {
		return nil, err
	}
	b := map[string]any{"name": f.Name, "channel": f.Channel, "body": f.Body, "audience": audience, "send_at": at, "per_second": nil}
	if f.Channel == jobs.ChannelEmail {
		b["subject"] = f.Subject
	}
	if f.PerSecond != "" {
		pace, err := strconv.ParseFloat(strings.ReplaceAll(f.PerSecond, ",", "."), 64)
		if err != nil {
			return nil, field("per_second", "Pace: write a number of messages a second, or leave it empty.")
		}
		b["per_second"] = pace
	}
	return b, nil
}

func (c *Console) createCampaign(v *visit) error {
	f := v.readForm()
	body, err := f.body()
	if err != nil {
		return err
	}
	var made campaignView
	if err := v.apiOnce(f.Key, http.MethodPost, "/campaigns", body, &made); err != nil {
		return inForm(err)
	}
	return v.done(afterSave(v, made.ID), toneGood, "Saved as a draft. Nothing is sent before it is launched.")
}

func (c *Console) updateCampaign(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	body, err := v.readForm().body()
	if err != nil {
		return err
	}
	if err := v.api(http.MethodPatch, "/campaigns/"+id.String(), body, nil); err != nil {
		return inForm(err)
	}
	return v.done(afterSave(v, id), toneGood, "Saved.")
}

// afterSave is where the pressed button leads: to the draft, or on to its launch.
func afterSave(v *visit, id uuid.UUID) string {
	if v.form("then") == "launch" {
		return "/campaigns/" + id.String() + "/launch"
	}
	return "/campaigns/" + id.String()
}

// inForm names the field of an error as the form names it.
func inForm(err error) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok || len(r.fields) == 0 {
		return err
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.fields)) {
		parts = append(parts, formLabel(name)+": "+r.fields[name]+".")
	}
	return &refusal{status: r.status, text: strings.Join(parts, " "), fields: r.fields}
}

func formLabel(name string) string {
	switch name {
	case "body":
		return "Text"
	case "per_second":
		return "Pace"
	case "send_at":
		return "Send at"
	}
	s := label(name)
	return strings.ToUpper(s[:1]) + s[1:]
}

// dryRun is what the API says that a campaign would do.
type dryRun struct {
	Preview  *previewView `json:"preview"`
	Estimate estimateView `json:"estimate"`
}

type previewView struct {
	BusinessID uuid.UUID `json:"business_id"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Body       string    `json:"body"`
	Segments   *struct {
		Segments   int    `json:"segments"`
		Encoding   string `json:"encoding"`
		Characters int    `json:"characters"`
	} `json:"segments"`
	Skipped string     `json:"skipped"`
	Problem string     `json:"problem"`
	SendsAt *time.Time `json:"sends_at"`
}

type estimateView struct {
	Recipients int64            `json:"recipients"`
	ByStatus   map[string]int64 `json:"by_contact_status"`
	Skipped    map[string]int64 `json:"skipped"`
	Messages   int64            `json:"messages"`
	Sampled    int              `json:"sampled"`
	Segments   *struct {
		Min   int   `json:"min"`
		Max   int   `json:"max"`
		Total int64 `json:"total"`
	} `json:"segments"`
	Cost *struct {
		Amount   float64 `json:"amount"`
		Currency string  `json:"currency"`
	} `json:"cost"`
}

// Statuses are the contact statuses that recipients have, in their usual order.
func (e estimateView) Statuses() []counted {
	var list []counted
	for _, s := range lifecycle.Statuses(lifecycle.AxisContact) {
		if n := e.ByStatus[string(s)]; n > 0 {
			list = append(list, counted{string(s), n})
		}
	}
	return list
}

// Skips are the reasons for which somebody would get nothing.
func (e estimateView) Skips() []counted { return sortedCounts(e.Skipped) }

// Price is the cost as money.
func (e estimateView) Price() string {
	if e.Cost == nil {
		return ""
	}
	return money(int64(e.Cost.Amount*100+0.5), e.Cost.Currency)
}

type previewPage struct {
	Channel string
	Wrong   map[string]string // by field
	Error   string            // of no field
	Run     *dryRun
	For     string // name of whom it is for
	NoMatch string // what was looked for in vain
	Late    bool   // quiet hours, or a time that was set, put it off
	Never   bool   // quiet hours never end
	Now     time.Time
}

// previewCampaign shows what the editor's fields would send, as they are typed. What is wrong with them is part of its
// answer.
func (c *Console) previewCampaign(v *visit) error {
	f := v.readForm()
	p := previewPage{Channel: f.Channel, Wrong: map[string]string{}, Now: c.opts.Clock()}
	if strings.TrimSpace(f.Body) == "" {
		return v.fragment("campaign_edit", "preview", p)
	}
	if err := c.tryCampaign(v, f, &p); err != nil {
		r, expected := asRefusal(v.ctx(), err)
		if !expected && r.status == http.StatusInternalServerError {
			return err
		}
		if p.Wrong = r.fields; len(p.Wrong) == 0 {
			p.Wrong, p.Error = map[string]string{}, r.text
		}
	}
	return v.fragment("campaign_edit", "preview", p)
}

func (c *Console) tryCampaign(v *visit, f campaignForm, p *previewPage) error {
	body, err := f.body()
	if err != nil {
		return err
	}
	delete(body, "name")
	delete(body, "per_second")
	if f.For != "" {
		id, err := v.findBusiness(f.For)
		if err != nil {
			return err
		}
		if id == uuid.Nil {
			p.NoMatch = f.For
		} else {
			body["business_id"] = id
		}
	}
	var run dryRun
	if err := v.api(http.MethodPost, "/campaigns/preview", body, &run); err != nil {
		return err
	}
	p.Run = &run
	if run.Preview == nil {
		return nil
	}
	if run.Preview.Skipped == "" {
		p.Never = run.Preview.SendsAt == nil
		p.Late = !p.Never && run.Preview.SendsAt.Sub(p.Now) > time.Minute
	}
	var b struct {
		Name string `json:"name"`
	}
	err = v.api(http.MethodGet, "/crm/businesses/"+run.Preview.BusinessID.String(), nil, &b)
	p.For = b.Name
	return err
}

// findBusiness finds the first business by name, phone, email or city; Nil: none.
func (v *visit) findBusiness(q string) (uuid.UUID, error) {
	var page struct {
		Items []struct {
			ID uuid.UUID `json:"id"`
		} `json:"items"`
	}
	err := v.api(http.MethodGet, "/crm/businesses?"+url.Values{"q": {q}, "limit": {"1"}}.Encode(), nil, &page)
	if err != nil || len(page.Items) == 0 {
		return uuid.Nil, err
	}
	return page.Items[0].ID, nil
}
