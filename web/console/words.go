package console

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// words are the functions by which templates write values: one way for each kind of value, on every page.
func words() template.FuncMap {
	return template.FuncMap{
		"errorWords": errorWords, "badge": badge, "label": label, "when": when, "day": day, "clock": clock, "count": count, "money": money, "percent": percent,
		"duration": duration, "age": age, "plural": plural, "short": short, "dash": dash, "has": has, "join": strings.Join,
		"lines": lines, "line": lineChart, "bars": barChart, "meter": meter, "spark": spark, "text": text,
		"becomes": becomes, "deed": deed, "price": price, "query": query, "one": one, "capital": capital, "itemTone": itemTone, "phone": phone, "add": func(a, b int) int { return a + b },
	}
}

// Tones say how a value is meant: what is well, under way, to be watched, bad, or over.
const (
	toneGood = "good"
	toneInfo = "info"
	toneWarn = "warn"
	toneBad  = "bad"
	toneDone = "done"
	toneNone = "none"
)

// tone is how a status, state, outcome or verdict is meant. The words are those of the field: one meaning each, whatever
// it is said of.
func tone(word string) string {
	switch word {
	case "purchased", "sold", "active", "delivered", "read", "applied", "completed", "done", "sent", "owned", "corrected", "good", "operator", "running_well":
		return toneGood
	case "emailed", "sms_sent", "opened", "clicked", "replied", "deployed", "generated", "generating", "sending", "accepted", "running",
		"reply", "available", "dispatching", "queued", "scheduled", "opt_in", "admin", "info":
		return toneInfo
	case "past_due", "paused", "open", "held", "unknown", "retryable", "unmatched", "undelivered", "warn", "help", "stale", "blocked":
		return toneWarn
	case "bounced", "failed", "discarded", "unsubscribed", "opt_out", "bad", "rejected", "suppressed", "refunded":
		return toneBad
	case "cancelled", "canceled", "archived", "closed", "erased", "no_change", "ignored", "lifted", "revoked", "draft", "viewer":
		return toneDone
	}
	return toneNone
}

// query writes a filter into an address, behind its question mark. A plain string there would be taken for one value: its
// signs escaped, the filter would be none.
func query(encoded string) (template.URL, error) {
	q, err := url.ParseQuery(encoded)
	if err != nil {
		return "", err
	}
	return template.URL(q.Encode()), nil //nolint:gosec // encoded
}

// label writes a word of the field for people: sms_sent is "SMS sent".
func label(word any) string {
	s := strings.ReplaceAll(fmt.Sprint(word), "_", " ")
	for _, acronym := range []string{"sms", "api", "url", "id"} {
		parts := strings.Split(s, " ")
		for i, p := range parts {
			if p == acronym {
				parts[i] = strings.ToUpper(p)
			}
		}
		s = strings.Join(parts, " ")
	}
	return s
}

// badge writes a status, state, outcome or verdict.
func badge(word any) template.HTML {
	s := fmt.Sprint(word)
	if s == "" {
		return ""
	}
	return template.HTML(`<span class="badge ` + tone(s) + `">` + template.HTMLEscapeString(label(s)) + `</span>`) //nolint:gosec // escaped
}

// becomes writes the status that follows another, with the arrow to it, which no line break parts from it.
func becomes(word any) template.HTML {
	return `<span class="nowrap"><span class="muted">→</span> ` + badge(word) + `</span>`
}

// deed writes what an operator did, as the log names it, for people: event.ticket_opened is "Ticket opened".
func deed(action string) string {
	of, what, found := strings.Cut(action, ".")
	switch {
	case !found:
		return capital(action)
	case of == "event":
		return capital(what)
	}
	return capital(of) + ": " + label(strings.ReplaceAll(what, ".", " "))
}

