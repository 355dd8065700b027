package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// BulkAction is an action on all businesses that matched at one moment, and how far it is.
type BulkAction struct {
	ID         *uuid.UUID       `json:"id" format:"uuid" nullable:"true" doc:"null with dry_run"`
	Action     string           `json:"action" enum:"opt_out,tag,untag,start_campaign"`
	Tag        *string          `json:"tag"`
	CampaignID *uuid.UUID       `json:"campaign_id" format:"uuid" nullable:"true" doc:"The campaign that it started"`
	State      string           `json:"state" enum:"dry_run,running,done,cancelled"`
	Total      int64            `json:"total" doc:"How many businesses it is about"`
	Done       int64            `json:"done" doc:"To how many something was done; of a campaign: how many messages there are"`
	Skipped    map[string]int64 `json:"skipped" doc:"To how many nothing was done, by reason: erased, already, absent, full; of a campaign its own reasons"`
	Filter     *filterBody      `json:"filter,omitempty"`
	Reason     string           `json:"reason"`
	Actor      string           `json:"actor"`
	UndoOf     *uuid.UUID       `json:"undo_of" format:"uuid" nullable:"true"`
	UndoneBy   *uuid.UUID       `json:"undone_by" format:"uuid" nullable:"true"`
	CreatedAt  *time.Time       `json:"created_at" doc:"When its businesses were taken down"`
	FinishedAt *time.Time       `json:"finished_at"`
	Sample     []Business       `json:"sample,omitzero" doc:"With dry_run: the first 10"`
}

// stateDryRun is that of what was only asked about.
const stateDryRun = "dry_run"

// bulkSample is how many businesses a dry run shows.
const bulkSample = 10

// viewBulk shows a bulk action; one that started a campaign shows how far that is.
func (a *API) viewBulk(ctx context.Context, q pgstore.Querier, b pgstore.Bulk) (BulkAction, error) {
	out := BulkAction{
		ID: &b.PublicID, Action: string(b.Kind), Tag: orNull(b.Tag), CampaignID: b.Campaign, State: b.State, Total: b.Total, Done: b.Done,
		Skipped: map[string]int64{}, Reason: b.Reason, Actor: b.Actor, UndoOf: b.UndoOf, UndoneBy: b.UndoneBy, CreatedAt: utc(&b.CreatedAt),
		FinishedAt: utc(b.FinishedAt),
	}
	var selection pgstore.Audience
	if err := json.Unmarshal(b.Selection, &selection); err != nil {
		return out, fmt.Errorf("read a selection: %w", err)
	}
	if selection.Filter != nil {
		out.Filter = viewFilter(*selection.Filter)
	}
	if b.Campaign == nil {
		for _, why := range pgstore.BulkSkips() {
			out.Skipped[why] = b.Skipped[why]
		}
		return out, nil
	}
	c, err := a.campaign(ctx, q, *b.Campaign)
	if err != nil {
		return out, err
	}
	out.Total, out.Done, out.Skipped = orZero(c.Recipients), c.Total, c.Skipped
	switch c.Status {
	case campaignSent:
		out.State, out.FinishedAt = pgstore.BulkDone, c.FinishedAt
	case campaignCancelled:
		out.State, out.FinishedAt = pgstore.BulkCancelled, c.FinishedAt
	default:
		out.State, out.FinishedAt = pgstore.BulkRunning, nil
	}
	return out, nil
}

const targetBulk = "bulk"

func (a *API) registerBulk(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/businesses/bulk", id: "startBulk", tag: tagBusinesses, status: http.StatusAccepted, also: http.StatusOK,
		summary: "Do something to all businesses that match",
		description: "opt_out; tag and untag, with tag; start_campaign, with campaign. Whom it is about is taken down before the answer, which is 202: " +
			"who matches later is not in it. At most 1000000. With dry_run nothing happens: 200 with the count and the first 10. " +
			"From the moment that a business is done, no send to one that was opted out starts.",
	}, a.startBulk)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/businesses/bulk", id: "listBulk", tag: tagBusinesses, summary: "List bulk actions, newest first",
	}, a.listBulk)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/businesses/bulk/{id}", id: "getBulk", tag: tagBusinesses, summary: "How far a bulk action is",
	}, a.getBulk)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/businesses/bulk/{id}/cancel", id: "cancelBulk", tag: tagBusinesses, status: http.StatusAccepted,
		summary: "Stop a bulk action that is running", description: "What is done stays done. 409 once it is over.",
	}, a.cancelBulk)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/businesses/bulk/{id}/undo", id: "undoBulk", tag: tagBusinesses, status: http.StatusAccepted,
		summary: "Take a bulk action back, as far as that is possible",
		description: "Of tag and untag: a bulk action of its own on those to whom it did something, for 30 days. Of start_campaign: the campaign is " +
			"cancelled; what went out is out. 409 for opt_out, while it is running, and the second time.",
	}, a.undoBulk)
}

