package crmapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/jobs"
	"onward/jobs/messagetext"
	"onward/jobs/recipienttime"
	"onward/lifecycle/pgstore"
)

type testCampaignInput struct {
	PathID
	Body struct {
		To         string     `json:"to" maxLength:"254" doc:"A phone with its + and country code, or a mailbox"`
		BusinessID *uuid.UUID `json:"business_id,omitempty" format:"uuid" nullable:"true" doc:"For whom it is rendered; else the first of the audience who would get it"`
		Reason     *string    `json:"reason,omitempty" nullable:"true" maxLength:"2000" doc:"Goes to the operators' log"`
	}
}

// TestMessage is a test message that is queued.
type TestMessage struct {
	Message
	RenderedFor uuid.UUID  `json:"rendered_for" format:"uuid" doc:"The business whose name, city and site it shows"`
	SendsAt     *time.Time `json:"sends_at" doc:"Now, or when the quiet hours of the address end"`
}

// reasonTest is messages.reason of a test message that waits to be sent.
const reasonTest = "test"

func (a *API) testCampaign(ctx context.Context, in *testCampaignInput) (*answer[TestMessage], error) {
	public, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[TestMessage], error) {
		p, err := a.plan(ctx, u, in.ID)
		if err != nil {
			return nil, err
		}
		address, err := normalAddress(p.channel, in.Body.To, "body.to")
		if err != nil {
			return nil, err
		}
		to := pgstore.Address{Channel: p.channel, Address: address}
		sample, business, err := u.sampleFor(ctx, p, orZero(in.Body.BusinessID))
		if err != nil {
			return nil, err
		}
		subject, text, err := p.text.Render(textFields(sample, a.unsubscribeURL(public, p.channel, address)))
		if errors.Is(err, messagetext.ErrUnsendable) || errors.Is(err, messagetext.ErrTooLong) {
			return nil, invalid("body.business_id", "cannot be rendered for this business: "+err.Error())
		}
		if err != nil {
			return nil, err
		}
		if err := u.queueTest(ctx, to, public, subject, text); err != nil {
			return nil, err
		}
		details := map[string]any{"message_id": public.String(), "business_id": business.String()}
		_, err = u.record(ctx, "campaign.test", targetCampaign, in.ID.String(), strings.TrimSpace(orZero(in.Body.Reason)), details)
		if err != nil {
			return nil, err
		}
		m, err := message(ctx, u, public)
		return &answer[TestMessage]{
			Status: http.StatusAccepted, Location: Prefix + "/messages/" + public.String(),
			Body: TestMessage{
				Message: m.Message, RenderedFor: business,
				SendsAt: a.quietUntil(p.channel, a.opts.Clock(), recipienttime.Recipient{Phone: address}),
			},
		}, err
	})
}

// sampleFor is the recipient that a test message is rendered for.
func (u *unit) sampleFor(ctx context.Context, p plan, business uuid.UUID) (pgstore.Recipient, uuid.UUID, error) {
	if business == uuid.Nil {
		const few = 50 // who would be skipped makes way for who would not
		list, err := pgstore.SampleAudience(ctx, u, p.channel, p.audience, few)
		if err != nil {
			return pgstore.Recipient{}, business, err
		}
		if business, err = sampleBusiness(ctx, u, list); err != nil {
			return pgstore.Recipient{}, business, err
		}
		if business == uuid.Nil {
			return pgstore.Recipient{}, business, invalid("body.business_id", "is needed: nobody is in the audience")
		}
	}
	r, _, err := pgstore.RecipientByID(ctx, u, p.channel, business, p.audience)
	if errors.Is(err, pgstore.ErrNoBusiness) {
		return r, business, invalid("body.business_id", "is no business")
	}
	return r, business, err
}

// queueTest stores a message to an address of the operators', outside of any campaign, and the job that sends it.
func (u *unit) queueTest(ctx context.Context, to pgstore.Address, public uuid.UUID, subject, text string) error {
	contact, created, err := pgstore.TestContact(ctx, u, to)
	if errors.Is(err, pgstore.ErrOptedOut) {
		return huma.Error409Conflict("the address has opted out: no test goes to it before the contact is reopened")
	}
	if err != nil {
		return err
	}
	suppressed, err := pgstore.Suppressed(ctx, u, to)
	if err != nil {
		return err
	}
	if suppressed {
		return huma.Error409Conflict("the address is suppressed: no test goes to it before the suppression is lifted")
	}
	if created {
		if err := u.requeue(ctx, []string{to.Channel + ":" + to.Address}); err != nil {
			return err
		}
	}
	var id int64
	err = u.QueryRow(ctx, `
		INSERT INTO messages (public_id, business_id, channel, address, subject, body, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		RETURNING id`, public, contact, to.Channel, to.Address, subject, text, reasonTest).Scan(&id)
	if err != nil {
		return err
	}
	return u.enqueue(ctx, jobs.SendArgs{MessageID: id, Channel: to.Channel})
}
