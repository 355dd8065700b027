package main

import (
	"slices"
	"strings"

	"onward/lifecycle"
)

// edge is an arrow of a diagram; its events are those that take it.
type edge struct{ from, to string }

// edges collects arrows in the order in which they are first met.
type edges struct {
	order  []edge
	events map[edge][]string
}

func (es *edges) add(from, to string, e lifecycle.Event) {
	if es.events == nil {
		es.events = make(map[edge][]string)
	}
	k := edge{from, to}
	if _, ok := es.events[k]; !ok {
		es.order = append(es.order, k)
	}
	if !slices.Contains(es.events[k], string(e)) {
		es.events[k] = append(es.events[k], string(e))
	}
}

func (es *edges) write(b *strings.Builder, indent string) {
	for _, k := range es.order {
		b.WriteString(indent + k.from + " --> " + k.to + " : " + strings.Join(es.events[k], ", ") + "\n")
	}
}

func mermaid(kind, body string) string { return "```mermaid\n" + kind + "\n" + body + "```" }

// diagram draws every change of status of an axis.
func diagram(r axisRules) string {
	var es edges
	for _, s := range r.statuses() {
		for _, e := range r.events() {
			for _, to := range r.outcome(s, e).to {
				if to != s {
					es.add(string(s), string(to), e)
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("    [*] --> " + string(r.statuses()[0]) + "\n")
	es.write(&b, "    ")
	return mermaid("stateDiagram-v2", b.String())
}

// contactDiagram draws the contact's axis with the steps of reached in one box: an arrow from or to the
// box is one from or to whichever step the contact is at. Inside the box an arrow is left out where its
// event leads there from a step between as well.
func contactDiagram() string {
	r := businessRules(lifecycle.AxisContact)
	all := steps()
	inside := func(s lifecycle.Status) bool { return slices.Contains(all, s) }
	var inner, outer edges
	for _, s := range r.statuses() {
		for _, e := range r.events() {
			for _, to := range r.outcome(s, e).to {
				switch {
				case to == s:
				case inside(s) && inside(to):
					if !between(r, all, s, to, e) {
						inner.add(string(s), string(to), e)
					}
				default:
					outer.add(box(s, inside(s)), box(to, inside(to)), e)
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("    [*] --> reached\n    state reached {\n        [*] --> " + string(all[0]) + "\n")
	inner.write(&b, "        ")
	b.WriteString("    }\n")
	outer.write(&b, "    ")
	return mermaid("stateDiagram-v2", b.String())
}

func box(s lifecycle.Status, inside bool) string {
	if inside {
		return "reached"
	}
	return string(s)
}

// steps are the statuses that a contact can have reached, in the order of the axis.
func steps() []lifecycle.Status {
	contacts := contactStates()
	return slices.DeleteFunc(lifecycle.Statuses(lifecycle.AxisContact), func(s lifecycle.Status) bool {
		return !slices.ContainsFunc(contacts, func(c lifecycle.ContactState) bool { return c.Reached == s })
	})
}

// between reports whether one of the steps lies between two, from which the event leads to the second as
// well. Equals, which lead to each other, are not between.
func between(r axisRules, steps []lifecycle.Status, from, to lifecycle.Status, e lifecycle.Event) bool {
	leads := func(a, b lifecycle.Status) bool {
		return slices.ContainsFunc(r.events(), func(e lifecycle.Event) bool {
			return slices.Contains(r.outcome(a, e).to, b)
		})
	}
	return slices.ContainsFunc(steps, func(s lifecycle.Status) bool {
		return s != from && s != to && leads(from, s) && !leads(s, from) && !leads(to, s) && slices.Contains(r.outcome(s, e).to, to)
	})
}

// messageDiagram draws the lattice: an arrow to every state of the next rank.
func messageDiagram() string {
	var b strings.Builder
	groups := ranks()
	for i, low := range groups[:len(groups)-1] {
		var from, to []string
		for _, s := range low {
			from = append(from, string(s))
		}
		for _, s := range groups[i+1] {
			to = append(to, string(s))
		}
		b.WriteString("    " + strings.Join(from, " & ") + " --> " + strings.Join(to, " & ") + "\n")
	}
	return mermaid("flowchart LR", b.String())
}
