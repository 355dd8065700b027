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

// audienceBody is whom a campaign goes to.
type audienceBody struct {
	BusinessIDs []uuid.UUID `json:"business_ids,omitempty" format:"uuid" maxItems:"20000" nullable:"false"`
	Filter      *filterBody `json:"filter,omitempty" doc:"As in the list of businesses; statuses as a list or with commas; {} is everyone"`
	FailedOf    *uuid.UUID  `json:"failed_of,omitempty" format:"uuid" doc:"A campaign: those to whom its message failed or was not delivered, and whom no other follow-up reached"`
}

// viewAudience shows what campaigns.audience holds.
func viewAudience(stored []byte) (audienceBody, error) {
	var a pgstore.Audience
	if err := json.Unmarshal(stored, &a); err != nil {
		return audienceBody{}, fmt.Errorf("read the audience: %w", err)
	}
	out := audienceBody{BusinessIDs: a.BusinessIDs, FailedOf: a.FailedOf}
	if a.Filter != nil {
		out.Filter = viewFilter(*a.Filter)
	}
	return out, nil
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
	if strings.TrimSpace(b.Name) == "" {
		return nil, invalid("body.name", "is empty")
	}
	if err := checkTexts(b.Channel, orZero(b.Subject), b.Body); err != nil {
		return nil, err
	}
	audience, err := b.Audience.check()
	if err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Campaign], error) {
		if err := u.knowAudience(ctx, audience); err != nil {
			return nil, err
		}
		public, err := u.insertCampaign(ctx, in, audience)
		if err != nil {
			return nil, err
		}
		if _, err := u.record(ctx, "campaign.create", targetCampaign, public.String(), "", nil); err != nil {
			return nil, err
		}
		c, err := a.campaign(ctx, u, public)
		return &answer[Campaign]{Status: http.StatusCreated, Location: Prefix + "/campaigns/" + public.String(), Body: c.Campaign}, err
	})
}

// insertCampaign stores a draft that was checked.
func (u *unit) insertCampaign(ctx context.Context, in *createCampaignInput, audience pgstore.Audience) (uuid.UUID, error) {
	encoded, err := json.Marshal(audience)
	if err != nil {
		return uuid.Nil, fmt.Errorf("encode the audience: %w", err)
	}
	public, err := uuid.NewV7()
	if err != nil {
		return public, fmt.Errorf("make an id: %w", err)
	}
	b := in.Body
	_, err = u.Exec(ctx, `
		INSERT INTO campaigns (public_id, name, channel, subject, body, audience, send_at, per_second)
		VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8::float8)`,
		public, strings.TrimSpace(b.Name), b.Channel, orZero(b.Subject), b.Body, string(encoded), b.SendAt, b.PerSecond)
	if err != nil {
		return public, fmt.Errorf("create campaign: %w", err)
	}
	return public, nil
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
		if n := utf8.RuneCountInString(body); n > messagetext.MaxSMS {
			add("body", fmt.Sprintf("has %d characters; an SMS has at most %d", n, messagetext.MaxSMS))
		}
	case jobs.ChannelEmail:
		if strings.TrimSpace(subject) == "" {
			add("subject", "is needed for an email")
		}
	}
	for _, t := range []struct{ field, text string }{{"subject", subject}, {"body", body}} {
		_, err := messagetext.Parse(t.text)
		if place, ok := errors.AsType[*messagetext.Error](err); ok {
			add(t.field, place.Error())
		} else if err != nil {
			return fmt.Errorf("parse a template: %w", err)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

func (b audienceBody) check() (pgstore.Audience, error) {
	const at = "body.audience"
	given := 0
	for _, is := range []bool{len(b.BusinessIDs) > 0, b.Filter != nil, b.FailedOf != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return pgstore.Audience{}, invalid(at, "has more than one of business_ids, filter, failed_of: give one of them")
	case b.Filter != nil:
		f, err := b.Filter.filter(at + ".filter.")
		return pgstore.Audience{Filter: &f}, err
	case given == 1:
		return pgstore.Audience{BusinessIDs: b.BusinessIDs, FailedOf: b.FailedOf}, nil
	}
	return pgstore.Audience{}, invalid(at, "is nobody: give business_ids, or filter ({} is everyone)")
}

// knowAudience refuses ids that name nothing: a message that nobody gets should not be a surprise after the launch.
func (u *unit) knowAudience(ctx context.Context, a pgstore.Audience) error {
	if a.FailedOf != nil {
		var is bool
		if err := u.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM campaigns WHERE public_id = $1)`, *a.FailedOf).Scan(&is); err != nil {
			return fmt.Errorf("find a campaign: %w", err)
		}
		if !is {
			return invalid("body.audience.failed_of", "is no campaign")
		}
	}
	return u.knowBusinesses(ctx, a.BusinessIDs, "body.audience.business_ids")
}

// knowBusinesses refuses ids that name nothing, with the first ten places.
func (u *unit) knowBusinesses(ctx context.Context, ids []uuid.UUID, at string) error {
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
			details = append(details, &huma.ErrorDetail{Location: fmt.Sprintf("%s[%d]", at, i), Message: "is no business"})
		}
	}
	if len(details) > 0 {
		return huma.Error422UnprocessableEntity(validationFailed, details...)
	}
	return nil
}
