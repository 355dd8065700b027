package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (c *Console) webhookRoutes() []Route {
	return []Route{
		{http.MethodGet, "/webhooks", apitoken.Viewer, c.webhooks},
		{http.MethodGet, "/webhooks/list", apitoken.Viewer, c.webhookList},
		{http.MethodGet, "/webhooks/rows", apitoken.Viewer, c.webhookRows},
		{http.MethodGet, "/webhooks/{id}", apitoken.Viewer, c.webhook},
		{http.MethodGet, "/webhooks/{id}/came", apitoken.Viewer, c.webhookCame},
		{http.MethodGet, "/webhooks/{id}/replay", apitoken.Operator, c.tryWebhook},
		{http.MethodPost, "/webhooks/{id}/replay", apitoken.Operator, c.replayWebhook},
	}
}

// receiptFilters are the values of an address that select receipts.
func receiptFilters() []string {
	return []string{"q", "outcome", "verdict", "provider", "within", "day"}
}

// choice is one of several to pick from.
type choice struct {
	Value, Label string
	On           bool
	Count        string // how many, where that is counted
	To           string // where picking it leads
}

// receiptsPage is the list of receipts with its filter.
type receiptsPage struct {
	Filter    url.Values
	Live      string // where the live part asks
	Outcomes  []choice
	Counted   string // what the outcomes were counted of
	Providers []choice
	Verdicts  []choice
	Spans     []choice
	Rows      panel[receiptRows]
}

// receiptRows is a page of the list.
type receiptRows struct {
	Items    []receiptItem
	Partial  bool
	Filtered bool
	Next     string
	First    string
	Looked   time.Time // how far back a partial page looked
}

// receiptItem is a receipt with what it did.
type receiptItem struct {
	pgstore.ReceiptRow
	Business   string
	BusinessID uuid.UUID
	Moves      []pgstore.ReceiptEffect // statuses that it changed
	Verdicts   []string                // of its facts, but for applied and no_change
	Others     int                     // businesses beside the first
	Said       string                  // what a delivery report says; "" of others
}

func (c *Console) webhooks(v *visit) error {
	return v.render("webhooks", "Webhooks", c.readReceipts(v))
}

func (c *Console) webhookList(v *visit) error {
	p := c.readReceipts(v)
	v.w.Header().Set("Hx-Push-Url", receiptAddress(p.Filter, "", ""))
	return v.fragment("webhooks", "list", p)
}

func (c *Console) webhookRows(v *visit) error {
	return v.fragment("webhooks", "rows", c.readReceiptRows(v, selection(v.r, receiptFilters())))
}

// receiptAddress is that of the list with one value of a filter set, or taken away.
func receiptAddress(filter url.Values, name, value string) string {
	return "/webhooks" + withQuery(filter, name, value)
}

