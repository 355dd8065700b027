package crmapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle/pgstore"
)

type moveBulkInput struct {
	PathID
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why: kept in the operators' log"`
	}
}

func (in *moveBulkInput) reason() (string, error) {
	reason := strings.TrimSpace(in.Body.Reason)
	if reason == "" {
		return "", invalid("body.reason", "is empty: it goes to the operators' log")
	}
	return reason, nil
}

func (a *API) cancelBulk(ctx context.Context, in *moveBulkInput) (*answer[BulkAction], error) {
	reason, err := in.reason()
	if err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[BulkAction], error) {
		b, err := bulkAction(ctx, u, in.ID, true)
		if err != nil {
			return nil, err
		}
		switch {
		case b.Kind == pgstore.BulkCampaign:
			return nil, huma.Error409Conflict("the campaign is started: undo cancels it")
		case b.State != pgstore.BulkRunning:
			return nil, huma.Error409Conflict("the bulk action is " + b.State + ": only one that is running can be cancelled")
		}
		if err := pgstore.CancelBulk(ctx, u, b.ID); err != nil {
			return nil, err
		}
		if _, err := u.record(ctx, "bulk.cancel", targetBulk, in.ID.String(), reason, nil); err != nil {
			return nil, err
		}
		return a.answerBulk(ctx, u, in.ID)
	})
}

func (a *API) undoBulk(ctx context.Context, in *moveBulkInput) (*answer[BulkAction], error) {
	reason, err := in.reason()
	if err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[BulkAction], error) {
		b, err := bulkAction(ctx, u, in.ID, true)
		if err != nil {
			return nil, err
		}
		if why := u.cannotUndo(b); why != "" {
			return nil, huma.Error409Conflict(why)
		}
		if b.Kind == pgstore.BulkCampaign {
			return a.undoCampaign(ctx, u, b, reason)
		}
		undo := pgstore.NewBulk{Kind: pgstore.BulkUntag, Tag: b.Tag, Reason: reason, UndoOf: b.ID}
		if b.Kind == pgstore.BulkUntag {
			undo.Kind = pgstore.BulkTag
		}
		id, err := a.createBulk(ctx, u, undo, nil)
		if err != nil {
			return nil, err
		}
		// Of a month ago nobody knows any more to whom something was done.
		made, err := bulkAction(ctx, u, id, false)
		if err != nil {
			return nil, err
		}
		if made.Total < b.Done {
			return nil, huma.Error409Conflict("whom it was about is kept for 30 days after its end: it cannot be undone any more")
		}
		return a.answerBulk(ctx, u, id)
	})
}

// cannotUndo says why an action is not to be undone; "" when it can be.
func (u *unit) cannotUndo(b pgstore.Bulk) string {
	switch {
	case b.Kind == pgstore.BulkOptOut:
		return "an opt-out is not undone in bulk: facts stay, and each who may be written to again is reopened alone, by the event " +
			"operator_reopened with a note, and by lifting the suppressions of its addresses"
	case b.UndoneBy != nil:
		return "it was undone before, by the bulk action " + b.UndoneBy.String()
	case b.State == pgstore.BulkRunning:
		return "it is running: cancel it first"
	}
	return ""
}

// undoCampaign cancels the campaign that a bulk action started.
func (a *API) undoCampaign(ctx context.Context, u *unit, b pgstore.Bulk, reason string) (*answer[BulkAction], error) {
	c, err := u.lockCampaign(ctx, *b.Campaign)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{campaignScheduled, campaignSending, campaignPaused}, c.status) {
		return nil, huma.Error409Conflict(fmt.Sprintf("the campaign is %s: what went out is out", c.status))
	}
	if err := u.moveCampaign(ctx, "cancel", c, reason, a.opts.Clock()); err != nil {
		return nil, err
	}
	for _, r := range []struct{ action, target, id string }{
		{"campaign.cancel", targetCampaign, b.Campaign.String()},
		{"bulk.undo", targetBulk, b.PublicID.String()},
	} {
		if _, err := u.record(ctx, r.action, r.target, r.id, reason, nil); err != nil {
			return nil, err
		}
	}
	return a.answerBulk(ctx, u, b.PublicID)
}
