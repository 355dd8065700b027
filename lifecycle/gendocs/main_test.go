package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

// TestTheDocumentIsUpToDate fails when the rules or the prose changed and docs/lifecycle.md did not.
func TestTheDocumentIsUpToDate(t *testing.T) {
	t.Parallel()
	written, err := os.ReadFile("../../docs/lifecycle.md")
	require.NoError(t, err)
	require.True(t, document() == string(written), "docs/lifecycle.md is out of date: run go generate ./lifecycle")
}

func TestTheDocumentIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	first := document()
	for range 5 {
		require.Equal(t, first, document())
	}
}

func TestNoPlaceholderIsLeft(t *testing.T) {
	t.Parallel()
	require.NotRegexp(t, regexp.MustCompile(`\{\{|\}\}`), document())
}

// TestEverythingIsNamed: every event, status and message state stands in the document.
func TestEverythingIsNamed(t *testing.T) {
	t.Parallel()
	doc := document()
	for _, e := range lifecycle.Events() {
		require.Contains(t, doc, code(e))
	}
	for _, axis := range append(lifecycle.Axes(), lifecycle.AxisSite, lifecycle.AxisSiteSubscription) {
		for _, s := range lifecycle.Statuses(axis) {
			require.Contains(t, doc, "at "+code(s))
		}
	}
	for _, s := range lifecycle.MessageStates() {
		require.Contains(t, doc, code(s))
	}
	for _, v := range lifecycle.Verdicts() {
		require.Contains(t, doc, code(v))
	}
}

func TestSomeCellsThatThePromisesRestOn(t *testing.T) {
	t.Parallel()
	contact := businessRules(lifecycle.AxisContact)
	require.Equal(t, "→ `unsubscribed`", cell(lifecycle.Purchased, contact.outcome(lifecycle.Purchased, lifecycle.OptedOut)))
	require.Equal(t, "– or blocked", cell(lifecycle.Unsubscribed, contact.outcome(lifecycle.Unsubscribed, lifecycle.PurchaseCompleted)))
	require.Equal(t, "–", cell(lifecycle.Unsubscribed, contact.outcome(lifecycle.Unsubscribed, lifecycle.OptedIn)))
	require.Equal(t, "→ `pending`, `emailed`, `sms_sent`, `opened`, `clicked`, `replied`, `purchased`",
		cell(lifecycle.Unsubscribed, contact.outcome(lifecycle.Unsubscribed, lifecycle.OperatorReopened)))
	require.Empty(t, cell(lifecycle.Pending, contact.outcome(lifecycle.Pending, lifecycle.TicketOpened)), "of another axis")
	require.Equal(t, 1, strings.Count(marksTable(), "in the place of `emailed`"), "sms_sent, and not sms_delivered")
}
