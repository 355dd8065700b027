package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
)

// move is one way to bring a campaign from some statuses to another.
type move struct {
	name, summary, description string
	from                       []string
}

func moves() []move {
	return []move{
		{
			name: "send", summary: "Send a draft", from: []string{campaignDraft},
			description: "Now, or at its send_at. The audience is frozen at once, in either case: who matches later gets nothing, and who " +
				"ceases to match stays in it. Opt-outs and suppressions count up to the last moment all the same.",
		},
		{
			name: "pause", summary: "Pause a campaign", from: []string{campaignScheduled, campaignSending},
			description: "From the answer on, no message of it is handed over but those whose call had begun. What is queued stays so.",
		},
		{
			name: "resume", summary: "Go on with a paused campaign", from: []string{campaignPaused},
			description: "What is queued goes out, and the rest of the audience gets its messages.",
		},
		{
			name: "cancel", summary: "Cancel a campaign", from: []string{campaignDraft, campaignScheduled, campaignSending, campaignPaused},
			description: "For good. From the answer on no call begins, and within a second or so what is queued is canceled.",
		},
	}
}

type moveCampaignInput struct {
	PathID
	Body *struct {
		Reason *string `json:"reason,omitempty" nullable:"true" maxLength:"2000" doc:"Why: shown as status_reason and kept in the operators' log"`
	}
}

func (in *moveCampaignInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return strings.TrimSpace(orZero(in.Body.Reason))
}

func (a *API) moveCampaign(m move) func(context.Context, *moveCampaignInput) (*answer[Campaign], error) {
	return func(ctx context.Context, in *moveCampaignInput) (*answer[Campaign], error) {
		return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Campaign], error) {
			c, err := u.lockCampaign(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(m.from, c.status) {
				return nil, huma.Error409Conflict(fmt.Sprintf("the campaign is %s: %s takes one that is %s", c.status, m.name, strings.Join(m.from, " or ")))
			}
			if err := u.moveCampaign(ctx, m.name, c, in.reason(), a.opts.Clock()); err != nil {
				return nil, err
			}
			if _, err := u.record(ctx, "campaign."+m.name, targetCampaign, in.ID.String(), in.reason(), nil); err != nil {
				return nil, err
			}
			row, err := a.campaign(ctx, u, in.ID)
			return &answer[Campaign]{Status: http.StatusAccepted, Body: row.Campaign}, err
		})
	}
}

// lockedCampaign is what a move depends on.
type lockedCampaign struct {
	id      int64
	status  string
	channel string
	sendAt  *time.Time
}

func (u *unit) lockCampaign(ctx context.Context, id uuid.UUID) (lockedCampaign, error) {
	var c lockedCampaign
	err := u.QueryRow(ctx, `
		SELECT id, status, channel, send_at
		FROM campaigns
		WHERE public_id = $1
		FOR NO KEY UPDATE`, id).Scan(&c.id, &c.status, &c.channel, &c.sendAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, notFound(targetCampaign)
	}
	if err != nil {
		return c, fmt.Errorf("lock campaign: %w", err)
	}
	return c, nil
}

func (u *unit) moveCampaign(ctx context.Context, name string, c lockedCampaign, reason string, now time.Time) error {
	halt := jobs.CampaignHaltArgs{CampaignID: c.id}
	switch name {
	case "send":
		_, err := u.Exec(ctx, `
			UPDATE campaigns
			SET launched_at = now(), fanout_last = (SELECT COALESCE(max(id), 0) FROM businesses)
			WHERE id = $1`, c.id)
		if err != nil {
			return fmt.Errorf("launch campaign: %w", err)
		}
		return u.launch(ctx, c, jobs.FanOutArgs{CampaignID: c.id}, now)
	case "resume":
		return u.launch(ctx, c, jobs.FanOutArgs{CampaignID: c.id, Resume: true}, now)
	case "pause":
		if err := u.setCampaign(ctx, c, campaignPaused, reason); err != nil {
			return err
		}
		return u.enqueue(ctx, halt)
	}
	if err := u.setCampaign(ctx, c, campaignCancelled, reason); err != nil || c.status == campaignDraft {
		return err
	}
	return u.enqueue(ctx, halt)
}

// launch begins, or goes on with, the freezing of the audience; the same job makes the messages when its time has come.
func (u *unit) launch(ctx context.Context, c lockedCampaign, fanOut jobs.FanOutArgs, now time.Time) error {
	status := campaignSending
	if c.sendAt != nil && c.sendAt.After(now) {
		status = campaignScheduled
	}
	if err := u.setCampaign(ctx, c, status, ""); err != nil {
		return err
	}
	return u.enqueue(ctx, fanOut)
}

func (u *unit) setCampaign(ctx context.Context, c lockedCampaign, status, reason string) error {
	_, err := u.Exec(ctx, `
		UPDATE campaigns
		SET status = $2, status_reason = $3,
			finished_at = CASE WHEN $2 = 'cancelled' THEN now() ELSE finished_at END,
			updated_at = now()
		WHERE id = $1`, c.id, status, orNull(reason))
	if err != nil {
		return fmt.Errorf("make campaign %d %s: %w", c.id, status, err)
	}
	return nil
}
