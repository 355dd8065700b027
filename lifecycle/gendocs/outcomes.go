package main

import (
	"slices"

	"onward/lifecycle"
)

// outcome is what an event may do to an axis that shows some status. Where the status hides more than one
// state (a contact's marks), the outcomes of all of them are in it.
type outcome struct {
	speaks   bool                // the event speaks of the axis
	to       []lifecycle.Status  // in the order of the axis
	verdicts []lifecycle.Verdict // without repeats, in their order
}

// still reports that the status stays, whatever lies beneath.
func (o outcome) still(s lifecycle.Status) bool { return len(o.to) == 1 && o.to[0] == s }

// axisRules are the answers of the rules of one axis, asked once.
type axisRules struct {
	axis    lifecycle.Axis
	answers map[lifecycle.Status]map[lifecycle.Event]outcome
}

// askAll puts every event to every status. Ask returns what an event does in every state that shows a status.
func askAll(axis lifecycle.Axis, ask func(lifecycle.Status, lifecycle.Event) []lifecycle.Change) axisRules {
	r := axisRules{axis: axis, answers: make(map[lifecycle.Status]map[lifecycle.Event]outcome)}
	for _, s := range r.statuses() {
		r.answers[s] = make(map[lifecycle.Event]outcome)
		for _, e := range lifecycle.Events() {
			r.answers[s][e] = r.sum(ask(s, e))
		}
	}
	return r
}

func (r axisRules) statuses() []lifecycle.Status { return lifecycle.Statuses(r.axis) }

// events lists those that speak of the axis.
func (r axisRules) events() []lifecycle.Event {
	var list []lifecycle.Event
	for _, e := range lifecycle.Events() {
		if slices.ContainsFunc(r.statuses(), func(s lifecycle.Status) bool { return r.outcome(s, e).speaks }) {
			list = append(list, e)
		}
	}
	return list
}

func (r axisRules) outcome(s lifecycle.Status, e lifecycle.Event) outcome { return r.answers[s][e] }

// sum puts together what an event does in several states that show the same status.
func (r axisRules) sum(changes []lifecycle.Change) outcome {
	var o outcome
	for _, c := range changes {
		o.speaks = true
		if !slices.Contains(o.to, c.To) {
			o.to = append(o.to, c.To)
		}
		if !slices.Contains(o.verdicts, c.Verdict) {
			o.verdicts = append(o.verdicts, c.Verdict)
		}
	}
	slices.SortFunc(o.to, func(a, b lifecycle.Status) int {
		return slices.Index(r.statuses(), a) - slices.Index(r.statuses(), b)
	})
	slices.SortFunc(o.verdicts, func(a, b lifecycle.Verdict) int {
		return slices.Index(lifecycle.Verdicts(), a) - slices.Index(lifecycle.Verdicts(), b)
	})
	return o
}

// businessRules are those of an axis of a business.
func businessRules(axis lifecycle.Axis) axisRules {
	contacts := contactStates()
	return askAll(axis, func(s lifecycle.Status, e lifecycle.Event) []lifecycle.Change {
		var all []lifecycle.Change
		for _, state := range statesShowing(axis, s, contacts) {
			_, changes := lifecycle.Transition(state, e)
			for _, c := range changes {
				if c.Axis == axis {
					all = append(all, c)
				}
			}
		}
		return all
	})
}

// siteRules are those of an axis of a site. The rules tell changes alone, so an event that changes nothing
// at one status and something at another is told as no change.
func siteRules(axis lifecycle.Axis) axisRules {
	ask := func(s lifecycle.Status, e lifecycle.Event) []lifecycle.Change {
		state := lifecycle.InitialSite()
		if axis == lifecycle.AxisSite {
			state.Status = s
		} else {
			state.Subscription = s
		}
		_, changes := lifecycle.TransitionSite(state, e)
		return slices.DeleteFunc(changes, func(c lifecycle.Change) bool { return c.Axis != axis })
	}
	return askAll(axis, func(s lifecycle.Status, e lifecycle.Event) []lifecycle.Change {
		if changes := ask(s, e); len(changes) > 0 {
			return changes
		}
		for _, other := range lifecycle.Statuses(axis) {
			if len(ask(other, e)) > 0 {
				return []lifecycle.Change{{Axis: axis, From: s, To: s, Verdict: lifecycle.NoChange}}
			}
		}
		return nil
	})
}

// statesShowing lists every state of a business that shows a status on an axis, the other axes where they begin.
func statesShowing(axis lifecycle.Axis, s lifecycle.Status, contacts []lifecycle.ContactState) []lifecycle.State {
	state := lifecycle.Initial()
	switch axis {
	case lifecycle.AxisContact:
		var states []lifecycle.State
		for _, c := range contacts {
			if c.Status() == s {
				state.Contact = c
				states = append(states, state)
			}
		}
		return states
	case lifecycle.AxisWebsite:
		state.Website = s
	case lifecycle.AxisSubscription:
		state.Subscription = s
	case lifecycle.AxisTicket:
		state.Ticket = s
	}
	return []lifecycle.State{state}
}

// contactStates finds every state of a contact by going from the first one through every event.
func contactStates() []lifecycle.ContactState {
	found := []lifecycle.ContactState{lifecycle.Initial().Contact}
	for i := 0; i < len(found); i++ {
		for _, e := range lifecycle.Events() {
			state := lifecycle.Initial()
			state.Contact = found[i]
			state, _ = lifecycle.Transition(state, e)
			if !slices.Contains(found, state.Contact) {
				found = append(found, state.Contact)
			}
		}
	}
	return found
}