// price writes what the API has exactly, to the cent, and smaller amounts to two digits that count.
func price(amount string) string {
	f, err := strconv.ParseFloat(amount, 64)
	switch {
	case err != nil:
		return amount
	case f == 0 || math.Abs(f) >= 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	digits := 1 - int(math.Floor(math.Log10(math.Abs(f))))
	return strconv.FormatFloat(f, 'f', max(2, digits), 64)
}

// when writes a time, which the page's script shows in the reader's zone, as how long ago it is where that is less than
// a day; the exact time is in its title. Without a script it is UTC. It takes a time or a pointer to one.
func when(at any) template.HTML {
	t, ok := timeOf(at)
	if !ok {
		return `<span class="muted">–</span>`
	}
	utc := t.UTC()
	return template.HTML(`<time datetime="` + utc.Format(time.RFC3339Nano) + `" data-when>` + utc.Format("2 Jan 2006 15:04") + ` UTC</time>`) //nolint:gosec // digits
}

// day writes a time as its day.
func day(at any) template.HTML {
	t, ok := timeOf(at)
	if !ok {
		return `<span class="muted">–</span>`
	}
	utc := t.UTC()
	return template.HTML(`<time datetime="` + utc.Format(time.RFC3339Nano) + `" data-day>` + utc.Format("2 Jan 2006") + `</time>`) //nolint:gosec // digits
}

// clock writes a time as its hour and minute.
func clock(at time.Time) template.HTML {
	utc := at.UTC()
	return template.HTML(`<time datetime="` + utc.Format(time.RFC3339) + `" data-clock>` + utc.Format("15:04") + ` UTC</time>`) //nolint:gosec // digits
}

func timeOf(at any) (time.Time, bool) {
	switch t := at.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, !t.IsZero()
		}
	}
	return time.Time{}, false
}

// count writes a number with thin spaces between its thousands.
func count(n any) string {
	var s string
	switch n := n.(type) {
	case float64:
		s = strconv.FormatFloat(math.Round(n), 'f', 0, 64)
	default:
		s = fmt.Sprint(n)
	}
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return sign + s
}

// money writes an amount of hundredths in its currency.
func money(cents int64, currency string) string {
	sign := ""
	if cents < 0 {
		sign, cents = "−", -cents
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s.%02d %s", sign, count(cents/100), cents%100, strings.ToUpper(currency)))
}

// percent writes a share; nothing where there is nothing to be a share of.
func percent(part, whole any) string {
	p, w := number(part), number(whole)
	if w == 0 {
		return "–"
	}
	share := 100 * p / w
	if share > 0 && share < 10 {
		return strconv.FormatFloat(share, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(share, 'f', 0, 64) + " %"
}

func number(n any) float64 {
	switch n := n.(type) {
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// age writes how long something lasts by now, or lasted.
func age(from time.Time) string {
	if from.IsZero() {
		return "–"
	}
	return duration(time.Since(from))
}

// duration writes a time span with the precision that anybody acts by.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// plural writes a number and the word for it.
func plural(n any, one, many string) string {
	if number(n) == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// short is an id as people compare it: its end, since the beginning of a UUIDv7 is the time.
func short(id any) string {
	switch id := id.(type) {
	case uuid.UUID:
		return "…" + id.String()[28:]
	}
	s := fmt.Sprint(id)
	if len(s) > 12 {
		return "…" + s[len(s)-8:]
	}
	return s
}

// one reports whether a status is one of a list.
func one(list []lifecycle.Status, s string) bool { return slices.Contains(list, lifecycle.Status(s)) }

// itemTone is how a timeline's item is meant.
func itemTone(i pgstore.TimelineItem) string {
	switch i.Kind {
	case pgstore.TimelineTransition:
		if i.From == i.To {
			return toneNone
		}
		return tone(i.To)
	case pgstore.TimelinePayment:
		return toneGood
	}
	return tone(i.Event)
}

// dash is a value, or a dash where it is empty.
func dash(s string) any {
	if s == "" {
		return template.HTML(`<span class="muted">–</span>`)
	}
	return s
}

// text is the value behind a pointer, or nothing.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// lines splits a text at its line breaks.
func lines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }

// phone writes an E.164 number as people of its country read it out.
func phone(e164 string) string { return pgstore.DisplayPhone(e164) }

// capital writes a word with a capital, as the first of a label.
func capital(word any) string {
	s := label(word)
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
