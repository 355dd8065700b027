package jobs

import "github.com/riverqueue/river"

// Kinds lists every kind of job.
func Kinds() []string {
	var kinds []string
	for _, args := range []river.JobArgs{
		ReplyArgs{},
		UnsubscribeArgs{},
		StatusCallbackArgs{},
		EmailEventArgs{},
		TrackArgs{},
		PurchaseArgs{},
		SubscriptionArgs{},
		CancellationArgs{},
		ChargeFailedArgs{},
		RefundArgs{},
		SendArgs{},
		FanOutArgs{},
		CampaignHaltArgs{},
		BulkArgs{},
		ReconcileArgs{},
		PollMessagesArgs{},
		VerifySampleArgs{},
		PartitionsArgs{},
		AnalyticsArgs{},
		TidyArgs{},
	} {
		kinds = append(kinds, args.Kind())
	}
	return kinds
}
