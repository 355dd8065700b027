package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nyaruka/phonenumbers"
)

// NewBusiness is a contact as somebody gives it. Only Name is needed.
type NewBusiness struct {
	ExternalID string // the caller's own id: repeating it finds the business again
	Name       string
	Phone      string // any spelling that Country, or a leading +, makes clear
	Email      string
	City       string
	Country    string // ISO 3166-1 alpha-2
	Timezone   string // IANA
	Category   string
}

// BusinessChanges names what to change: nil leaves a field, a pointer to "" clears it. Statuses are not among
// them: they follow from facts.
type BusinessChanges struct {
	ExternalID, Name, Phone, Email, City, Country, Timezone, Category *string
}

// UpsertBusiness stores a business, without facts and so with the statuses of none. One whose ExternalID is
// known already is returned as it is, unchanged. Invalid input comes back as [FieldErrors].
//
// Receipts may be waiting for its addresses: the caller passes [Business.MatchKeys] to [RequeueMatching].
func UpsertBusiness(ctx context.Context, tx pgx.Tx, in NewBusiness) (id int64, created bool, err error) {
	if err := normalizeBusiness(&in); err != nil {
		return 0, false, err
	}
	public, err := uuid.NewV7()
	if err != nil {
		return 0, false, fmt.Errorf("make an id: %w", err)
	}
	// Before any row: a job that looks for the business by such a key locks the key first, too.
	if err := LockMatchKeys(ctx, tx, matchKeys(in.Phone, in.Email)); err != nil {
		return 0, false, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO businesses (public_id, external_id, name, phone, email, city, country, timezone, category)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (external_id) DO NOTHING
		RETURNING id`,
		public, orNil(in.ExternalID), in.Name, orNil(in.Phone), orNil(in.Email), orNil(in.City), orNil(in.Country),
		orNil(in.Timezone), orNil(in.Category)).Scan(&id)
	if err == nil {
		return id, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, false, fmt.Errorf("insert business: %w", err)
	}
	err = tx.QueryRow(ctx, `
		SELECT id
		FROM businesses
		WHERE external_id = $1`, in.ExternalID).Scan(&id)
	if err != nil {
		return 0, false, fmt.Errorf("find business by external id: %w", err)
	}
	return id, false, nil
}

// UpdateBusiness changes what a person wrote of a business and returns it as it was and as it is then; what changes
// nothing leaves updated_at alone. A phone is read by the country that the business has afterwards. Invalid input comes
// back as [FieldErrors]. The business stays locked, so that what follows in the transaction sees it so.
//
// Receipts may be waiting for a new address: the caller passes [Business.MatchKeys] to [RequeueMatching].
func UpdateBusiness(ctx context.Context, tx pgx.Tx, id int64, changes BusinessChanges) (before, after Business, err error) {
	b, err := BusinessByID(ctx, tx, id)
	if err != nil {
		return b, b, err
	}
	// Only what changes is checked: an old value that new rules would refuse must not lock the others.
	in := NewBusiness{Name: b.Name, Country: b.Country}
	for _, c := range []struct {
		to   *string
		from *string
	}{
		{&in.ExternalID, changes.ExternalID},
		{&in.Name, changes.Name},
		{&in.Phone, changes.Phone},
		{&in.Email, changes.Email},
		{&in.City, changes.City},
		{&in.Country, changes.Country},
		{&in.Timezone, changes.Timezone},
		{&in.Category, changes.Category},
	} {
		if c.from != nil {
			*c.to = *c.from
		}
	}
	if err := normalizeBusiness(&in); err != nil {
		return b, b, err
	}
	if err := LockMatchKeys(ctx, tx, matchKeys(in.Phone, in.Email)); err != nil {
		return b, b, err
	}
	var erased bool
	err = tx.QueryRow(ctx, `
		SELECT erased_at IS NOT NULL
		FROM businesses
		WHERE id = $1
		FOR NO KEY UPDATE`, id).Scan(&erased)
	if err != nil {
		return b, b, fmt.Errorf("lock business %d: %w", id, err)
	}
	if erased {
		return b, b, ErrErased
	}
	if before, err = BusinessByID(ctx, tx, id); err != nil {
		return b, b, err
	}
	// What was not named is left to the row, which may have changed since it was first read.
	_, err = tx.Exec(ctx, `
		UPDATE businesses
		SET external_id = CASE WHEN $2 THEN $3 ELSE external_id END,
			name = CASE WHEN $4 THEN $5 ELSE name END,
			phone = CASE WHEN $6 THEN $7 ELSE phone END,
			email = CASE WHEN $8 THEN $9 ELSE email END,
			city = CASE WHEN $10 THEN $11 ELSE city END,
			country = CASE WHEN $12 THEN $13 ELSE country END,
			timezone = CASE WHEN $14 THEN $15 ELSE timezone END,
			category = CASE WHEN $16 THEN $17 ELSE category END,
			updated_at = now()
		WHERE id = $1 AND (
			$2 AND external_id IS DISTINCT FROM $3
			OR $4 AND name IS DISTINCT FROM $5
			OR $6 AND phone IS DISTINCT FROM $7
			OR $8 AND email IS DISTINCT FROM $9
			OR $10 AND city IS DISTINCT FROM $11
			OR $12 AND country IS DISTINCT FROM $13
			OR $14 AND timezone IS DISTINCT FROM $15
			OR $16 AND category IS DISTINCT FROM $17
		)`, id,
		changes.ExternalID != nil, orNil(in.ExternalID), changes.Name != nil, in.Name, changes.Phone != nil, orNil(in.Phone),
		changes.Email != nil, orNil(in.Email), changes.City != nil, orNil(in.City), changes.Country != nil, orNil(in.Country),
		changes.Timezone != nil, orNil(in.Timezone), changes.Category != nil, orNil(in.Category))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.ConstraintName == "businesses_external_id_key" {
		return before, before, ErrExternalIDTaken
	}
	if err != nil {
		return before, before, fmt.Errorf("update business %d: %w", id, err)
	}
	after, err = BusinessByID(ctx, tx, id)
	return before, after, err
}

// ErrErased says that a business was erased: nothing is written of it any more.
var ErrErased = errors.New("the business was erased")

// ErrExternalIDTaken says that another business has the external id.
var ErrExternalIDTaken = errors.New("another business has this external_id")

// normalizeBusiness checks every field and brings it to the form in which it is stored.
func normalizeBusiness(b *NewBusiness) error {
	var wrong FieldErrors
	text := func(field string, v *string, limit int) bool {
		*v = strings.TrimSpace(*v)
		var message string
		switch {
		case utf8.RuneCountInString(*v) > limit:
			message = fmt.Sprintf("is longer than %d characters", limit)
		case strings.ContainsRune(*v, 0) || !utf8.ValidString(*v):
			message = "contains a zero byte or broken UTF-8"
		default:
			return true
		}
		wrong = append(wrong, FieldError{field, message})
		return false
	}
	parsed := func(field string, v *string, parse func(string) (string, error)) {
		if *v == "" {
			return
		}
		normal, err := parse(*v)
		if err != nil {
			wrong = append(wrong, FieldError{field, err.Error()})
			return
		}
		*v = normal
	}
	if text("name", &b.Name, MaxName) && b.Name == "" {
		wrong = append(wrong, FieldError{"name", "is empty"})
	}
	text("external_id", &b.ExternalID, MaxExternalID)
	text("city", &b.City, MaxCity)
	text("category", &b.Category, MaxCategory)
	countryOK := true
	parsed("country", &b.Country, func(s string) (string, error) {
		s, err := normalizeCountry(s)
		countryOK = err == nil
		return s, err
	})
	if text("timezone", &b.Timezone, MaxTimezone) {
		parsed("timezone", &b.Timezone, normalizeTimezone)
	}
	if text("email", &b.Email, MaxEmail) {
		parsed("email", &b.Email, NormalizeEmail)
	}
	// By a country that does not exist nothing can be read: one error is enough.
	if text("phone", &b.Phone, MaxPhone) && countryOK {
		parsed("phone", &b.Phone, func(s string) (string, error) { return NormalizePhone(s, b.Country) })
	}
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

func normalizeCountry(s string) (string, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if !phonenumbers.GetSupportedRegions()[s] {
		return "", errors.New("is not the ISO 3166-1 alpha-2 code of a country, such as GT or US")
	}
	return s, nil
}

func normalizeTimezone(s string) (string, error) {
	// Go reads "Local" as the zone of the server, which is nobody's.
	if _, err := time.LoadLocation(s); err != nil || strings.EqualFold(s, "local") {
		return "", errors.New("is not an IANA time zone, such as America/Guatemala")
	}
	return s, nil
}
