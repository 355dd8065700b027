package crmapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// optional is a member of a PATCH that can be absent, null or a value.
type optional[T any] struct {
	set   bool
	value *T
}

// UnmarshalJSON is called for null, too.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	o.set, o.value = true, nil
	if err := json.Unmarshal(data, &o.value); err != nil {
		return fmt.Errorf("neither a value of its type nor null: %w", err)
	}
	return nil
}

// Schema is the value's, or null.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	var v T
	var s huma.Schema
	switch any(v).(type) {
	case time.Time:
		s = huma.Schema{Type: huma.TypeString, Format: "date-time"}
	case float64:
		s = huma.Schema{Type: huma.TypeNumber, Format: "double"}
	}
	s.Nullable = true
	return &s
}

// or returns the new value where one was given, else the old.
func (o optional[T]) or(old *T) *T {
	if o.set {
		return o.value
	}
	return old
}

type updateCampaignInput struct {
	PathID
	Body struct {
		Name      change              `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Channel   *string             `json:"channel,omitempty" enum:"sms,email"`
		Subject   change              `json:"subject,omitempty" maxLength:"500"`
		Body      change              `json:"body,omitempty" minLength:"1"`
		Audience  *audienceBody       `json:"audience,omitempty"`
		SendAt    optional[time.Time] `json:"send_at,omitempty"`
		PerSecond optional[float64]   `json:"per_second,omitempty" exclusiveMinimum:"0" maximum:"10000"`
	}
}

// draftCampaign is what of a campaign may be changed.
type draftCampaign struct {
	Name      string
	Channel   string
	Subject   string
	Body      string
	Audience  []byte
	SendAt    *time.Time
	PerSecond *float64
}

func (a *API) updateCampaign(ctx context.Context, in *updateCampaignInput) (*answer[Campaign], error) {
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Campaign], error) {
		c, err := u.lockCampaign(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if c.status != campaignDraft {
			return nil, huma.Error409Conflict(fmt.Sprintf("the campaign is %s: only a draft can be changed", c.status))
		}
		d, err := u.draft(ctx, c.id)
		if err != nil {
			return nil, err
		}
		before := d
		fields, err := u.change(ctx, &d, in)
		if err != nil {
			return nil, err
		}
		same, err := d.same(before)
		if err != nil {
			return nil, err
		}
		if same {
			row, err := a.campaign(ctx, u, in.ID)
			return &answer[Campaign]{Status: http.StatusOK, Body: row.Campaign}, err
		}
		_, err = u.Exec(ctx, `
			UPDATE campaigns
			SET name = $2, channel = $3, subject = $4, body = $5, audience = $6::text::jsonb, send_at = $7, per_second = $8::float8, updated_at = now()
			WHERE id = $1`, c.id, d.Name, d.Channel, d.Subject, d.Body, string(d.Audience), d.SendAt, d.PerSecond)
		if err != nil {
			return nil, fmt.Errorf("update campaign: %w", err)
		}
		if _, err := u.record(ctx, "campaign.update", targetCampaign, in.ID.String(), "", map[string]any{"fields": fields}); err != nil {
			return nil, err
		}
		row, err := a.campaign(ctx, u, in.ID)
		return &answer[Campaign]{Status: http.StatusOK, Body: row.Campaign}, err
	})
}

// same compares two drafts by what they mean: the database writes an audience in another way than we do.
func (d draftCampaign) same(as draftCampaign) (bool, error) {
	var audiences [2]pgstore.Audience
	for i, raw := range [][]byte{d.Audience, as.Audience} {
		if err := json.Unmarshal(raw, &audiences[i]); err != nil {
			return false, fmt.Errorf("read the audience: %w", err)
		}
	}
	sendAt := d.SendAt == as.SendAt || d.SendAt != nil && as.SendAt != nil && d.SendAt.Truncate(time.Microsecond).Equal(*as.SendAt)
	pace := d.PerSecond == as.PerSecond || d.PerSecond != nil && as.PerSecond != nil && *d.PerSecond == *as.PerSecond
	return d.Name == as.Name && d.Channel == as.Channel && d.Subject == as.Subject && d.Body == as.Body && sendAt && pace &&
		reflect.DeepEqual(audiences[0], audiences[1]), nil
}

func (u *unit) draft(ctx context.Context, id int64) (draftCampaign, error) {
	rows, err := u.Query(ctx, `
		SELECT name, channel, subject, body, audience, send_at, per_second::float8
		FROM campaigns
		WHERE id = $1`, id)
	if err != nil {
		return draftCampaign{}, fmt.Errorf("read campaign: %w", err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[draftCampaign])
	if err != nil {
		return d, fmt.Errorf("read campaign: %w", err)
	}
	return d, nil
}

// change takes a PATCH into a draft, checks the whole as a new campaign is checked, and lists what was named.
func (u *unit) change(ctx context.Context, d *draftCampaign, in *updateCampaignInput) (fields []string, err error) {
	b := in.Body
	fields = []string{}
	text := func(name string, to, from *string) {
		if from != nil {
			*to = *from
			fields = append(fields, name)
		}
	}
	text("name", &d.Name, b.Name.value)
	text("channel", &d.Channel, b.Channel)
	text("subject", &d.Subject, b.Subject.value)
	text("body", &d.Body, b.Body.value)
	if d.Name = strings.TrimSpace(d.Name); d.Name == "" {
		return nil, invalid("body.name", "is empty")
	}
	if err := checkTexts(d.Channel, d.Subject, d.Body); err != nil {
		return nil, err
	}
	if b.SendAt.set {
		fields = append(fields, "send_at")
	}
	if b.PerSecond.set {
		fields = append(fields, "per_second")
	}
	d.SendAt, d.PerSecond = b.SendAt.or(d.SendAt), b.PerSecond.or(d.PerSecond)
	if b.Audience == nil {
		return fields, nil
	}
	var audience pgstore.Audience
	if audience, err = b.Audience.check(); err != nil {
		return nil, err
	}
	if err := u.knowAudience(ctx, audience); err != nil {
		return nil, err
	}
	if d.Audience, err = json.Marshal(audience); err != nil {
		return nil, fmt.Errorf("encode the audience: %w", err)
	}
	return append(fields, "audience"), nil
}
