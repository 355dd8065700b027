// Package lifecycle holds the rules by which a lead moves: statuses, events, [Transition] and [Fold].
// It is pure: standard library only, no I/O, no clock. Every status that Onward shows is the fold of
// recorded facts under these rules; lifecycle/pgstore stores them.
//
// The rules are built so that arrival order cannot lose anything: the contact's state is a handful of
// independent marks beneath the status shown, and facts are folded in the order in which they occurred.
package lifecycle
