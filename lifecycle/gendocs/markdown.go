package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"onward/lifecycle"
)

//go:embed prose.md
var prose string

// document is the whole of docs/lifecycle.md: the prose, with what the rules say in the place of each
// {{name}}.
func document() string {
	replace := []string{
		"{{marks}}", marksTable(),
		"{{contact diagram}}", contactDiagram(),
		"{{message diagram}}", messageDiagram(),
		"{{message table}}", messageTable(),
	}
	for _, axis := range lifecycle.Axes() {
		replace = append(replace,
			"{{"+string(axis)+" table}}", statusTable(businessRules(axis)),
			"{{"+string(axis)+" diagram}}", diagram(businessRules(axis)))
	}
	for _, axis := range []lifecycle.Axis{lifecycle.AxisSite, lifecycle.AxisSiteSubscription} {
		replace = append(replace,
			"{{"+string(axis)+" table}}", statusTable(siteRules(axis)),
			"{{"+string(axis)+" diagram}}", diagram(siteRules(axis)))
	}
	return strings.NewReplacer(replace...).Replace(prose)
}

// row writes one line of a table.
func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func header(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
}

func code[S ~string](s S) string { return "`" + string(s) + "`" }

// statusTable has an event in each row and a status in each column.
func statusTable(r axisRules) string {
	var b strings.Builder
	cells := []string{"event"}
	for _, s := range r.statuses() {
		cells = append(cells, "at "+code(s))
	}
	header(&b, cells...)
	for _, e := range r.events() {
		cells := []string{code(e)}
		for _, s := range r.statuses() {
			cells = append(cells, cell(s, r.outcome(s, e)))
		}
		row(&b, cells...)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cell says what an event does at a status: where to, or why not.
func cell(s lifecycle.Status, o outcome) string {
	if !o.speaks {
		return ""
	}
	if o.still(s) {
		var words []string
		for _, v := range o.verdicts {
			words = append(words, map[lifecycle.Verdict]string{lifecycle.NoChange: "–", lifecycle.Blocked: "blocked"}[v])
		}
		return strings.Join(words, " or ")
	}
	var to []string
	for _, s := range o.to {
		to = append(to, code(s))
	}
	return "→ " + strings.Join(to, ", ")
}

// marksTable says what each event does beneath contact_status.
func marksTable() string {
	var b strings.Builder
	contacts := contactStates()
	header(&b, "event", "`reached`", "`bounced`", "`purchased`", "`opted_out`")
	for _, e := range businessRules(lifecycle.AxisContact).events() {
		row(
			&b, code(e), reachedMark(e),
			flagMark(contacts, e, func(c lifecycle.ContactState) bool { return c.Bounced }),
			flagMark(contacts, e, func(c lifecycle.ContactState) bool { return c.Purchased }),
			flagMark(contacts, e, func(c lifecycle.ContactState) bool { return c.OptedOut }),
		)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func after(c lifecycle.ContactState, e lifecycle.Event) lifecycle.ContactState {
	state := lifecycle.Initial()
	state.Contact = c
	state, _ = lifecycle.Transition(state, e)
	return state.Contact
}

// reachedMark says how far an event raises the contact, and whether it takes the place of an equal: a step
// that leads to this one and back.
func reachedMark(e lifecycle.Event) string {
	first := lifecycle.Initial().Contact.Reached
	to := after(lifecycle.Initial().Contact, e).Reached
	if to == first {
		return ""
	}
	text := "at least " + code(to)
	for _, s := range steps() {
		if s == to || after(lifecycle.ContactState{Reached: s}, e).Reached != to {
			continue
		}
		if slices.ContainsFunc(lifecycle.Events(), func(back lifecycle.Event) bool {
			return after(lifecycle.ContactState{Reached: to}, back).Reached == s
		}) {
			text += ", in the place of " + code(s)
		}
	}
	return text
}

// flagMark says whether an event sets or clears a flag, whatever it was.
func flagMark(contacts []lifecycle.ContactState, e lifecycle.Event, flag func(lifecycle.ContactState) bool) string {
	var sets, clears bool
	for _, c := range contacts {
		now := after(c, e)
		sets = sets || !flag(c) && flag(now)
		clears = clears || flag(c) && !flag(now)
	}
	switch {
	case sets:
		return "set"
	case clears:
		return "cleared"
	}
	return ""
}

// messageTable lists the ranks of the lattice.
func messageTable() string {
	var b strings.Builder
	header(&b, "rank", "states", "final")
	for _, rank := range ranks() {
		var states []string
		for _, s := range rank {
			states = append(states, code(s))
		}
		final := ""
		if rank[0].Final() {
			final = "yes"
		}
		row(&b, fmt.Sprint(rank[0].Rank()), strings.Join(states, ", "), final)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ranks groups the message states, lowest first.
func ranks() [][]lifecycle.MessageState {
	var groups [][]lifecycle.MessageState
	for _, s := range lifecycle.MessageStates() {
		if n := len(groups); n > 0 && groups[n-1][0].Rank() == s.Rank() {
			groups[n-1] = append(groups[n-1], s)
		} else {
			groups = append(groups, []lifecycle.MessageState{s})
		}
	}
	slices.SortStableFunc(groups, func(a, b []lifecycle.MessageState) int { return a[0].Rank() - b[0].Rank() })
	return groups
}
