package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Querier reads: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Business is a contact as stored; "" is a field that is not set.
type Business struct {
	ID         int64
	PublicID   uuid.UUID
	ExternalID string
	Name       string
	Phone      string // E.164
	Email      string
	City       string
	Country    string
	Timezone   string
	Category   string
	Tags       []string // in alphabetical order

	Contact      lifecycle.Status
	Website      lifecycle.Status
	Subscription lifecycle.Status
	Ticket       lifecycle.Status

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Addresses lists where the business can be written to.
func (b Business) Addresses() []Address {
	var list []Address
	if b.Phone != "" {
		list = append(list, Address{Channel: "sms", Address: b.Phone})
	}
	if b.Email != "" {
		list = append(list, Address{Channel: "email", Address: b.Email}.Normal())
	}
	return list
}

// MatchKeys lists the keys by which receipts wait for this business (see [RequeueMatching]).
func (b Business) MatchKeys() []string { return matchKeys(b.Phone, b.Email) }

func matchKeys(phone, email string) []string {
	var keys []string
	for _, a := range (Business{Phone: phone, Email: email}).Addresses() {
		keys = append(keys, a.Channel+":"+a.Address)
	}
	return keys
}

// businessColumns are those that [scanBusiness] reads.
const businessColumns = `businesses.id, public_id, external_id, name, phone, email, city, country, timezone, category,
	contact_status, website_status, subscription_status, ticket_status, created_at, businesses.updated_at,
	ARRAY(SELECT t.tag FROM business_tags t WHERE t.business_id = businesses.id ORDER BY t.tag)`

func scanBusiness(row pgx.CollectableRow) (Business, error) { return scanBusinessAnd(row) }

// scanBusinessAnd reads further columns behind those of a business.
func scanBusinessAnd(row pgx.CollectableRow, more ...any) (Business, error) {
	var b Business
	var external, phone, email, city, country, zone, category *string
	err := row.Scan(append([]any{
		&b.ID, &b.PublicID, &external, &b.Name, &phone, &email, &city, &country, &zone, &category,
		&b.Contact, &b.Website, &b.Subscription, &b.Ticket, &b.CreatedAt, &b.UpdatedAt, &b.Tags,
	}, more...)...)
	b.ExternalID, b.Phone, b.Email, b.City = orZero(external), orZero(phone), orZero(email), orZero(city)
	b.Country, b.Timezone, b.Category = orZero(country), orZero(zone), orZero(category)
	b.CreatedAt, b.UpdatedAt = b.CreatedAt.UTC(), b.UpdatedAt.UTC()
	return b, err
}

// BusinessByID reads one business by its inner id; [ErrNoBusiness] when there is none.
func BusinessByID(ctx context.Context, q Querier, id int64) (Business, error) {
	return oneBusiness(ctx, q, `id = $1`, id)
}

// BusinessByPublicID reads one business by the id that leaves the system; [ErrNoBusiness] when there is none.
func BusinessByPublicID(ctx context.Context, q Querier, id uuid.UUID) (Business, error) {
	return oneBusiness(ctx, q, `public_id = $1`, id)
}

func oneBusiness(ctx context.Context, q Querier, where string, arg any) (Business, error) {
	rows, err := q.Query(ctx, `
		SELECT `+businessColumns+`
		FROM businesses
		WHERE `+where, arg)
	if err != nil {
		return Business{}, fmt.Errorf("read business: %w", err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, scanBusiness)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, fmt.Errorf("read business %v: %w", arg, ErrNoBusiness)
	}
	if err != nil {
		return b, fmt.Errorf("read business: %w", err)
	}
	return b, nil
}

// orZero maps NULL to a zero value.
func orZero[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}
