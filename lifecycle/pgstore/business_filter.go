package pgstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"onward/lifecycle"
)

// BusinessFilter selects businesses, for lists and for the audience of a campaign alike. What is set must hold
// together; the zero filter selects everyone. Its JSON is what campaigns.audience holds.
type BusinessFilter struct {
	Q                  string     `json:"q,omitempty"` // part of a name, phone in any spelling, email or city
	ContactStatus      AnyOf      `json:"contact_status,omitempty"`
	WebsiteStatus      AnyOf      `json:"website_status,omitempty"`
	SubscriptionStatus AnyOf      `json:"subscription_status,omitempty"`
	TicketStatus       AnyOf      `json:"ticket_status,omitempty"`
	City               string     `json:"city,omitempty"`
	Country            string     `json:"country,omitempty"`
	Category           string     `json:"category,omitempty"`
	Tag                AnyOf      `json:"tag,omitempty"`
	CreatedAfter       *time.Time `json:"created_after,omitempty"`
	CreatedBefore      *time.Time `json:"created_before,omitempty"`
	UpdatedAfter       *time.Time `json:"updated_after,omitempty"`
	UpdatedBefore      *time.Time `json:"updated_before,omitempty"`
}

// AnyOf is a list of which any may hold. In JSON it is a list, or one string with commas as in a query.
type AnyOf []string

// UnmarshalJSON reads either form.
func (a *AnyOf) UnmarshalJSON(data []byte) error {
	var list []string
	if err := json.Unmarshal(data, &list); err == nil {
		*a = list
		return nil
	}
	var joined string
	if err := json.Unmarshal(data, &joined); err != nil {
		return fmt.Errorf("neither a list of strings nor a string: %w", err)
	}
	*a = nil
	for part := range strings.SplitSeq(joined, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*a = append(*a, part)
		}
	}
	return nil
}

// Where returns conditions on the columns of businesses (under the alias, if one is given) and appends their
// arguments to args, whose length so far sets the numbers of the placeholders. It returns "true" for the zero
// filter.
func (f BusinessFilter) Where(alias string, args *[]any) string {
	if alias == "" {
		alias = "businesses"
	}
	return f.conditions(where{prefix: alias + ".", args: args})
}

// probing is Where for rows that are few and at hand: what stands in other tables is looked up for each.
func (f BusinessFilter) probing(args *[]any) string {
	return f.conditions(where{prefix: "businesses.", args: args, probes: true})
}

// needsRow says whether it is about columns of businesses, and not only about what stands beside them.
func (f BusinessFilter) needsRow() bool {
	return len(f.ContactStatus)+len(f.WebsiteStatus)+len(f.SubscriptionStatus)+len(f.TicketStatus) > 0 ||
		f.City != "" || f.Country != "" || f.Category != "" || f.CreatedAfter != nil || f.CreatedBefore != nil
}

func (f BusinessFilter) conditions(w where) string {
	w.contact(f.ContactStatus)
	w.anyOf("website_status", f.WebsiteStatus)
	w.anyOf("subscription_status", f.SubscriptionStatus)
	w.anyOf("ticket_status", f.TicketStatus)
	w.sameText("city", f.City)
	w.sameText("category", f.Category)
	if f.Country != "" {
		w.add("country = %s", strings.ToUpper(strings.TrimSpace(f.Country)))
	}
	w.time("created_at >", f.CreatedAfter)
	w.time("created_at <", f.CreatedBefore)
	w.updated(">", f.UpdatedAfter)
	w.updated("<", f.UpdatedBefore)
	// Last what costs most, where it is probed row by row.
	if len(f.Tag) > 0 {
		w.beside("business_tags t", "t.business_id", "t.tag = ANY("+w.arg(f.Tag.tags())+")")
	}
	w.search(f.Q)
	if len(w.terms) == 0 {
		return "true"
	}
	return strings.Join(w.terms, "\n\t\tAND ")
}

// tags are those of a filter as they are stored.
func (a AnyOf) tags() []string {
	list := make([]string, len(a))
	for i, t := range a {
		list[i] = strings.ToLower(strings.TrimSpace(t))
	}
	return list
}

// where collects conditions and their arguments.
type where struct {
	prefix string
	args   *[]any
	probes bool
	terms  []string
}

// beside puts a condition on a row of another table. OFFSET keeps the planner from anything but a look for each row.
func (w *where) beside(table, id, condition string) {
	form := "%[1]sid IN (SELECT %[3]s FROM %[2]s WHERE %[4]s)"
	if w.probes {
		form = "EXISTS (SELECT 1 FROM %[2]s WHERE %[3]s = %[1]sid AND %[4]s OFFSET 0)"
	}
	w.terms = append(w.terms, fmt.Sprintf(form, w.prefix, table, id, condition))
}

// arg adds an argument and returns its placeholder.
func (w *where) arg(v any) string {
	*w.args = append(*w.args, v)
	return "$" + strconv.Itoa(len(*w.args))
}

// add puts a condition on a column; %s stands for the argument.
func (w *where) add(condition string, v any) {
	w.terms = append(w.terms, w.prefix+fmt.Sprintf(condition, w.arg(v)))
}

func (w *where) anyOf(column string, values AnyOf) {
	if len(values) > 0 {
		w.add(column+" = ANY(%s)", []string(values))
	}
}

