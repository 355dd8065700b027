package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Statuses of a campaign.
const (
	campaignDraft     = "draft"
	campaignScheduled = "scheduled"
	campaignSending   = "sending"
	campaignPaused    = "paused"
	campaignSent      = "sent"
	campaignCancelled = "cancelled"
)

// Campaign is one template to one audience over one channel.
type Campaign struct {
	ID           uuid.UUID        `json:"id" format:"uuid"`
	Name         string           `json:"name"`
	Channel      string           `json:"channel" enum:"sms,email"`
	Subject      string           `json:"subject"`
	Body         string           `json:"body"`
	Audience     audienceBody     `json:"audience"`
	Status       string           `json:"status" enum:"draft,scheduled,sending,paused,sent,cancelled"`
	StatusReason *string          `json:"status_reason"`
	SendAt       *time.Time       `json:"send_at"`
	PerSecond    *float64         `json:"per_second"`
	CreatedAt    time.Time        `json:"created_at"`
	LaunchedAt   *time.Time       `json:"launched_at"`
	FinishedAt   *time.Time       `json:"finished_at"`
	Recipients   *int64           `json:"recipients" doc:"Businesses in the audience, frozen at the launch; null before it"`
	Counters     map[string]int64 `json:"counters" doc:"Messages by state"`
	Skipped      map[string]int64 `json:"skipped" doc:"Recipients that get no message, by reason: erased, no_address, suppressed, unsubscribed, unrenderable"`
	Total        int64            `json:"total" doc:"Messages made so far"`
	ETA          *time.Time       `json:"eta" doc:"When the last message is handed over: all that is left, at the pace of campaign and sender, behind what other campaigns have queued. Quiet hours and retries are not considered. Null unless scheduled or sending, and while nobody knows"`
}

type campaignRow struct {
	id        int64
	audience  []byte
	counters  []byte
	frozen    bool
	fannedOut bool
	Campaign
}

const campaignQuery = `
	SELECT c.id, c.public_id, c.name, c.channel, c.subject, c.body, c.audience, c.status, c.status_reason, c.send_at,
		c.per_second::float8, c.created_at, c.launched_at, c.finished_at, c.frozen_at IS NOT NULL, c.fanned_out_at IS NOT NULL,
		CASE WHEN c.launched_at IS NOT NULL THEN c.recipients END,
		COALESCE((
			SELECT jsonb_object_agg(k.state, k.n)
			FROM (SELECT state, sum(n) AS n FROM campaign_counters WHERE campaign_id = c.id GROUP BY state) k
		), '{}')
	FROM campaigns c
	WHERE `

func scanCampaign(row pgx.CollectableRow) (campaignRow, error) {
	var c campaignRow
	err := row.Scan(&c.id, &c.ID, &c.Name, &c.Channel, &c.Subject, &c.Body, &c.audience, &c.Status, &c.StatusReason, &c.SendAt,
		&c.PerSecond, &c.CreatedAt, &c.LaunchedAt, &c.FinishedAt, &c.frozen, &c.fannedOut, &c.Recipients, &c.counters)
	if err != nil {
		return c, err
	}
	c.SendAt, c.LaunchedAt, c.FinishedAt, c.CreatedAt = utc(c.SendAt), utc(c.LaunchedAt), utc(c.FinishedAt), c.CreatedAt.UTC()
	if c.Audience, err = viewAudience(c.audience); err != nil {
		return c, err
	}
	counters := map[string]int64{}
	if err := json.Unmarshal(c.counters, &counters); err != nil {
		return c, fmt.Errorf("read the counters: %w", err)
	}
	// Each state and each reason is there, so that nobody has to ask whether it is.
	c.Counters, c.Skipped = map[string]int64{}, map[string]int64{}
	for _, s := range lifecycle.MessageStates() {
		c.Counters[string(s)] = counters[string(s)]
		c.Total += counters[string(s)]
	}
	for _, why := range pgstore.Skips() {
		c.Skipped[string(why)] = counters[why.Counter()]
	}
	return c, nil
}

// left is how many are still to be handed over.
func (c campaignRow) left() int64 {
	left := c.Counters[string(lifecycle.MessageQueued)] + c.Counters[string(lifecycle.MessageDispatching)]
	if c.fannedOut {
		return left
	}
	left += orZero(c.Recipients) - c.Total
	for _, n := range c.Skipped {
		left -= n
	}
	return left
}

func (a *API) campaign(ctx context.Context, q pgstore.Querier, id uuid.UUID) (campaignRow, error) {
	rows, err := q.Query(ctx, campaignQuery+`c.public_id = $1`, id)
	if err != nil {
		return campaignRow{}, fmt.Errorf("read campaign: %w", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanCampaign)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, notFound(targetCampaign)
	}
	if err != nil {
		return c, fmt.Errorf("read campaign: %w", err)
	}
	c.ETA, err = a.eta(ctx, q, c)
	return c, err
}

// eta is when the last message is handed over: what is left, at the pace of campaign and sender, behind what other
// campaigns have queued, or where no pace is known at that so far. Nobody knows while the audience is being frozen.
func (a *API) eta(ctx context.Context, q pgstore.Querier, c campaignRow) (*time.Time, error) {
	left := c.left()
	if c.Status != campaignSending && c.Status != campaignScheduled || !c.frozen || left <= 0 {
		return nil, nil // nobody knows is an answer
	}
	pace, senderPace, ahead, err := a.pace(ctx, q, c)
	if err != nil {
		return nil, err
	}
	now := a.opts.Clock()
	if pace == nil && c.LaunchedAt != nil && c.Total > left {
		pace = orNull(float64(c.Total-left) / max(now.Sub(*c.LaunchedAt).Seconds(), 1))
	}
	if pace == nil {
		return nil, nil // see above
	}
	seconds := float64(left) / *pace
	if senderPace != nil {
		seconds = max(seconds, float64(left+ahead) / *senderPace)
	}
	const century = 100 * 365 * 24 * time.Hour // the most that a Duration can be asked to hold with room to spare
	wait := time.Duration(min(seconds, century.Seconds()) * float64(time.Second))
	from := now
	if c.Status == campaignScheduled && c.SendAt != nil && c.SendAt.After(now) {
		from = *c.SendAt
	}
	return utc(new(from.Add(wait))), nil
}

