package lifecycle_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

func siteTables() map[lifecycle.Axis]table {
	subscription := subscriptionTable()
	return map[lifecycle.Axis]table{
		lifecycle.AxisSite: {
			events: []lifecycle.Event{lifecycle.GenerationCompleted, lifecycle.SiteDeployed, lifecycle.PurchaseCompleted},
			rows: map[lifecycle.Status]string{
				"draft":     "generated+ deployed+ owned+",
				"generated": "generated= deployed+ owned+",
				"deployed":  "deployed=  deployed= owned+",
				"owned":     "owned=     owned=    owned=",
			},
		},
		lifecycle.AxisSiteSubscription: subscription,
	}
}

// TestEverySiteStatusAndEvent: of a site changes alone are told, so the verdict in the tables that is not
// applied means that there is none.
func TestEverySiteStatusAndEvent(t *testing.T) {
	t.Parallel()
	for _, status := range lifecycle.Statuses(lifecycle.AxisSite) {
		for _, subscription := range lifecycle.Statuses(lifecycle.AxisSiteSubscription) {
			for _, event := range lifecycle.Events() {
				before := lifecycle.SiteState{Status: status, Subscription: subscription}
				want := before
				var changes []lifecycle.Change
				for _, axis := range []lifecycle.Axis{lifecycle.AxisSite, lifecycle.AxisSiteSubscription} {
					tb := siteTables()[axis]
					column := indexOf(tb.events, event)
					if column < 0 {
						continue
					}
					field := &want.Status
					if axis == lifecycle.AxisSiteSubscription {
						field = &want.Subscription
					}
					to, verdict := tb.cell(t, *field, column)
					if verdict == lifecycle.Applied {
						changes = append(changes, lifecycle.Change{Axis: axis, From: *field, To: to, Verdict: lifecycle.Applied})
						*field = to
					}
				}
				after, got := lifecycle.TransitionSite(before, event)
				require.Equal(t, want, after, "%s at %+v", event, before)
				require.Equal(t, changes, got, "%s at %+v", event, before)
			}
		}
	}
}

func TestSiteChanges(t *testing.T) {
	t.Parallel()
	before := lifecycle.SiteState{Status: lifecycle.Deployed, Subscription: lifecycle.None}
	after := lifecycle.SiteState{Status: lifecycle.Owned, Subscription: lifecycle.Active}
	require.Empty(t, lifecycle.SiteChanges(before, before, lifecycle.Applied))
	require.Equal(t, []lifecycle.Change{
		{Axis: lifecycle.AxisSite, From: lifecycle.Deployed, To: lifecycle.Owned, Verdict: lifecycle.Corrected},
		{Axis: lifecycle.AxisSiteSubscription, From: lifecycle.None, To: lifecycle.Active, Verdict: lifecycle.Corrected},
	}, lifecycle.SiteChanges(before, after, lifecycle.Corrected))
}
