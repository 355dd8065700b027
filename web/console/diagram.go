package console

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// place is the middle of a status in its diagram.
type place struct{ x, y float64 }

// plan is where the statuses of an axis stand. What leads where is not in it: that is asked of the rules.
type plan struct {
	width, height float64
	at            map[lifecycle.Status]place
}

func plans() map[lifecycle.Axis]plan {
	return map[lifecycle.Axis]plan{
		lifecycle.AxisContact: {760, 172, map[lifecycle.Status]place{
			lifecycle.Pending: {52, 62}, lifecycle.Emailed: {174, 34}, lifecycle.SMSSent: {174, 90}, lifecycle.Opened: {302, 62},
			lifecycle.Clicked: {424, 62}, lifecycle.Replied: {546, 62}, lifecycle.Purchased: {690, 62},
			lifecycle.Bounced: {302, 148}, lifecycle.Unsubscribed: {546, 148},
		}},
		lifecycle.AxisWebsite: {640, 132, map[lifecycle.Status]place{
			lifecycle.None: {52, 46}, lifecycle.Generating: {182, 46}, lifecycle.Generated: {314, 46}, lifecycle.Deployed: {446, 46},
			lifecycle.Sold: {578, 46}, lifecycle.Archived: {446, 112},
		}},
		lifecycle.AxisSubscription: {456, 150, map[lifecycle.Status]place{
			lifecycle.None: {52, 75}, lifecycle.Active: {169, 75}, lifecycle.PastDue: {286, 24}, lifecycle.Paused: {286, 126}, lifecycle.Cancelled: {404, 75},
		}},
		lifecycle.AxisTicket: {104, 150, map[lifecycle.Status]place{
			lifecycle.None: {52, 24}, lifecycle.Open: {52, 75}, lifecycle.Closed: {52, 126},
		}},
	}
}

// Size of a status's box.
const (
	boxWidth  = 96.0
	boxHeight = 28.0
)

// diagram is one axis of a business, drawn.
type diagram struct {
	Axis    lifecycle.Axis
	Current lifecycle.Status
	Steps   []pgstore.Moved
	SVG     template.HTML
}

// draw draws an axis: every status, the way that was taken with its times in the zone of who looks, and from where it
// stands, dashed, where it may go.
func draw(axis lifecycle.Axis, current lifecycle.Status, steps []pgstore.Moved, zone *time.Location) diagram {
	p := plans()[axis]
	var b strings.Builder
	esc := template.HTMLEscapeString
	fmt.Fprintf(&b, `<svg class="states %s" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, axis, p.width, p.height, esc(summary(axis, current, steps)))
	for _, kind := range []string{"taken", "next"} {
		fmt.Fprintf(&b, `<defs><marker id="%s-%s" class="%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0.500 8 4 0 7.500z"/></marker></defs>`,
			kind, axis, kind)
	}
	taken := map[[2]lifecycle.Status][]string{}
	visited := []lifecycle.Status{current}
	var order [][2]lifecycle.Status
	for _, s := range steps {
		key := [2]lifecycle.Status{s.From, s.To}
		if taken[key] == nil {
			order = append(order, key)
		}
		taken[key] = append(taken[key], fmt.Sprintf("%s by %s, %s", label(s.To), label(s.Event), s.At.In(zone).Format("2 Jan 2006 15:04:05 MST")))
		visited = append(visited, s.From, s.To)
	}
	for _, m := range lifecycle.Moves(axis) {
		if m.From != current || taken[[2]lifecycle.Status{m.From, m.To}] != nil {
			continue
		}
		var by []string
		for _, e := range m.Events {
			by = append(by, label(e))
		}
		arrow(&b, p, axis, "next", m.From, m.To, "May become "+label(m.To)+": "+strings.Join(by, ", "))
	}
	for _, key := range order {
		arrow(&b, p, axis, "taken", key[0], key[1], strings.Join(taken[key], "; "))
	}
	for _, s := range lifecycle.Statuses(axis) {
		at, ok := p.at[s]
		if !ok {
			continue
		}
		class := "state"
		switch {
		case s == current:
			class += " here " + tone(string(s))
		case slices.Contains(visited, s):
			class += " visited"
		}
		fmt.Fprintf(&b, `<g class="%s"><rect x="%.1f" y="%.1f" width="%.0f" height="%.0f" rx="14"/><text x="%.1f" y="%.1f">%s</text></g>`,
			class, at.x-boxWidth/2, at.y-boxHeight/2, boxWidth, boxHeight, at.x, at.y+4.5, esc(label(s)))
	}
	b.WriteString(`</svg>`)
	return diagram{Axis: axis, Current: current, Steps: steps, SVG: template.HTML(b.String())} //nolint:gosec // numbers, and words that are escaped
}

// arrow draws a way, bent so that two ways between the same statuses, and one past others, stay apart.
func arrow(b *strings.Builder, p plan, axis lifecycle.Axis, class string, from, to lifecycle.Status, title string) {
	a, ok := p.at[from]
	z, ok2 := p.at[to]
	if !ok || !ok2 {
		return
	}
	dx, dy := z.x-a.x, z.y-a.y
	length := math.Hypot(dx, dy)
	bend := 6.0
	if dy == 0 && math.Abs(dx) > 1.6*boxWidth {
		bend = math.Min(44, math.Abs(dx)/7)
	}
	if dx < 0 {
		bend += 10
	}
	mid := place{(a.x+z.x)/2 + dy/length*bend, (a.y+z.y)/2 - dx/length*bend}
	switch {
	case dx < 0 && dy == 0:
		mid.y = a.y + bend // back beneath
	case math.Abs(dx) > 1.6*boxWidth && dy < 0:
		mid.y = a.y + 14 // from beneath, past what stands between
	case math.Abs(dx) > 1.6*boxWidth && dy > 0 && dy < 2*boxHeight:
		mid.y = a.y - 14
	}
	start, end := edge(a, mid), edge(z, mid)
	fmt.Fprintf(b, `<path class="way %s" marker-end="url(#%s-%s)" d="M%.1f %.1fQ%.1f %.1f %.1f %.1f"><title>%s</title></path>`,
		class, class, axis, start.x, start.y, mid.x, mid.y, end.x, end.y, template.HTMLEscapeString(title))
}

// edge is where a line from the middle of a box towards a point leaves the box.
func edge(box, towards place) place {
	dx, dy := towards.x-box.x, towards.y-box.y
	scale := math.Inf(1)
	if dx != 0 {
		scale = math.Min(scale, (boxWidth/2+2)/math.Abs(dx))
	}
	if dy != 0 {
		scale = math.Min(scale, (boxHeight/2+2)/math.Abs(dy))
	}
	if math.IsInf(scale, 1) || scale > 1 {
		return towards
	}
	return place{box.x + dx*scale, box.y + dy*scale}
}

// summary is a diagram for those who do not see it.
func summary(axis lifecycle.Axis, current lifecycle.Status, steps []pgstore.Moved) string {
	s := label(axis) + ": " + label(current)
	if len(steps) == 0 {
		return s + "; it never moved"
	}
	way := []string{label(steps[0].From)}
	for _, step := range steps {
		way = append(way, label(step.To))
	}
	return s + "; its way: " + strings.Join(way, ", ")
}
