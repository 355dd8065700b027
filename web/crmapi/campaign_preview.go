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
	"onward/jobs/messagetext"
	"onward/jobs/recipienttime"
	"onward/jobs/segments"
	"onward/jobs/tracktoken"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// SegmentCount is what a text message is billed as.
type SegmentCount struct {
	Segments   int    `json:"segments"`
	Encoding   string `json:"encoding" enum:"GSM-7,UCS-2" doc:"One character that GSM-7 lacks makes the whole text UCS-2, with 70 characters a segment instead of 160"`
	Characters int    `json:"characters" doc:"In units of the encoding: some count double"`
}

// CampaignPreview is a campaign's message as one business would get it.
type CampaignPreview struct {
	BusinessID uuid.UUID     `json:"business_id" format:"uuid"`
	To         *string       `json:"to"`
	Subject    *string       `json:"subject"`
	Body       *string       `json:"body" doc:"The text; of a mail its plain part, with the footer. Its unsubscribe link is an example as long as the real one"`
	HTML       *string       `json:"html" doc:"A mail's HTML part, without the counting of clicks and opens"`
	Segments   *SegmentCount `json:"segments" doc:"Of a text message"`
	Skipped    *string       `json:"skipped" enum:"not_in_audience,erased,no_address,suppressed,unsubscribed,unrenderable" doc:"Why the business would get no message"`
	Problem    *string       `json:"problem" doc:"Why the text cannot be sent to it, where skipped is unrenderable"`
	SendsAt    *time.Time    `json:"sends_at" doc:"When it would go if the campaign were sent now: send_at and the recipient's quiet hours considered, the queue before it not"`
}

// notInAudience is the one reason to skip a business that a recipient cannot have.
const notInAudience = "not_in_audience"

// plan is what a campaign is about to do: a stored draft's, or one that is only thought of.
type plan struct {
	channel  string
	text     messagetext.Campaign
	audience pgstore.Audience
	sendAt   *time.Time
}

func newPlan(channel, subject, body string, audience pgstore.Audience, sendAt *time.Time) (plan, error) {
	text, err := messagetext.ParseCampaign(channel == jobs.ChannelSMS, subject, body)
	return plan{channel: channel, text: text, audience: audience, sendAt: sendAt}, err
}

// plan reads a stored campaign's.
func (a *API) plan(ctx context.Context, q pgstore.Querier, id uuid.UUID) (plan, error) {
	var channel, subject, body string
	var raw []byte
	var sendAt *time.Time
	err := q.QueryRow(ctx, `
		SELECT channel, subject, body, audience, send_at
		FROM campaigns
		WHERE public_id = $1`, id).Scan(&channel, &subject, &body, &raw, &sendAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return plan{}, notFound(targetCampaign)
	}
	if err != nil {
		return plan{}, fmt.Errorf("read campaign: %w", err)
	}
	var audience pgstore.Audience
	if err := json.Unmarshal(raw, &audience); err != nil {
		return plan{}, fmt.Errorf("read the audience: %w", err)
	}
	return newPlan(channel, subject, body, audience, sendAt)
}

func (a *API) registerCampaignPreviews(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/campaigns/{id}/preview", id: "previewCampaign", tag: tagCampaigns,
		summary: "A campaign's message as one business would get it",
	}, a.previewCampaign)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/campaigns/{id}/estimate", id: "estimateCampaign", tag: tagCampaigns,
		summary:     "How many would get a campaign's message, their statuses, who would not and why, segments and cost",
		description: "Of the audience as it is now. Segments and cost are carried over from a sample.",
	}, a.estimateCampaign)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodPost, path: "/campaigns/preview", id: "previewNewCampaign", tag: tagCampaigns,
		summary:     "Preview and estimate of a campaign that is not stored",
		description: "Checks what createCampaign checks, and changes nothing. Without a business_id the preview is of the first of the audience who would get the message.",
	}, a.previewNewCampaign)
}

type previewCampaignInput struct {
	PathID
	BusinessID uuid.UUID `query:"business_id" format:"uuid" required:"true"`
}

func (a *API) previewCampaign(ctx context.Context, in *previewCampaignInput) (*struct{ Body CampaignPreview }, error) {
	out := &struct{ Body CampaignPreview }{}
	err := a.read(ctx, func(tx pgx.Tx) error {
		p, err := a.plan(ctx, tx, in.ID)
		if err != nil {
			return err
		}
		out.Body, err = a.preview(ctx, tx, p, in.BusinessID)
		return err
	})
	return out, err
}

// preview renders a plan's message for a business.
func (a *API) preview(ctx context.Context, q pgstore.Querier, p plan, business uuid.UUID) (CampaignPreview, error) {
	r, in, err := pgstore.RecipientByID(ctx, q, p.channel, business, p.audience)
	if errors.Is(err, pgstore.ErrNoBusiness) {
		return CampaignPreview{}, notFound(targetBusiness)
	}
	if err != nil {
		return CampaignPreview{}, err
	}
	out := CampaignPreview{BusinessID: business, To: orNull(r.Address), Skipped: orNull(string(r.Skip()))}
	unsubscribe := a.exampleUnsubscribeURL(p.channel, r.Address)
	subject, text, err := p.text.Render(textFields(r, unsubscribe))
	switch {
	case err == nil:
		a.show(&out, p.channel, subject, text, unsubscribe)
	case errors.Is(err, messagetext.ErrUnsendable), errors.Is(err, messagetext.ErrTooLong):
		out.Problem = orNull(err.Error())
		if out.Skipped == nil {
			out.Skipped = orNull(string(pgstore.SkipUnrenderable))
		}
	default:
		return out, err
	}
	if !in {
		out.Skipped = orNull(notInAudience)
	}
	if out.Skipped == nil {
		out.SendsAt = a.sendsAt(p, r)
	}
	return out, nil
}

