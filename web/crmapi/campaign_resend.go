package crmapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/lifecycle/pgstore"
)

type resendCampaignInput struct {
	PathID
	Body *struct {
		Name *string `json:"name,omitempty" nullable:"true" maxLength:"200" doc:"Of the follow-up; the campaign's with (resend), unless given"`
	}
}

// maxCampaignName is the longest name of a campaign, in characters.
const maxCampaignName = 200

func (in *resendCampaignInput) name(of string) string {
	if in.Body != nil {
		if n := strings.TrimSpace(orZero(in.Body.Name)); n != "" {
			return n
		}
	}
	const suffix = " (resend)"
	runes := []rune(of)
	return string(runes[:min(len(runes), maxCampaignName-utf8.RuneCountInString(suffix))]) + suffix
}

func (a *API) resendCampaign(ctx context.Context, in *resendCampaignInput) (*answer[Campaign], error) {
	public, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	audience := pgstore.Audience{FailedOf: &in.ID}
	encoded, err := json.Marshal(audience)
	if err != nil {
		return nil, fmt.Errorf("encode the audience: %w", err)
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Campaign], error) {
		c, err := u.lockCampaign(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if !slices.Contains([]string{campaignSent, campaignCancelled}, c.status) {
			return nil, huma.Error409Conflict(fmt.Sprintf("the campaign is %s: resend takes one that is sent or cancelled", c.status))
		}
		size, err := pgstore.SizeAudience(ctx, u, c.channel, audience)
		if err != nil {
			return nil, err
		}
		if size.Recipients == 0 {
			return nil, huma.Error409Conflict("no message of the campaign is failed or undelivered: there is nobody to send to again")
		}
		d, err := u.draft(ctx, c.id)
		if err != nil {
			return nil, err
		}
		_, err = u.Exec(ctx, `
			INSERT INTO campaigns (public_id, name, channel, subject, body, audience, per_second)
			VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7::float8)`,
			public, in.name(d.Name), d.Channel, d.Subject, d.Body, string(encoded), d.PerSecond)
		if err != nil {
			return nil, fmt.Errorf("create campaign: %w", err)
		}
		if _, err := u.record(ctx, "campaign.resend", targetCampaign, in.ID.String(), "", map[string]any{"campaign_id": public.String()}); err != nil {
			return nil, err
		}
		row, err := a.campaign(ctx, u, public)
		return &answer[Campaign]{Status: http.StatusCreated, Location: Prefix + "/campaigns/" + public.String(), Body: row.Campaign}, err
	})
}