type bulkCampaign struct {
	Name      string     `json:"name" minLength:"1" maxLength:"200"`
	Channel   string     `json:"channel" enum:"sms,email"`
	Subject   *string    `json:"subject,omitempty" nullable:"true" maxLength:"500"`
	Body      string     `json:"body" minLength:"1"`
	SendAt    *time.Time `json:"send_at,omitempty" nullable:"true"`
	PerSecond *float64   `json:"per_second,omitempty" nullable:"true" exclusiveMinimum:"0" maximum:"10000"`
}

type startBulkInput struct {
	Body struct {
		Action      string        `json:"action" enum:"opt_out,tag,untag,start_campaign"`
		Filter      *filterBody   `json:"filter,omitempty" doc:"As in the list of businesses; {} is everyone"`
		BusinessIDs []uuid.UUID   `json:"business_ids,omitempty" format:"uuid" maxItems:"20000" nullable:"false" doc:"Instead of a filter"`
		Tag         *string       `json:"tag,omitempty" maxLength:"200" doc:"Of tag and untag"`
		Campaign    *bulkCampaign `json:"campaign,omitempty" doc:"Of start_campaign: as in POST /campaigns, without an audience"`
		DryRun      bool          `json:"dry_run,omitempty"`
		Reason      string        `json:"reason,omitempty" maxLength:"2000" doc:"Why: kept in the operators' log, and with each opt-out. Needed unless dry_run"`
	}
}

func (a *API) startBulk(ctx context.Context, in *startBulkInput) (*answer[BulkAction], error) {
	b := in.Body
	bulk := pgstore.NewBulk{Kind: pgstore.BulkKind(b.Action), Reason: strings.TrimSpace(b.Reason)}
	if bulk.Reason == "" && !b.DryRun {
		return nil, invalid("body.reason", "is missing: it goes to the operators' log")
	}
	var err error
	if bulk.Tag, err = in.tag(); err != nil {
		return nil, err
	}
	var campaign *createCampaignInput
	if campaign, err = in.campaign(); err != nil {
		return nil, err
	}
	if bulk.Selection, err = in.selection(); err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[BulkAction], error) {
		if err := u.knowBusinesses(ctx, bulk.Selection.BusinessIDs, "body.business_ids"); err != nil {
			return nil, err
		}
		if b.DryRun {
			return u.dryBulk(ctx, bulk)
		}
		id, err := a.createBulk(ctx, u, bulk, campaign)
		if errors.Is(err, pgstore.ErrBulkTooMany) {
			return nil, invalid("body.filter", err.Error()+": narrow it down")
		}
		if err != nil {
			return nil, err
		}
		return a.answerBulk(ctx, u, id)
	})
}

// tag is the tag that an action needs.
func (in *startBulkInput) tag() (string, error) {
	needs := in.Body.Action == string(pgstore.BulkTag) || in.Body.Action == string(pgstore.BulkUntag)
	switch {
	case !needs && in.Body.Tag != nil:
		return "", invalid("body.tag", "is for tag and untag")
	case !needs:
		return "", nil
	case in.Body.Tag == nil:
		return "", invalid("body.tag", "is missing")
	}
	tag, err := pgstore.NormalizeTag(*in.Body.Tag)
	if err != nil {
		return "", invalid("body.tag", err.Error())
	}
	return tag, nil
}

// campaign is the campaign that an action starts, checked; nil for others.
func (in *startBulkInput) campaign() (*createCampaignInput, error) {
	c := in.Body.Campaign
	switch needs := in.Body.Action == string(pgstore.BulkCampaign); {
	case !needs && c != nil:
		return nil, invalid("body.campaign", "is for start_campaign")
	case !needs:
		return nil, nil // no campaign is no error
	case c == nil:
		return nil, invalid("body.campaign", "is missing")
	}
	out := &createCampaignInput{}
	out.Body.Name, out.Body.Channel, out.Body.Subject, out.Body.Body = strings.TrimSpace(c.Name), c.Channel, c.Subject, c.Body
	out.Body.SendAt, out.Body.PerSecond = c.SendAt, c.PerSecond
	if out.Body.Name == "" {
		return nil, invalid("body.campaign.name", "is empty")
	}
	err := checkTexts(c.Channel, orZero(c.Subject), c.Body)
	if fields, ok := errors.AsType[pgstore.FieldErrors](err); ok {
		for i := range fields {
			fields[i].Field = "campaign." + fields[i].Field
		}
	}
	return out, err
}

// selection is whom an action is about.
func (in *startBulkInput) selection() (pgstore.Audience, error) {
	b := in.Body
	switch {
	case b.Filter != nil && len(b.BusinessIDs) > 0:
		return pgstore.Audience{}, invalid("body.business_ids", "and filter exclude each other: give one of them")
	case b.Filter != nil:
		f, err := b.Filter.filter("body.filter.")
		return pgstore.Audience{Filter: &f}, err
	case len(b.BusinessIDs) > 0:
		return pgstore.Audience{BusinessIDs: b.BusinessIDs}, nil
	}
	return pgstore.Audience{}, invalid("body.filter", "is missing: give it ({} is everyone), or business_ids")
}

