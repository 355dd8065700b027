package pgstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
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
	w := where{args: args}
	if alias != "" {
		w.prefix = alias + "."
	}
	w.search(f.Q)
	w.anyOf("contact_status", f.ContactStatus)
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
	w.time("updated_at >", f.UpdatedAfter)
	w.time("updated_at <", f.UpdatedBefore)
	if len(w.terms) == 0 {
		return "true"
	}
	return strings.Join(w.terms, "\n\t\tAND ")
}

// where collects conditions and their arguments.
type where struct {
	prefix string
	args   *[]any
	terms  []string
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

func (w *where) sameText(column, v string) {
	if v = strings.TrimSpace(v); v == "" {
		return
	}
	var terms []string
	for _, spelling := range spellings(v) {
		terms = append(terms, fmt.Sprintf("lower(%s%s) = lower(%s)", w.prefix, column, w.arg(spelling)))
	}
	w.terms = append(w.terms, "("+strings.Join(terms, " OR ")+")")
}

// spellings are the cases in which a text is looked for. A database with the locale C folds the case of ASCII
// alone: there "ANTIGUA" finds "Antigua" by itself, and "COBÁN" finds "Cobán" by its lower case.
func spellings(v string) []string {
	list := []string{v}
	if strings.IndexFunc(v, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		for _, s := range []string{strings.ToLower(v), strings.ToUpper(v)} {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

func (w *where) time(condition string, v *time.Time) {
	if v != nil {
		w.add(condition+" %s", *v)
	}
}

// search looks for part of a word in each column by itself, the form that a trigram index serves.
func (w *where) search(q string) {
	q = strings.TrimSpace(q)
	if q == "" {
		return
	}
	var terms []string
	for _, spelling := range spellings(q) {
		like := w.arg("%" + escapeLike(spelling) + "%")
		for _, column := range []string{"name", "email", "city"} {
			terms = append(terms, w.prefix+column+" ILIKE "+like)
		}
	}
	if digits := phoneDigits(q); digits != "" {
		terms = append(terms, w.prefix+"phone LIKE "+w.arg("%"+digits+"%"))
	}
	w.terms = append(w.terms, "("+strings.Join(terms, " OR ")+")")
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
	d := strings.TrimLeft(digits.String(), "0")
	if len(d) < minPhoneDigits {
		return ""
	}
	return d
}