func textFields(r pgstore.Recipient, unsubscribe string) messagetext.Fields {
	return messagetext.Fields{Name: r.Name, City: r.City, SiteURL: r.SiteURL, UnsubscribeURL: unsubscribe}
}

// show fills in a rendered message.
func (a *API) show(out *CampaignPreview, channel, subject, text, unsubscribe string) {
	if channel == jobs.ChannelSMS {
		out.Body = &text
		n, encoding, units := segments.Count(text)
		out.Segments = &SegmentCount{Segments: n, Encoding: encoding, Characters: units}
		return
	}
	parts := messagetext.EmailParts{Text: text, PostalAddress: a.opts.EmailPostalAddress, UnsubscribeURL: unsubscribe}
	out.Subject, out.Body, out.HTML = &subject, new(messagetext.EmailText(parts)), new(messagetext.EmailHTML(parts))
}

// sendsAt is when a recipient's message may go; nil where quiet hours never end.
func (a *API) sendsAt(p plan, r pgstore.Recipient) *time.Time {
	at := a.opts.Clock()
	if p.sendAt != nil && p.sendAt.After(at) {
		at = *p.sendAt
	}
	return a.quietUntil(p.channel, at, recipienttime.Recipient{Timezone: r.Timezone, Country: r.Country, Phone: r.Address})
}

// quietUntil is the first time, not before at, at which a recipient may be written to.
func (a *API) quietUntil(channel string, at time.Time, who recipienttime.Recipient) *time.Time {
	if channel == jobs.ChannelSMS && a.opts.QuietHours != (recipienttime.Window{}) {
		open, ever := recipienttime.NextOpen(at, a.opts.QuietHours, a.zones.Of(who))
		if !ever {
			return nil
		}
		at = open
	}
	return utc(&at)
}

// unsubscribePath is where web/track serves the page, below PublicURL.
const unsubscribePath = "/u/"

// unsubscribeURL is the link of a message.
func (a *API) unsubscribeURL(message uuid.UUID, channel, address string) string {
	if a.opts.Links == nil {
		return ""
	}
	token, err := a.opts.Links.Seal(tracktoken.PurposeUnsubscribe, tracktoken.Claims{MessageID: message.String(), Channel: channel, Address: address})
	if err != nil {
		return ""
	}
	return a.opts.PublicURL + unsubscribePath + token
}

// exampleUnsubscribeURL is as long as a real link, so that segments are counted right, and leads nowhere: who looks at a
// preview must not be able to unsubscribe its recipient.
func (a *API) exampleUnsubscribeURL(channel, address string) string {
	if address == "" {
		address = "+10000000000"
	}
	link := a.unsubscribeURL(uuid.New(), channel, address)
	if link == "" {
		return ""
	}
	base := a.opts.PublicURL + unsubscribePath
	const example = "example"
	return base + example + strings.Repeat("x", max(len(link)-len(base)-len(example), 0))
}

type previewNewCampaignInput struct {
	Body struct {
		Channel    string       `json:"channel" enum:"sms,email"`
		Subject    *string      `json:"subject,omitempty" nullable:"true" maxLength:"500"`
		Body       string       `json:"body" minLength:"1"`
		Audience   audienceBody `json:"audience"`
		SendAt     *time.Time   `json:"send_at,omitempty" nullable:"true"`
		BusinessID *uuid.UUID   `json:"business_id,omitempty" format:"uuid" nullable:"true"`
	}
}

// CampaignDryRun is what a campaign would do.
type CampaignDryRun struct {
	Preview  *CampaignPreview `json:"preview" doc:"Null where nobody is in the audience"`
	Estimate CampaignEstimate `json:"estimate"`
}

func (a *API) previewNewCampaign(ctx context.Context, in *previewNewCampaignInput) (*struct{ Body CampaignDryRun }, error) {
	b := in.Body
	if err := checkTexts(b.Channel, orZero(b.Subject), b.Body); err != nil {
		return nil, err
	}
	audience, err := b.Audience.check()
	if err != nil {
		return nil, err
	}
	p, err := newPlan(b.Channel, orZero(b.Subject), b.Body, audience, b.SendAt)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body CampaignDryRun }{}
	err = a.read(ctx, func(tx pgx.Tx) error {
		u := &unit{Tx: tx}
		if err := u.knowAudience(ctx, audience); err != nil {
			return err
		}
		var sample []pgstore.Recipient
		if out.Body.Estimate, sample, err = a.estimate(ctx, tx, p); err != nil {
			return err
		}
		business := orZero(b.BusinessID)
		if business == uuid.Nil {
			if business, err = sampleBusiness(ctx, tx, sample); err != nil || business == uuid.Nil {
				return err
			}
		}
		preview, err := a.preview(ctx, tx, p, business)
		if status, ok := errors.AsType[huma.StatusError](err); ok && status.GetStatus() == http.StatusNotFound {
			return invalid("body.business_id", "is no business")
		}
		out.Body.Preview = &preview
		return err
	})
	return out, err
}

// sampleBusiness picks from a sample the first who would get a message, else the first; Nil from an empty one.
func sampleBusiness(ctx context.Context, q pgstore.Querier, sample []pgstore.Recipient) (uuid.UUID, error) {
	if len(sample) == 0 {
		return uuid.Nil, nil
	}
	pick := sample[0]
	for _, r := range sample {
		if r.Skip() == "" {
			pick = r
			break
		}
	}
	b, err := pgstore.BusinessByID(ctx, q, pick.ID)
	return b.PublicID, err
}