// pace is how many messages a second the campaign and its sender send, nil where it is not known, and how many
// messages other campaigns have queued at that sender.
func (a *API) pace(ctx context.Context, q pgstore.Querier, c campaignRow) (pace, senderPace *float64, ahead int64, err error) {
	sender := a.opts.SMSFrom
	if c.Channel == jobs.ChannelEmail {
		sender = a.opts.EmailFrom
	}
	err = q.QueryRow(ctx, `
		WITH sender AS (
			SELECT (per_second / slowdown)::float8 AS pace
			FROM senders
			WHERE channel = $1 AND address = $2
		)
		SELECT LEAST((SELECT pace FROM sender), $3::float8), (SELECT pace FROM sender), COALESCE((
			SELECT sum(k.n)
			FROM campaigns o
			JOIN campaign_counters k ON k.campaign_id = o.id
			WHERE o.status = 'sending' AND o.channel = $1 AND o.id <> $4 AND k.state = 'queued'
		), 0)`, c.Channel, sender, c.PerSecond, c.id).Scan(&pace, &senderPace, &ahead)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read a sender's pace: %w", err)
	}
	return pace, senderPace, ahead, nil
}

const tagCampaigns = "Campaigns"

func (a *API) registerCampaigns(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/campaigns", id: "createCampaign", tag: tagCampaigns, status: http.StatusCreated,
		summary: "Create a campaign, as a draft",
		description: "Body and subject are templates with {{.Name}}, {{.City}}, {{.SiteURL}} and {{.UnsubscribeURL}}. " +
			"The audience is business_ids or filter, the filter with the names of the list of businesses; an empty filter is everyone.",
	}, a.createCampaign)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPatch, path: "/campaigns/{id}", id: "updateCampaign", tag: tagCampaigns, summary: "Change a draft",
		description: "Members that are absent stay, null clears. 409 once it was sent: what went out is not to be rewritten.",
	}, a.updateCampaign)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/campaigns", id: "listCampaigns", tag: tagCampaigns, summary: "List campaigns, newest first",
	}, a.listCampaigns)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/campaigns/{id}", id: "getCampaign", tag: tagCampaigns, summary: "One campaign, with counters and eta",
	}, a.getCampaign)
	for _, m := range moves() {
		register(a, h, apitoken.Operator, operation{
			method: http.MethodPost, path: "/campaigns/{id}/" + m.name, id: m.name + "Campaign", tag: tagCampaigns,
			status: http.StatusAccepted, summary: m.summary, description: m.description,
		}, a.moveCampaign(m))
	}
	a.registerCampaignPreviews(h)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/campaigns/{id}/test", id: "testCampaign", tag: tagCampaigns, status: http.StatusAccepted,
		summary: "Send one test message to an address of yours",
		description: "Rendered for a business, but addressed to you: it counts in no counter and moves nobody's status. " +
			"Quiet hours hold for it, too. 409 where the address is suppressed.",
	}, a.testCampaign)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/campaigns/{id}/resend", id: "resendCampaign", tag: tagCampaigns, status: http.StatusCreated,
		summary: "Make a follow-up to those whom a campaign's message failed to reach",
		description: "A new draft with the same texts, whose audience is the failed and undelivered messages at its launch; never those " +
			"whose outcome is unknown or held, and nobody whom another follow-up reached. Look at it, change it, and send it.",
	}, a.resendCampaign)
}

func (a *API) getCampaign(ctx context.Context, in *PathID) (*struct{ Body Campaign }, error) {
	c, err := a.campaign(ctx, a.opts.Pool, in.ID)
	return &struct{ Body Campaign }{c.Campaign}, err
}

type listCampaignsInput struct {
	Paging
	Status  []string `query:"status" doc:"Any of these, with commas"`
	Channel string   `query:"channel" enum:"sms,email"`
}

func (a *API) listCampaigns(ctx context.Context, in *listCampaignsInput) (*pageOutput[Campaign], error) {
	const list = "campaigns"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	known := []string{campaignDraft, campaignScheduled, campaignSending, campaignPaused, campaignSent, campaignCancelled}
	if err := checkAnyOf("query.status", in.Status, known); err != nil {
		return nil, err
	}
	rows, err := a.opts.Pool.Query(ctx, campaignQuery+`c.id < $1
			AND (cardinality($2::text[]) = 0 OR c.status = ANY($2::text[]))
			AND ($3 = '' OR c.channel = $3)
		ORDER BY c.id DESC
		LIMIT $4`, behind.above(), append([]string{}, in.Status...), in.Channel, in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanCampaign)
	if err != nil {
		return nil, fmt.Errorf("list campaigns: %w", err)
	}
	for i := range found {
		if found[i].ETA, err = a.eta(ctx, a.opts.Pool, found[i]); err != nil {
			return nil, err
		}
	}
	return page(in.Paging, list, found,
		func(c campaignRow) Campaign { return c.Campaign },
		func(c campaignRow) any { return byID{c.id} })
}
