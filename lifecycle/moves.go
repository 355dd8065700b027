package lifecycle

import (
	"slices"
	"sync"
)

// Move is a way from one status of an axis to another, and the events that may take it.
type Move struct {
	From, To Status
	Events   []Event
}

// Moves lists every way there is on an axis of a business. It asks the rules themselves: each event is put to every state
// that shows a status. The order is that of the statuses.
func Moves(a Axis) []Move {
	var list []Move
	for _, from := range Statuses(a) {
		for _, e := range Events() {
			for _, s := range statesThatShow(a, from) {
				after, _ := Transition(s, e)
				to := after.Status(a)
				if to == from {
					continue
				}
				i := slices.IndexFunc(list, func(m Move) bool { return m.From == from && m.To == to })
				if i < 0 {
					i, list = len(list), append(list, Move{From: from, To: to})
				}
				if !slices.Contains(list[i].Events, e) {
					list[i].Events = append(list[i].Events, e)
				}
			}
		}
	}
	return list
}

// statesThatShow lists the states of a business that show a status on an axis; on the others they are where they begin.
func statesThatShow(a Axis, status Status) []State {
	s := Initial()
	switch a {
	case AxisContact:
		var list []State
		for _, c := range reachableContacts() {
			if c.Status() == status {
				s.Contact = c
				list = append(list, s)
			}
		}
		return list
	case AxisWebsite:
		s.Website = status
	case AxisSubscription:
		s.Subscription = status
	case AxisTicket:
		s.Ticket = status
	default:
		return nil
	}
	return []State{s}
}

// reachableContacts finds every state of a contact by going from the first one through every event. That takes milliseconds.
var reachableContacts = sync.OnceValue(func() []ContactState { //nolint:gochecknoglobals // found once, never changed
	found := []ContactState{Initial().Contact}
	for i := 0; i < len(found); i++ {
		for _, e := range Events() {
			s := Initial()
			s.Contact = found[i]
			if s, _ = Transition(s, e); !slices.Contains(found, s.Contact) {
				found = append(found, s.Contact)
			}
		}
	}
	return found
})
