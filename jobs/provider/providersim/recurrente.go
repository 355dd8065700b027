package providersim

import (
	"maps"
	"strings"
	"time"
)

// recurrenteVersion is the api_version of Recurrente's samples.
const recurrenteVersion = "2024-04-24"

// Subscription is whom a subscription event is about. Only ID is needed.
type Subscription struct {
	ID                          string // su_…
	SiteID                      string // what checkout metadata names
	CustomerEmail, CustomerName string
	ProductID                   string
	At                          time.Time // created_at; zero is now
	Sandbox                     bool
}

// SubscriptionEvent sends "subscription.<kind>": create, past_due, pause,
// unpause, reactivate, update, cancel, or one of the spellings that were also
// seen (paused, cancelled, canceled). It returns the id of the delivery.
func (s *Sim) SubscriptionEvent(kind string, sub Subscription) (string, error) {
	event := "subscription." + strings.TrimPrefix(kind, "subscription.")
	body := map[string]any{
		"api_version":    recurrenteVersion,
		"created_at":     s.createdAt(event, sub.ID, sub.At),
		"customer_email": or(sub.CustomerEmail, "cliente@example.com"),
		"customer_id":    "us_" + s.id("customer", sub.ID)[:8],
		"customer_name":  or(sub.CustomerName, "Pedro Pérez"),
		"event_type":     event,
		"id":             sub.ID,
		"payment": map[string]any{
			"id":          "pa_" + s.id("payment of", sub.ID)[:8],
			"paymentable": paymentable("Subscription", sub.ID),
		},
		"product": map[string]any{"id": or(sub.ProductID, "prod_"+s.id("product")[:8]), "name": "Plan de Prueba", "status": "active", "metadata": metadata(sub.SiteID, nil)},
	}
	if sub.Sandbox {
		body["sandbox_id"], body["live_mode"] = "sbx_"+s.id("sandbox")[:8], false
	}
	return s.RecurrenteEvent(event, body)
}

// Charge is one payment, or one failed attempt at it. Ids that are empty are
// made up.
type Charge struct {
	IntentID       string // in_…, the unified event's id
	CheckoutID     string // ch_…
	PaymentID      string // pa_…
	SubscriptionID string // su_…; empty for a payment that is made once
	SiteID         string // in checkout.metadata.site_id
	Metadata       map[string]string
	AmountInCents  int64  // 0 means 49900
	Currency       string // GTQ unless set
	Bank           bool   // by bank transfer instead of card
	Failed         bool
	At             time.Time // created_at; zero is now
	Sandbox        bool
}

// Charge sends what Recurrente sends for one payment: the unified event
// (intent.succeeded) and its legacy twin (payment_intent.succeeded), as two
// deliveries with ids of their own, in no certain order. It returns the ids of
// both deliveries, unified first, and the charge with its ids filled in.
func (s *Sim) Charge(c Charge) (ids [2]string, filled Charge, err error) {
	n := s.ordinal("charge")
	c.IntentID = or(c.IntentID, "in_"+s.id("intent", n)[:12])
	c.CheckoutID = or(c.CheckoutID, "ch_"+s.id("checkout", n)[:12])
	c.PaymentID = or(c.PaymentID, "pa_"+s.id("payment", n)[:12])
	c.Currency = or(c.Currency, "GTQ")
	if c.AmountInCents == 0 {
		c.AmountInCents = 49900
	}
	status, unified, legacy := "succeeded", "intent.succeeded", "payment_intent.succeeded"
	legacyID := "pa_" + s.id("legacy", n)[:12]
	if c.Failed {
		status, unified, legacy = "failed", "intent.failed", "payment_intent.failed"
	}
	if c.Bank {
		legacy, legacyID = "bank_transfer_intent."+status, "ba_"+s.id("legacy", n)[:12]
	}

	first := s.chargeBody(c, unified)
	first["id"], first["type"], first["status"], first["raw_status"] = c.IntentID, "payment", status, status
	second := s.chargeBody(c, legacy)
	second["id"], second["api_version"], second["live_mode"] = legacyID, recurrenteVersion, !c.Sandbox
	second["failure_reason"] = nil
	if c.Failed {
		first["details"] = map[string]any{"failure_reason": failureReason}
		second["failure_reason"] = failureReason
	}
	if ids[0], err = s.RecurrenteEvent(unified, first); err != nil {
		return ids, c, err
	}
	ids[1], err = s.RecurrenteEvent(legacy, second)
	return ids, c, err
}

const failureReason = "Tu banco ha rechazado la transacción. Llama a tu banco y pide que autoricen esta transacción."

// Refund sends refund.create for a charge. Its shape follows the charge's: no
// sample of Recurrente's was at hand.
func (s *Sim) Refund(c Charge, amountInCents int64) (string, error) {
	body := s.chargeBody(c, "refund.create")
	body["id"] = "re_" + s.id("refund", s.ordinal("refund"))[:12]
	body["api_version"], body["status"], body["amount_in_cents"] = recurrenteVersion, "succeeded", amountInCents
	return s.RecurrenteEvent("refund.create", body)
}

// RecurrenteEvent sends any event, with payload as its JSON body. It returns the
// id of the delivery (svix-id).
func (s *Sim) RecurrenteEvent(event string, payload any) (string, error) {
	return s.svix("recurrente", s.opts.RecurrenteSecret, pathRecurrente, event, payload)
}

func (s *Sim) chargeBody(c Charge, event string) map[string]any {
	createdAt := s.createdAt(event, c.IntentID, c.At)
	kind, id := "OneTimePayment", "on_"+strings.TrimPrefix(c.PaymentID, "pa_")
	if c.SubscriptionID != "" {
		kind, id = "Subscription", c.SubscriptionID
	}
	payment := map[string]any{"id": c.PaymentID, "paymentable": paymentable(kind, id)}
	checkoutStatus := "paid"
	if c.Failed {
		checkoutStatus = "unpaid"
	}
	body := map[string]any{
		"amount_in_cents": c.AmountInCents,
		"checkout": map[string]any{
			"currency":       c.Currency,
			"id":             c.CheckoutID,
			"latest_intent":  map[string]any{"id": c.IntentID, "type": "PaymentIntent", "created_at": createdAt, "data": map[string]any{}},
			"live_mode":      !c.Sandbox,
			"metadata":       metadata(c.SiteID, c.Metadata),
			"payment":        payment,
			"status":         checkoutStatus,
			"total_in_cents": c.AmountInCents,
		},
		"created_at": createdAt,
		"currency":   c.Currency,
		"customer":   map[string]any{"email": "cliente@example.com", "full_name": "Pedro Pérez", "id": "us_" + s.id("customer", id)[:8]},
		"event_type": event,
		"payment":    payment,
		"product":    map[string]any{"id": "prod_" + s.id("product")[:8]},
	}
	if c.Sandbox {
		body["sandbox_id"] = "sbx_" + s.id("sandbox")[:8]
	}
	return body
}

// createdAt writes a time as Recurrente does: now as UTC, now at the offset of
// Guatemala.
func (s *Sim) createdAt(event, id string, at time.Time) string {
	if at.IsZero() {
		at = s.opts.Now()
	}
	zone := time.UTC
	if chance(s.draws("zone", event, id), 0.5) {
		zone = time.FixedZone("", -6*60*60)
	}
	return at.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
}

func paymentable(kind, id string) map[string]any {
	return map[string]any{"type": kind, "id": id, "address": nil, "phone_number": nil, "tax_id": nil, "tax_name": nil}
}

func metadata(siteID string, more map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, more)
	if siteID != "" {
		out["site_id"] = siteID
	}
	return out
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
