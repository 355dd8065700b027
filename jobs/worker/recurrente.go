package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
)

// charge and subscription events share one shape; what an event lacks stays empty.
type recurrenteEvent struct {
	ID            string             `json:"id"`
	EventType     string             `json:"event_type"`
	CreatedAt     string             `json:"created_at"`
	AmountInCents json.Number        `json:"amount_in_cents"`
	Amount        json.Number        `json:"amount"`
	Currency      string             `json:"currency"`
	SandboxID     string             `json:"sandbox_id"`
	LiveMode      *bool              `json:"live_mode"`
	CheckoutID    string             `json:"checkout_id"`
	Checkout      recurrenteCheckout `json:"checkout"`
	Payment       recurrentePayment  `json:"payment"`
	Metadata      map[string]any     `json:"metadata"`
	Subscription  struct {
		ID string `json:"id"`
	} `json:"subscription"`
}

type recurrenteCheckout struct {
	ID           string `json:"id"`
	LiveMode     *bool  `json:"live_mode"`
	LatestIntent struct {
		ID string `json:"id"`
	} `json:"latest_intent"`
	Payment  recurrentePayment `json:"payment"`
	Metadata map[string]any    `json:"metadata"`
}

type recurrentePayment struct {
	ID          string `json:"id"`
	Paymentable struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"paymentable"`
}

// parseRecurrente reads a delivery, flat or with all but its name and time wrapped in "data".
func parseRecurrente(body []byte) (recurrenteEvent, error) {
	var wrapped struct {
		recurrenteEvent
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &wrapped); err != nil {
		return recurrenteEvent{}, fmt.Errorf("parse a Recurrente delivery: %w", err)
	}
	e := wrapped.recurrenteEvent
	if len(wrapped.Data) == 0 || string(wrapped.Data) == "null" {
		return e, nil
	}
	inner := e
	if err := json.Unmarshal(wrapped.Data, &inner); err != nil {
		return recurrenteEvent{}, fmt.Errorf("parse a Recurrente delivery's data: %w", err)
	}
	if inner.EventType == "" {
		inner.EventType = e.EventType
	}
	return inner, nil
}

// sandbox reports whether a delivery comes from the provider's test mode.
func (e recurrenteEvent) sandbox() bool {
	return e.SandboxID != "" || isFalse(e.LiveMode) || isFalse(e.Checkout.LiveMode)
}

func isFalse(b *bool) bool { return b != nil && !*b }

// clockSkew is how far ahead of us a provider's clock may be; a time beyond it is not believed, since a fact
// from the future would outrank everything that happens until then.
const clockSkew = 5 * time.Minute

// at is when the event occurred: the provider's time where it is there and believable.
func (e recurrenteEvent) at(receivedAt time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, e.CreatedAt)
	if err != nil || t.After(receivedAt.Add(clockSkew)) {
		return receivedAt
	}
	return t
}

// chargeKey is what the several deliveries of one charge have in common.
func (e recurrenteEvent) chargeKey() string {
	for _, k := range []string{e.Checkout.LatestIntent.ID, e.Checkout.ID, e.CheckoutID, e.Payment.ID, e.ID} {
		if k != "" {
			return k
		}
	}
	return ""
}

// subscriptionID is the subscription that a charge pays or that the event is about; "" for none.
func (e recurrenteEvent) subscriptionID() string {
	for _, p := range []recurrentePayment{e.Payment, e.Checkout.Payment} {
		if strings.EqualFold(p.Paymentable.Type, "Subscription") && p.Paymentable.ID != "" {
			return p.Paymentable.ID
		}
	}
	if strings.HasPrefix(e.EventType, "subscription.") && e.ID != "" {
		return e.ID
	}
	return e.Subscription.ID
}

// siteID is the site named when the checkout was made; Nil for none.
func (e recurrenteEvent) siteID() uuid.UUID {
	for _, m := range []map[string]any{e.Checkout.Metadata, e.Metadata} {
		if s, ok := m["site_id"].(string); ok {
			if id, err := uuid.Parse(s); err == nil {
				return id
			}
		}
	}
	return uuid.Nil
}

// site is what a billing event is about.
type site struct {
	id, businessID int64
	public         uuid.UUID
	subscription   *string
}

// findSite finds the site that an event names, else the one with its subscription. When there is none, missing
// is the key to wait for.
func findSite(ctx context.Context, tx pgx.Tx, e recurrenteEvent) (s site, missing string, err error) {
	find := func(where string, arg any) (bool, error) {
		err := tx.QueryRow(ctx, `SELECT id, business_id, public_id, subscription_id FROM sites WHERE `+where, arg).
			Scan(&s.id, &s.businessID, &s.public, &s.subscription)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("find site: %w", err)
		}
		return true, nil
	}
	if id := e.siteID(); id != uuid.Nil {
		found, err := find(`public_id = $1`, id)
		if found || err != nil {
			return s, "", err
		}
		missing = "site:" + id.String()
	}
	if id := cleanKey(e.subscriptionID()); id != "" {
		found, err := find(`subscription_id = $1`, id)
		if found || err != nil {
			return s, "", err
		}
		if missing == "" {
			missing = "subscription:" + id
		}
	}
	if missing == "" {
		missing = "charge:" + cleanKey(e.chargeKey())
	}
	return s, missing, nil
}

// linkSubscription remembers which subscription pays for a site, and wakes what came for it before.
func linkSubscription(ctx context.Context, tx pgx.Tx, s site, id string) (wake []string, err error) {
	id = cleanKey(id)
	if id == "" || s.subscription != nil {
		return nil, nil
	}
	tag, err := tx.Exec(ctx, `
		UPDATE sites
		SET subscription_id = $2, updated_at = now()
		WHERE id = $1 AND subscription_id IS NULL
			AND NOT EXISTS (SELECT 1 FROM sites WHERE subscription_id = $2)`, s.id, id)
	if err != nil {
		return nil, fmt.Errorf("link subscription to site %d: %w", s.id, err)
	}
	if tag.RowsAffected() == 0 {
		return nil, nil
	}
	return requeueMatching(ctx, tx, "subscription:"+id)
}

// billingFact is a fact of a site from a Recurrente delivery.
func billingFact(s site, r receipt, f pgstore.Fact) pgstore.Fact {
	f.BusinessID, f.SiteID, f.Source, f.ReceiptID, f.JobID = s.businessID, s.id, pgstore.SourceWebhook, r.ID, r.JobID
	return f
}
