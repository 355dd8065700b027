package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// businessFilters are the values of an address that select businesses, as the API names them.
func businessFilters() []string {
	return []string{
		"q", "contact_status", "website_status", "subscription_status", "ticket_status", "city", "country", "category", "tag",
		"created_after", "created_before", "updated_after", "updated_before",
	}
}

// businessListPage is the list with its filter.
type businessListPage struct {
	Filter  url.Values // what is set
	Sort    string
	Axes    []axisChoice
	Items   []apiBusiness
	Shown   int    // items, with those of the part before
	Further string // address of what fills a page that is not full yet: the list looks at a bounded part at a time
	Next    string // address of the next page
	First   string // address of the first; "" there
	CSV     string
	Views   []savedView
	Problem string
}

// axisChoice is a filter by a status.
type axisChoice struct {
	Name, Label string
	Statuses    []lifecycle.Status
	Chosen      string
}

// savedView is a filter under a name.
type savedView struct {
	ID          int64
	Name, Query string
	On          bool
}

// pageSize is how many items a list shows.
const pageSize = 50

// selection reads the filter of an address: known names, without what is empty.
func selection(r *http.Request, names []string) url.Values {
	out := url.Values{}
	for _, name := range names {
		var set []string
		for _, value := range r.URL.Query()[name] {
			if value = strings.TrimSpace(value); value != "" {
				set = append(set, value)
			}
		}
		if len(set) > 0 {
			out.Set(name, strings.Join(set, ","))
		}
	}
	return out
}

// onlyFilters refuses an address that says more than the filters that are known: what is left out of a filter is left in
// what is acted on.
func onlyFilters(q url.Values, names []string, also ...string) error {
	for name := range q {
		if !slices.Contains(names, name) && !slices.Contains(also, name) {
			return refuse(http.StatusBadRequest, "There is no filter “"+name+"”: nothing is done by a filter that is not understood. Go back to the list.")
		}
	}
	return nil
}

