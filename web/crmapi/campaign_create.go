package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/jobs"
	"onward/jobs/messagetext"
	"onward/lifecycle/pgstore"
)

// maxSMS is the longest text that Twilio takes, in characters.
const maxSMS = 1600

// audienceBody is whom a campaign goes to.
type audienceBody struct {
	BusinessIDs []uuid.UUID `json:"business_ids,omitempty" format:"uuid" maxItems:"20000" nullable:"false"`
	Filter      *filterBody `json:"filter,omitempty" doc:"As in the list of businesses; statuses as a list or with commas; {} is everyone"`
}

// storedAudience is campaigns.audience.
type storedAudience struct {
	BusinessIDs []uuid.UUID             `json:"business_ids,omitempty"`
	Filter      *pgstore.BusinessFilter `json:"filter,omitempty"`
}

func (s storedAudience) view() audienceBody {
	out := audienceBody{BusinessIDs: s.BusinessIDs}
	if s.Filter != nil {
		out.Filter = viewFilter(*s.Filter)
	}
	return out
}

type createCampaignInput struct {
	Body struct {
		Name      string       `json:"name" minLength:"1" maxLength:"200"`
		Channel   string       `json:"channel" enum:"sms,email"`
		Subject   *string      `json:"subject,omitempty" nullable:"true" maxLength:"500" doc:"A template; an email needs one"`
		Body      string       `json:"body" minLength:"1" doc:"A template; for sms at most 1600 characters"`
		Audience  audienceBody `json:"audience"`
		SendAt    *time.Time   `json:"send_at,omitempty" nullable:"true" doc:"Not before this time"`
		PerSecond *float64     `json:"per_second,omitempty" nullable:"true" exclusiveMinimum:"0" maximum:"10000" doc:"Pace; the sender's own is never exceeded"`
	}
}

func (a *API) createCampaign(ctx context.Context, in *createCampaignInput) (*answer[Campaign], error) {
	b := in.Body
	b.Name = strings.TrimSpace(b.Name)
	if b.Name == "" {
		return nil, invalid("body.name", "is empty")
	}
	if err := checkTexts(b.Channel, orZero(b.Subject), b.Body); err != nil {
		return nil, err
	}
	audience, err := b.Audience.check()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(audience)
	if err != nil {
		return nil, fmt.Errorf("encode the audience: %w", err)
	}
	public, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Campaign], error) {
		if err := u.knowAll(ctx, audience.BusinessIDs); err != nil {
			return nil, err
		}
		_, err := u.Exec(ctx, `
			INSERT INTO campaigns (public_id, name, channel, subject, body, audience, send_at, per_second)
			VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8::float8)`,
			public, b.Name, b.Channel, orZero(b.Subject), b.Body, string(encoded), b.SendAt, b.PerSecond)
		if err != nil {
			return nil, fmt.Errorf("create campaign: %w", err)
		}
		if _, err := u.record(ctx, "campaign.create", targetCampaign, public.String(), "", nil); err != nil {
			return nil, err
		}
		c, err := a.campaign(ctx, u, public)
		return &answer[Campaign]{Status: http.StatusCreated, Location: Prefix + "/campaigns/" + public.String(), Body: c.Campaign}, err
	})
}

// checkTexts refuses templates that could not be rendered, with the place.
func checkTexts(channel, subject, body string) error {
	var wrong pgstore.FieldErrors
	add := func(field, message string) { wrong = append(wrong, pgstore.FieldError{Field: field, Message: message}) }
	if strings.TrimSpace(body) == "" {
		add("body", "is empty")
	}
	switch channel {
	case jobs.ChannelSMS:
		if n := utf8.RuneCountInString(body); n > maxSMS {
			add("body", fmt.Sprintf("has %d characters; an SMS has at most %d", n, maxSMS))
		}
	case jobs.ChannelEmail:
		if strings.TrimSpace(subject) == "" {
			add("subject", "is needed for an email")
		}
	}
	for field, text := range map[string]string{"subject": subject, "body": body} {
		_, err := messagetext.Parse(text)
		if place, ok := errors.AsType[*messagetext.Error](err); ok {
			add(field, place.Error())
		} else if err != nil {
			return fmt.Errorf("parse a template: %w", err)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

func (b audienceBody) check() (storedAudience, error) {
	const at = "body.audience"
	switch {
	case len(b.BusinessIDs) > 0 && b.Filter != nil:
		return storedAudience{}, invalid(at, "has business_ids and filter: give one of them")
	case b.Filter != nil:
		f, err := b.Filter.filter(at + ".filter.")
		return storedAudience{Filter: &f}, err
	case len(b.BusinessIDs) > 0:
		return storedAudience{BusinessIDs: b.BusinessIDs}, nil
	}
	return storedAudience{}, invalid(at, "is nobody: give business_ids, or filter ({} is everyone)")
}

// knowAll refuses ids that are no business: a message that nobody gets should not be a surprise after the launch.
func (u *unit) knowAll(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	found, err := businessIDs(ctx, u, ids)
	if err != nil {
		return err
	}
	var details []error
	for i, id := range ids {
		if _, ok := found[id]; !ok && len(details) < 10 {
			details = append(details, &huma.ErrorDetail{Location: fmt.Sprintf("body.audience.business_ids[%d]", i), Message: "is no business"})
		}
	}
	if len(details) > 0 {
		return huma.Error422UnprocessableEntity(validationFailed, details...)
	}
	return nil
}