func (u *unit) dryBulk(ctx context.Context, bulk pgstore.NewBulk) (*answer[BulkAction], error) {
	n, sample, err := pgstore.CountSelection(ctx, u, bulk.Selection, bulkSample)
	if err != nil {
		return nil, err
	}
	out := BulkAction{
		Action: string(bulk.Kind), Tag: orNull(bulk.Tag), State: stateDryRun, Total: n, Skipped: map[string]int64{}, Reason: bulk.Reason,
		Actor: u.actor.Name, Sample: make([]Business, 0, len(sample)),
	}
	for _, b := range sample {
		out.Sample = append(out.Sample, viewBusiness(b))
	}
	return &answer[BulkAction]{Status: http.StatusOK, Body: out}, nil
}

// createBulk stores an action with whom it is about, and enqueues the job that goes on with it; a campaign goes on by
// itself.
func (a *API) createBulk(ctx context.Context, u *unit, bulk pgstore.NewBulk, campaign *createCampaignInput) (uuid.UUID, error) {
	details := map[string]any{}
	if bulk.Tag != "" {
		details["tag"] = bulk.Tag
	}
	if campaign != nil {
		public, id, err := u.startCampaign(ctx, campaign, bulk, a.opts.Clock())
		if err != nil {
			return uuid.Nil, err
		}
		bulk.Campaign, details["campaign_id"] = id, public
	}
	// The log names the action, which has its id only after the entry: the details tell.
	action, err := u.record(ctx, "bulk."+string(bulk.Kind), targetBulk, "", bulk.Reason, details)
	if err != nil {
		return uuid.Nil, err
	}
	bulk.Actor, bulk.ActionID = u.actor.Name, action
	public, id, err := pgstore.CreateBulk(ctx, u, bulk)
	if err != nil {
		return uuid.Nil, err
	}
	if _, err := u.Exec(ctx, `UPDATE operator_actions SET target_id = $2 WHERE id = $1`, action, public.String()); err != nil {
		return uuid.Nil, fmt.Errorf("record a bulk action: %w", err)
	}
	if bulk.Kind == pgstore.BulkCampaign {
		return public, nil
	}
	return public, u.enqueue(ctx, jobs.BulkArgs{BulkID: id})
}

// startCampaign makes a campaign to a selection and sends it, with the audience frozen in this transaction.
func (u *unit) startCampaign(ctx context.Context, in *createCampaignInput, bulk pgstore.NewBulk, now time.Time) (uuid.UUID, int64, error) {
	public, err := u.insertCampaign(ctx, in, bulk.Selection)
	if err != nil {
		return public, 0, err
	}
	c, err := u.lockCampaign(ctx, public)
	if err != nil {
		return public, 0, err
	}
	if err := u.moveCampaign(ctx, "send", c, bulk.Reason, now); err != nil {
		return public, 0, err
	}
	for _, action := range []string{"campaign.create", "campaign.send"} {
		if _, err := u.record(ctx, action, targetCampaign, public.String(), bulk.Reason, nil); err != nil {
			return public, 0, err
		}
	}
	return public, c.id, pgstore.FreezeNow(ctx, u, c.id, bulk.Selection)
}

func (a *API) answerBulk(ctx context.Context, u *unit, id uuid.UUID) (*answer[BulkAction], error) {
	b, err := bulkAction(ctx, u, id, false)
	if err != nil {
		return nil, err
	}
	view, err := a.viewBulk(ctx, u, b)
	return &answer[BulkAction]{Status: http.StatusAccepted, Location: Prefix + "/crm/businesses/bulk/" + id.String(), Body: view}, err
}

func bulkAction(ctx context.Context, q pgstore.Querier, id uuid.UUID, lock bool) (pgstore.Bulk, error) {
	b, err := pgstore.BulkByPublicID(ctx, q, id, lock)
	if errors.Is(err, pgstore.ErrNoBulk) {
		return b, notFound("bulk action")
	}
	return b, err
}

func (a *API) getBulk(ctx context.Context, in *PathID) (*struct{ Body BulkAction }, error) {
	out := &struct{ Body BulkAction }{}
	err := a.read(ctx, func(tx pgx.Tx) error {
		b, err := bulkAction(ctx, tx, in.ID, false)
		if err != nil {
			return err
		}
		out.Body, err = a.viewBulk(ctx, tx, b)
		return err
	})
	return out, err
}

type listBulkInput struct{ Paging }

func (a *API) listBulk(ctx context.Context, in *listBulkInput) (*pageOutput[BulkAction], error) {
	const list = "bulk"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	var out *pageOutput[BulkAction]
	err = a.read(ctx, func(tx pgx.Tx) error {
		found, err := pgstore.ListBulk(ctx, tx, behind.above(), in.Limit+1)
		if err != nil {
			return err
		}
		views := make(map[int64]BulkAction, len(found))
		for _, b := range found {
			if views[b.ID], err = a.viewBulk(ctx, tx, b); err != nil {
				return err
			}
		}
		out, err = page(in.Paging, list, found,
			func(b pgstore.Bulk) BulkAction { return views[b.ID] },
			func(b pgstore.Bulk) any { return byID{b.ID} })
		return err
	})
	return out, err
}