func (c *Console) readBusinesses(v *visit) (businessListPage, error) {
	p := businessListPage{Filter: selection(v.r, businessFilters()), Sort: v.query("sort")}
	if p.Sort == "" {
		p.Sort = "-updated_at"
	}
	for _, a := range lifecycle.Axes() {
		name := string(a) + "_status"
		p.Axes = append(p.Axes, axisChoice{Name: name, Label: label(a), Statuses: lifecycle.Statuses(a), Chosen: p.Filter.Get(name)})
	}
	// A page that is filled part by part knows how full it is.
	shown, _ := strconv.Atoi(v.query("shown"))
	shown = min(max(shown, 0), pageSize-1)
	q := url.Values{"sort": {p.Sort}, "limit": {strconv.Itoa(pageSize - shown)}}
	for k, values := range p.Filter {
		q[k] = values
	}
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
		p.First = p.address("")
	}
	if v.query("first") != "" {
		p.First = "" // a part of the first page
	}
	var page struct {
		Items      []apiBusiness `json:"items"`
		NextCursor string        `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/crm/businesses?"+q.Encode(), nil, &page); err != nil {
		r, expected := asRefusal(v.ctx(), err)
		if !expected {
			return p, err
		}
		p.Problem = r.text
		return p, nil
	}
	p.Items, p.Shown = page.Items, shown+len(page.Items)
	if page.NextCursor != "" {
		p.Next = p.address(page.NextCursor)
		if p.Shown < pageSize {
			more := url.Values{"shown": {strconv.Itoa(p.Shown)}}
			if p.First == "" {
				more.Set("first", "yes")
			}
			p.Further = "/businesses/list?" + strings.TrimPrefix(p.Next, "/businesses?") + "&" + more.Encode()
		}
	}
	q.Del("cursor")
	q.Del("limit")
	q.Set("format", "csv")
	p.CSV = apiPrefix + "/crm/businesses?" + q.Encode()
	return p, nil
}

// address is that of a page of the list.
func (p businessListPage) address(cursor string) string {
	q := url.Values{}
	for k, values := range p.Filter {
		q[k] = values
	}
	if p.Sort != "-updated_at" {
		q.Set("sort", p.Sort)
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if len(q) == 0 {
		return "/businesses"
	}
	return "/businesses?" + q.Encode()
}

// Address is that of the first page, with the filter in it.
func (p businessListPage) Address() string { return p.address("") }

// Query is the filter as an address has it.
func (p businessListPage) Query() string { return p.Filter.Encode() }

// SortBy is the address of the list in another order: the other way round, where it is in this one already.
func (p businessListPage) SortBy(column string) string {
	if p.Sort == column {
		column = "-" + column
	} else if column != "name" && p.Sort != "-"+column {
		column = "-" + column
	}
	p.Sort = column
	return p.address("")
}

// Sorted is the attribute of a column's head: how it is sorted, if it is.
func (p businessListPage) Sorted(column string) string {
	switch p.Sort {
	case column:
		return "ascending"
	case "-" + column:
		return "descending"
	}
	return ""
}

func (c *Console) businesses(v *visit) error {
	p, err := c.readBusinesses(v)
	if err != nil {
		return err
	}
	if p.Views, err = c.views(v, "businesses", p.Query()); err != nil {
		return err
	}
	return v.render("businesses", "Businesses", p)
}

// businessList answers the list alone, while somebody types, or what fills its page.
func (c *Console) businessList(v *visit) error {
	p, err := c.readBusinesses(v)
	if err != nil {
		return err
	}
	if v.query("shown") != "" {
		return v.fragment("businesses", "rows", p)
	}
	v.w.Header().Set("Hx-Push-Url", p.Address())
	return v.fragment("businesses", "list", p)
}

// views lists the saved views of the visitor's token.
func (c *Console) views(v *visit, page, query string) ([]savedView, error) {
	rows, err := c.opts.Pool.Query(v.ctx(), `
		SELECT id, name, query
		FROM console_views
		WHERE token_id = $1 AND page = $2
		ORDER BY name
		LIMIT 50`, v.Token.ID, page)
	if err != nil {
		return nil, fmt.Errorf("list saved views: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (savedView, error) {
		var s savedView
		err := row.Scan(&s.ID, &s.Name, &s.Query)
		s.On = s.Query == query
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("list saved views: %w", err)
	}
	return list, nil
}

// maxViews is how many views a token may keep.
const maxViews = 50

func (c *Console) saveView(v *visit) error {
	name := v.form("name")
	if name == "" || len([]rune(name)) > 60 {
		return field("name", "A view's name has 1 to 60 characters.")
	}
	query := v.form("query")
	if isPartial(v.r) {
		// The list may have been filtered since the form came: the address tells.
		if u, err := url.Parse(v.Here()); err == nil {
			query = u.RawQuery
		}
	}
	q, err := url.ParseQuery(query)
	if err != nil || len(query) > 2000 {
		return field("query", "This filter cannot be kept.")
	}
	kept := selection(&http.Request{URL: &url.URL{RawQuery: q.Encode()}}, businessFilters())
	if len(kept) == 0 {
		return field("query", "Filter first: a view is a filter under a name.")
	}
	tag, err := c.opts.Pool.Exec(v.ctx(), `
		INSERT INTO console_views (token_id, page, name, query)
		SELECT $1, 'businesses', $2, $3
		WHERE (SELECT count(*) FROM console_views WHERE token_id = $1) < $4
			OR EXISTS (SELECT 1 FROM console_views WHERE token_id = $1 AND page = 'businesses' AND name = $2)
		ON CONFLICT (token_id, page, name) DO UPDATE SET query = EXCLUDED.query`, v.Token.ID, name, kept.Encode(), maxViews)
	if err != nil {
		return fmt.Errorf("save a view: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return refuse(http.StatusConflict, fmt.Sprintf("You have %d views: delete one first.", maxViews))
	}
	return v.done("/businesses?"+kept.Encode(), toneGood, "View “"+name+"” saved.")
}

func (c *Console) deleteView(v *visit) error {
	id, err := strconv.ParseInt(v.param("id"), 10, 64)
	if err != nil {
		return errNotFound
	}
	if _, err := c.opts.Pool.Exec(v.ctx(), `DELETE FROM console_views WHERE id = $1 AND token_id = $2`, id, v.Token.ID); err != nil {
		return fmt.Errorf("delete a view: %w", err)
	}
	return v.done(v.back("/businesses"), toneGood, "View deleted.")
}