// contact names the column that has an index wherever it can: see migration 0005.
func (w *where) contact(values AnyOf) {
	common := slices.ContainsFunc(values, func(s string) bool {
		return s == string(lifecycle.Pending) || s == string(lifecycle.Emailed) || s == string(lifecycle.SMSSent)
	})
	if common {
		w.anyOf("contact_status", values)
	} else {
		w.anyOf("contact_seldom", values)
	}
}

// sameText compares as search does: in any case, with or without accents.
func (w *where) sameText(column, v string) {
	if v = strings.TrimSpace(v); v != "" {
		w.terms = append(w.terms, fmt.Sprintf("onward_fold(%s%s) = onward_fold(%s)", w.prefix, column, w.arg(v)))
	}
}

func (w *where) time(condition string, v *time.Time) {
	if v != nil {
		w.add(condition+" %s", *v)
	}
}

// updated finds few of many by the index beside the table; in rows that are at hand it compares the column.
func (w *where) updated(compare string, v *time.Time) {
	if v == nil || w.probes {
		w.time("updated_at "+compare, v)
		return
	}
	w.beside("business_changes c", "c.business_id", "c.updated_at "+compare+" "+w.arg(*v))
}

// wholeSearch is how long a text must be to be looked for in the middle of words: an index of trigrams has nothing to
// offer for less, and what is found would be half of everything.
const wholeSearch = 3

// search looks for part of a word, as the trigram index serves it; for one or two characters at the beginning of words.
func (w *where) search(q string) {
	q = strings.Join(strings.Fields(q), " ")
	if q == "" {
		return
	}
	if dialled(q) != "" {
		q = narrow(q) // where the database's locale is C, an index of trigrams has nothing for the others
	}
	before := "%"
	if utf8.RuneCountInString(q) < wholeSearch {
		before = "% "
	}
	terms := w.like(before+escapeLike(q)+"%", q)
	for _, spelling := range []string{phoneDigits(q), dialledFromAmerica(q)} {
		if spelling != "" && spelling != q {
			terms = "(" + terms + " OR " + w.like("%"+spelling+"%", spelling) + ")"
		}
	}
	w.beside("business_search s", "s.business_id", terms)
}

// like compares the document with a pattern that holds a text. A long number in it is looked for first, by its end: the index
// reads a list for each three letters, and those of names, of providers of mailboxes and of the beginnings of phones are
// long. What is added to the document keeps the rest off the index.
func (w *where) like(pattern, text string) string {
	term := "LIKE onward_fold(" + w.arg(pattern) + ")"
	number := longNumber(text)
	if phoneDigits(text) != "" && len(number) < wholeNumber {
		number = "" // a group of a phone's digits, of which each of the others says as much
	}
	if number == "" || w.probes {
		return "s.document " + term
	}
	return "(s.document LIKE " + w.arg("%"+number+"%") + " AND s.document || '' " + term + ")"
}

// wholeNumber is how many digits at the end of a number find it.
const wholeNumber = 6

// longNumber returns the end of the longest run of digits in a text, where that says most about it and is shorter than all
// of it: five digits and more are rare, and six are enough.
func longNumber(text string) string {
	const long, enough, gain = 5, wholeNumber, 3
	best := ""
	for _, run := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(run) >= long && len(run) > len(best) {
			best = run
		}
	}
	best = best[max(0, len(best)-enough):]
	if len(best)+gain > len(text) {
		return ""
	}
	return best
}

// escapeLike takes the meaning from what LIKE would read as a pattern.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// minPhoneDigits keeps a house number or a year in a name from matching half of all phones.
const minPhoneDigits = 3

// phoneDigits returns the digits of what may be part of a phone number, "" for anything else. Zeros in front
// are left out: they are how a number is dialled at home or abroad, and no part of E.164.
func phoneDigits(q string) string {
	d := strings.TrimLeft(dialled(q), "0")
	if len(d) < minPhoneDigits {
		return ""
	}
	return d
}

// narrow writes what is as wide as a letter of Chinese, as some keyboards write digits, in ASCII.
func narrow(q string) string {
	const first, last, gap = '！', '～', '！' - '!'
	return strings.Map(func(r rune) rune {
		if r >= first && r <= last {
			return r - gap
		}
		return r
	}, q)
}

// dialled returns the digits of what is written as a phone number is, or part of one; "" for anything else.
func dialled(q string) string {
	q = narrow(q)
	const link = "tel:"
	if len(q) > len(link) && strings.EqualFold(q[:len(link)], link) {
		q = q[len(link):]
	}
	q = strings.ReplaceAll(q, "(0)", "") // +44 (0)20 …: the zero that is dialled at home alone
	var digits strings.Builder
	for _, r := range q {
		switch {
		case r >= '0' && r <= '9':
			digits.WriteRune(r)
		case unicode.IsSpace(r), strings.ContainsRune("+-./()", r):
		default:
			return ""
		}
	}
	return digits.String()
}

// dialledFromAmerica returns the number behind 011, as it is dialled there to reach other countries; "" where there is none.
// What begins so may as well be a number at home, such as 0113 496 0123 of Leeds.
func dialledFromAmerica(q string) string {
	const prefix, abroad = "011", 8 // the shortest number with its country, for all that is common
	number, ok := strings.CutPrefix(dialled(q), prefix)
	if !ok || len(number) < abroad {
		return ""
	}
	return number
}