// withQuery is a filter as the end of an address, with one value set, or taken away ("").
func withQuery(filter url.Values, name, value string) string {
	q := maps.Clone(filter)
	if q == nil {
		q = url.Values{}
	}
	if name != "" {
		q.Del(name)
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// spans are the ages that lists can be narrowed to.
func spans() []choice {
	return []choice{{Value: "1h", Label: "last hour"}, {Value: "24h", Label: "last 24 hours"}, {Value: "168h", Label: "last 7 days"}, {Value: "720h", Label: "last 30 days"}}
}

func chosen(list []choice, value string) []choice {
	for i := range list {
		list[i].On = list[i].Value == value
	}
	return list
}

func choices(values []string, on string) []choice {
	list := make([]choice, 0, len(values)+1)
	for _, value := range values {
		list = append(list, choice{Value: value, Label: label(value), On: value == on})
	}
	if on != "" && !slices.Contains(values, on) {
		list = append(list, choice{Value: on, Label: label(on), On: true})
	}
	return list
}

func (c *Console) readReceipts(v *visit) receiptsPage {
	f := selection(v.r, receiptFilters())
	p := receiptsPage{
		Filter: f, Live: "/webhooks/rows" + withQuery(f, "before", v.query("before")), Spans: chosen(spans(), f.Get("within")),
		Providers: choices(jobs.Providers(), f.Get("provider")),
		Rows:      c.readReceiptRows(v, f),
	}
	var verdicts []string
	for _, w := range lifecycle.Verdicts() {
		verdicts = append(verdicts, string(w))
	}
	p.Verdicts = choices(verdicts, f.Get("verdict"))
	p.Outcomes, p.Counted = c.countOutcomes(v, f)
	return p
}

// countOutcomes offers the outcomes with how many there are of each; without numbers where counting fails.
func (c *Console) countOutcomes(v *visit, f url.Values) (list []choice, of string) {
	counts := load(v, "outcomes of receipts", func(ctx context.Context, tx pgx.Tx) (pgstore.OutcomeCounts, error) {
		return pgstore.CountOutcomes(ctx, tx, c.opts.Clock().Add(-24*time.Hour))
	})
	list = append(list, choice{Label: "all", On: f.Get("outcome") == "", To: receiptAddress(f, "outcome", "")})
	for _, o := range pgstore.ReceiptOutcomes() {
		n := choice{Value: o, Label: label(o), On: f.Get("outcome") == o, To: receiptAddress(f, "outcome", o)}
		switch attention, ok := counts.Data.Attention[o]; {
		case counts.Error != "":
		case ok && attention > pgstore.CountedAttention:
			n.Count = count(pgstore.CountedAttention) + "+"
		case ok:
			n.Count = count(attention)
		default:
			n.Count = count(counts.Data.Recent[o])
		}
		list = append(list, n)
	}
	switch {
	case counts.Error != "":
		return list, "not counted: " + counts.Error
	case counts.Data.More:
		return list, "of the newest " + count(pgstore.CountedReceipts) + "; unmatched and failed: of all"
	}
	return list, "of the last 24 hours; unmatched and failed: of all"
}

// readReceiptRows reads a page of the list. What a filter says that nobody can mean selects nothing.
func (c *Console) readReceiptRows(v *visit, f url.Values) panel[receiptRows] {
	look := pgstore.ReceiptLook{Text: f.Get("q")}
	set := func(to *[]string, name string) {
		if value := f.Get(name); value != "" {
			*to = []string{value}
		}
	}
	set(&look.Outcomes, "outcome")
	set(&look.Verdicts, "verdict")
	set(&look.Providers, "provider")
	if d, err := time.ParseDuration(f.Get("within")); err == nil && d > 0 {
		look.Since = c.opts.Clock().Add(-d)
	}
	if d, err := time.ParseInLocation(time.DateOnly, f.Get("day"), v.zone()); err == nil {
		look.Since, look.Until = d, d.AddDate(0, 0, 1)
	}
	before, err := uuid.Parse(v.query("before"))
	if err != nil {
		before = uuid.Nil
	}
	p := load(v, "receipts", func(ctx context.Context, tx pgx.Tx) (receiptRows, error) {
		part, err := pgstore.LookForReceipts(ctx, tx, look, before, pageSize)
		if err != nil {
			return receiptRows{}, err
		}
		ids := make([]uuid.UUID, len(part.Rows))
		for i, r := range part.Rows {
			ids[i] = r.ID
		}
		effects, err := pgstore.EffectsOfReceipts(ctx, tx, ids)
		if err != nil {
			return receiptRows{}, err
		}
		out := receiptRows{Partial: part.Partial, Filtered: len(f) > 0}
		for _, r := range part.Rows {
			out.Items = append(out.Items, receiptItemOf(r, effects[r.ID]))
		}
		if part.Next != uuid.Nil {
			out.Next = receiptAddress(f, "before", part.Next.String())
			out.Looked = time.UnixMilli(uuidMillis(part.Next)).UTC()
		}
		return out, nil
	})
	if before != uuid.Nil {
		p.Data.First = receiptAddress(f, "", "")
	}
	return p
}

// uuidMillis is the time that a UUIDv7 begins with.
func uuidMillis(id uuid.UUID) int64 {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}

func receiptItemOf(r pgstore.ReceiptRow, effects []pgstore.ReceiptEffect) receiptItem {
	item := receiptItem{ReceiptRow: r, Said: deliveryStatus(r)}
	others := map[uuid.UUID]bool{}
	for _, e := range effects {
		if item.BusinessID == uuid.Nil {
			item.Business, item.BusinessID = e.Business, e.BusinessID
		}
		if e.BusinessID != item.BusinessID {
			others[e.BusinessID] = true
		}
		if e.From != e.To {
			item.Moves = append(item.Moves, e)
		}
		switch e.Verdict {
		case "", string(lifecycle.Applied), string(lifecycle.NoChange):
		default:
			if !slices.Contains(item.Verdicts, e.Verdict) {
				item.Verdicts = append(item.Verdicts, e.Verdict)
			}
		}
	}
	item.Others = len(others)
	return item
}
