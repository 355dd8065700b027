package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/jobs/messagetext"
	"onward/jobs/recipienttime"
	"onward/jobs/segments"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// maxAnswer is the longest text of a single message, in characters: Twilio's limit.
const maxAnswer = messagetext.MaxSMS

type createMessageInput struct {
	Body struct {
		BusinessID uuid.UUID  `json:"business_id" format:"uuid"`
		Channel    string     `json:"channel" enum:"sms"`
		Body       string     `json:"body" minLength:"1" doc:"Sent as it stands, at most 1600 characters"`
		InReplyTo  *uuid.UUID `json:"in_reply_to,omitempty" format:"uuid" nullable:"true" doc:"A reply of the business: the message goes to where it came from. Without it, to the business's phone"`
	}
}

// CreatedMessage is a single message that is queued.
type CreatedMessage struct {
	Message
	SegmentCount SegmentCount `json:"segment_count"`
	SendsAt      *time.Time   `json:"sends_at" doc:"Now, or when the recipient's quiet hours end; null where they never do"`
}

func (a *API) registerMessageCreation(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/messages", id: "createMessage", tag: tagMessages, status: http.StatusCreated,
		summary: "Send one text to one business, such as an answer",
		description: "A send like a campaign's, with its guards: nothing goes to who opted out, not even when that happens after this answer; " +
			"quiet hours and the sender's pace hold; an unknown outcome is never repeated. It goes before what campaigns have queued. " +
			"All that the business wrote and that waits for an answer counts as answered. " +
			"409 where the address is suppressed, the business has none or was erased. Send an Idempotency-Key: a second message would be a second text.",
	}, a.createMessage)
}

func (a *API) createMessage(ctx context.Context, in *createMessageInput) (*answer[CreatedMessage], error) {
	text := strings.TrimSpace(in.Body.Body)
	switch n := utf8.RuneCountInString(text); {
	case text == "":
		return nil, invalid("body.body", "is empty")
	case n > maxAnswer:
		return nil, invalid("body.body", fmt.Sprintf("has %d characters; an SMS has at most %d", n, maxAnswer))
	}
	if a.opts.SMSFrom == "" {
		return nil, huma.Error409Conflict("no SMS can be sent: no sender is configured (TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID)")
	}
	public, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[CreatedMessage], error) {
		who, err := u.correspondent(ctx, in.Body.BusinessID, in.Body.InReplyTo)
		if err != nil {
			return nil, err
		}
		var id int64
		err = u.QueryRow(ctx, `
			INSERT INTO messages (public_id, business_id, channel, address, body)
			VALUES ($1, $2, $3, $4, $5)
			RETURNING id`, public, who.business, jobs.ChannelSMS, who.address, text).Scan(&id)
		if err != nil {
			return nil, fmt.Errorf("create message: %w", err)
		}
		if who.reply != nil {
			if err := u.handle(ctx, *who.reply, &id); err != nil {
				return nil, fmt.Errorf("note an answer: %w", err)
			}
		}
		details := map[string]any{"business_id": in.Body.BusinessID.String()}
		if in.Body.InReplyTo != nil {
			details["in_reply_to"] = in.Body.InReplyTo.String()
		}
		if _, err := u.record(ctx, "message.create", targetMessage, public.String(), "", details); err != nil {
			return nil, err
		}
		if err := u.enqueue(ctx, jobs.SendArgs{MessageID: id, Channel: jobs.ChannelSMS}); err != nil {
			return nil, err
		}
		m, err := message(ctx, u, public)
		out := CreatedMessage{Message: m.Message, SendsAt: a.quietUntil(jobs.ChannelSMS, a.opts.Clock(), who.recipient)}
		out.SegmentCount.Segments, out.SegmentCount.Encoding, out.SegmentCount.Characters = segments.Count(text)
		return &answer[CreatedMessage]{Status: http.StatusCreated, Location: Prefix + "/messages/" + public.String(), Body: out}, err
	})
}

// correspondent is whom a single message goes to.
type correspondent struct {
	business  int64
	address   string
	recipient recipienttime.Recipient
	reply     *replyRow // the newest that it answers, if any
}

// correspondent finds a business and its address, and refuses where nothing may be sent to it. The guard at the dispatch
// decides; this only spares whoever asks a message that would be canceled.
func (u *unit) correspondent(ctx context.Context, id uuid.UUID, inReplyTo *uuid.UUID) (correspondent, error) {
	var c correspondent
	var phone, zone, country *string
	var optedOut, erased bool
	// Locked as the message that will name it locks it, so that an erasure comes before this or after it.
	err := u.QueryRow(ctx, `
		SELECT id, phone, timezone, country, opted_out, erased_at IS NOT NULL
		FROM businesses
		WHERE public_id = $1
		FOR KEY SHARE`, id).Scan(&c.business, &phone, &zone, &country, &optedOut, &erased)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return c, invalid("body.business_id", "is no business")
	case err != nil:
		return c, fmt.Errorf("read business: %w", err)
	case erased:
		return c, huma.Error409Conflict("the business was erased: nothing may be sent to it")
	}
	c.address = orZero(phone)
	if err := u.answered(ctx, &c, inReplyTo); err != nil {
		return c, err
	}
	if c.address == "" {
		return c, huma.Error409Conflict("the business has no phone: nothing can be sent to it by SMS")
	}
	c.recipient = recipienttime.Recipient{Timezone: orZero(zone), Country: orZero(country), Phone: c.address}
	if optedOut {
		return c, huma.Error409Conflict("the business has opted out: nothing is sent to it before the contact is reopened")
	}
	suppressed, err := pgstore.Suppressed(ctx, u, pgstore.Address{Channel: jobs.ChannelSMS, Address: c.address})
	if err != nil {
		return c, err
	}
	if suppressed {
		return c, huma.Error409Conflict("the address is suppressed: nothing is sent to it before the suppression is lifted")
	}
	return c, nil
}

// answered finds the newest message of the business, which the answer is to, or the one that is named.
func (u *unit) answered(ctx context.Context, c *correspondent, inReplyTo *uuid.UUID) error {
	if inReplyTo == nil {
		rows, err := u.Query(ctx, replyQuery+`i.business_id = $1 AND i.channel = $2 AND i.action = 'reply' ORDER BY i.id DESC LIMIT 1`, c.business, jobs.ChannelSMS)
		if err != nil {
			return fmt.Errorf("find what is answered: %w", err)
		}
		r, err := pgx.CollectExactlyOneRow(rows, scanReply)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // a text out of the blue
		}
		if err != nil {
			return fmt.Errorf("find what is answered: %w", err)
		}
		if r.Open {
			c.reply = &r
		}
		return nil
	}
	r, err := reply(ctx, u, *inReplyTo)
	if status, ok := errors.AsType[huma.StatusError](err); ok && status.GetStatus() == http.StatusNotFound || err == nil && orZero(r.businessID) != c.business {
		return invalid("body.in_reply_to", "is no reply of this business")
	}
	if err != nil {
		return err
	}
	if r.Channel != jobs.ChannelSMS {
		return invalid("body.in_reply_to", "came by another channel")
	}
	c.reply, c.address = &r, r.From
	return nil
}
