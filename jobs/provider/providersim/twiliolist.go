package providersim

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Sizes of a page of the list.
const (
	defaultPage = 50
	maxPage     = 1000
)

// listMessages serves the list, newest first, filtered by To, From and the sent
// date. As at Twilio the date filter goes by the time of sending, so a message
// that is still queued passes none.
func (s *Sim) listMessages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	size, number := defaultPage, 0
	var err error
	if v := q.Get("PageSize"); v != "" {
		if size, err = strconv.Atoi(v); err != nil || size < 1 {
			writeError(w, 400, 20001)
			return
		}
	}
	size = min(size, maxPage)
	if v := q.Get("Page"); v != "" {
		if number, err = strconv.Atoi(v); err != nil || number < 0 {
			writeError(w, 400, 20001)
			return
		}
	}
	filter, ok := newListFilter(q)
	if !ok {
		writeError(w, 400, 20001)
		return
	}
	found, last, more := s.page(filter, q.Get("PageToken"), size)
	pageURI := func(number int, token string) string {
		v := url.Values{}
		for _, key := range []string{"To", "From", "DateSent", "DateSent<", "DateSent>"} {
			if q.Has(key) {
				v.Set(key, q.Get(key))
			}
		}
		v.Set("PageSize", strconv.Itoa(size))
		v.Set("Page", strconv.Itoa(number))
		if token != "" {
			v.Set("PageToken", token)
		}
		return r.URL.Path + "?" + v.Encode()
	}
	out := map[string]any{
		"messages": found, "page": number, "page_size": size,
		"start": number * size, "end": max(number*size+len(found)-1, 0),
		"first_page_uri": pageURI(0, ""), "uri": pageURI(number, q.Get("PageToken")),
		"next_page_uri": nil, "previous_page_uri": nil,
	}
	if more {
		out["next_page_uri"] = pageURI(number+1, "PA"+last)
	}
	if number > 0 {
		out["previous_page_uri"] = pageURI(number-1, "")
	}
	writeJSON(w, http.StatusOK, out)
}

// page returns the messages after the one that the token names. Naming a message
// and not a position keeps pages apart while new messages arrive.
func (s *Sim) page(filter listFilter, token string, size int) (found []map[string]any, last string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found = []map[string]any{}
	reached := token == ""
	for i := len(s.order) - 1; i >= 0; i-- {
		m := s.order[i]
		if !reached {
			reached = token == "PA"+m.sid
			continue
		}
		if !filter.matches(m) {
			continue
		}
		if len(found) == size {
			return found, last, true
		}
		found = append(found, m.json())
		last = m.sid
	}
	return found, last, false
}

type listFilter struct {
	to, from      string
	after, before time.Time // of sending; before is exclusive
}

func newListFilter(q url.Values) (listFilter, bool) {
	f := listFilter{to: q.Get("To"), from: q.Get("From")}
	for _, bound := range []struct {
		key           string
		after, before bool
	}{{"DateSent", true, true}, {"DateSent>", true, false}, {"DateSent<", false, true}} {
		value := q.Get(bound.key)
		if value == "" {
			continue
		}
		from, to, ok := parseBound(value)
		if !ok {
			return f, false
		}
		if bound.after {
			f.after = from
		}
		if bound.before {
			f.before = to
		}
	}
	return f, true
}

// parseBound reads a day (its whole length) or a moment.
func parseBound(value string) (from, to time.Time, ok bool) {
	if day, err := time.Parse(time.DateOnly, value); err == nil {
		return day, day.AddDate(0, 0, 1), true
	}
	at, err := time.Parse(time.RFC3339, value)
	return at, at.Add(time.Nanosecond), err == nil
}

func (f listFilter) matches(m *message) bool {
	switch {
	case f.to != "" && f.to != m.to, f.from != "" && f.from != m.from:
		return false
	case !f.after.IsZero() && (m.sent.IsZero() || m.sent.Before(f.after)):
		return false
	case !f.before.IsZero() && (m.sent.IsZero() || !m.sent.Before(f.before)):
		return false
	}
	return true
}
