package lifecycle

import (
	"slices"
	"strings"
	"time"
)

// Fact is an event that was recorded: what the fold sees of it.
type Fact struct {
	Event      Event
	OccurredAt time.Time
	Key        string // unique; the tie-break among facts of one instant
}

// Compare orders facts by (OccurredAt, Key). The key, not the order of insertion, breaks ties: so the
// order of the fold is a property of the facts, whatever order they arrived in.
func Compare(a, b Fact) int {
	if c := a.OccurredAt.Compare(b.OccurredAt); c != 0 {
		return c
	}
	return strings.Compare(a.Key, b.Key)
}

// Fold applies facts, in the order in which they occurred, to the initial state. The slice is left as
// it was; of a key that comes twice the earlier fact counts.
func Fold(facts []Fact) State {
	s := Initial()
	each(facts, func(e Event) { s, _ = Transition(s, e) })
	return s
}

// FoldSite is [Fold] for the facts that name one site.
func FoldSite(facts []Fact) SiteState {
	s := InitialSite()
	each(facts, func(e Event) { s, _ = TransitionSite(s, e) })
	return s
}

func each(facts []Fact, apply func(Event)) {
	sorted := slices.Clone(facts)
	slices.SortFunc(sorted, Compare)
	seen := make(map[string]struct{}, len(sorted))
	for _, f := range sorted {
		if _, ok := seen[f.Key]; ok {
			continue
		}
		seen[f.Key] = struct{}{}
		apply(f.Event)
	}
}
