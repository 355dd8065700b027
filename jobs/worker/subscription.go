package worker

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workSubscription(ctx context.Context, job *river.Job[jobs.SubscriptionArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.subscription)
}

// subscriptionEvent maps Recurrente's names, with the spellings that were seen, to ours; false for those that
// say nothing about the status (subscription.update) and those to come.
func subscriptionEvent(kind string) (lifecycle.Event, bool) {
	switch kind {
	case "subscription.create", "subscription.created":
		return lifecycle.SubscriptionActivated, true
	case "subscription.unpause", "subscription.unpaused", "subscription.reactivate", "subscription.reactivated":
		return lifecycle.SubscriptionReactivated, true
	case "subscription.past_due":
		return lifecycle.SubscriptionPastDue, true
	case "subscription.pause", "subscription.paused":
		return lifecycle.SubscriptionPaused, true
	case "subscription.cancel", "subscription.cancelled", "subscription.canceled":
		return lifecycle.SubscriptionCancelled, true
	}
	return "", false
}

func (a *applier) subscription(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	e, err := parseRecurrente(r.Body)
	if err != nil {
		return failed("the body is not a Recurrente delivery"), nil
	}
	event, ok := subscriptionEvent(r.Kind)
	if !ok {
		return ignored("the event says nothing about the status"), nil
	}
	return a.subscriptionChange(ctx, tx, r, e, event)
}

// subscriptionChange applies an event of a subscription to its site and business. The same change that is
// delivered under two ids counts once: the key is made of what the event says.
func (a *applier) subscriptionChange(ctx context.Context, tx pgx.Tx, r receipt, e recurrenteEvent, event lifecycle.Event) (result, error) {
	if a.RecurrenteLive && e.sandbox() {
		return ignored("sandbox delivery in live mode"), nil
	}
	id := cleanKey(e.subscriptionID())
	if id == "" {
		return failed("the event names no subscription"), nil
	}
	s, missing, err := findSite(ctx, tx, e)
	if err != nil {
		return result{}, err
	}
	if s.id == 0 {
		return unmatched(missing), nil
	}
	said := cleanKey(e.CreatedAt)
	if said == "" {
		said = r.DedupeKey
	}
	applied, err := pgstore.Apply(ctx, tx, []pgstore.Fact{billingFact(s, r, pgstore.Fact{
		Event: event, OccurredAt: e.at(r.ReceivedAt), Key: "sub:" + id + ":" + string(event) + ":" + said,
	})})
	if err != nil {
		return result{}, err
	}
	res := of(applied)
	res.wake, err = linkSubscription(ctx, tx, s, id)
	return res, err
}
