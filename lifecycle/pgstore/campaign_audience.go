package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Audience is whom a campaign goes to, as campaigns.audience holds it: one of businesses by id, all that match a
// filter, or those to whom another campaign's message failed.
type Audience struct {
	BusinessIDs []uuid.UUID     `json:"business_ids,omitempty"`
	Filter      *BusinessFilter `json:"filter,omitempty"`
	FailedOf    *uuid.UUID      `json:"failed_of,omitempty"` // campaigns.public_id
}

// Where returns conditions on the columns of businesses under an alias, and appends their arguments to args. Contacts
// that exist for test messages are in an audience only where they are named.
func (a Audience) Where(alias string, args *[]any) string {
	add := func(v any) int {
		*args = append(*args, v)
		return len(*args)
	}
	switch {
	case a.FailedOf != nil:
		// Whose outcome is unknown, or held, may have the message: those are for an operator to resolve. Nor is it for
		// those who have it, or are about to get it, by another follow-up.
		return fmt.Sprintf(`%[1]s.id IN (
			SELECT m.business_id
			FROM messages m
			JOIN campaigns o ON o.id = m.campaign_id
			WHERE o.public_id = $%[2]d AND m.state IN ('failed', 'undelivered')
		)
		AND NOT EXISTS (
			SELECT 1
			FROM messages m
			JOIN campaigns o ON o.id = m.campaign_id
			WHERE m.business_id = %[1]s.id AND o.audience ->> 'failed_of' = $%[3]d AND m.state NOT IN ('failed', 'undelivered', 'canceled')
		)`, alias, add(*a.FailedOf), add(a.FailedOf.String()))
	case a.Filter != nil:
		return "NOT " + alias + ".test\n\t\tAND " + a.Filter.Where(alias, args)
	}
	ids := make([]string, len(a.BusinessIDs))
	for i, id := range a.BusinessIDs {
		ids[i] = id.String()
	}
	return fmt.Sprintf("%s.public_id = ANY($%d::text[]::uuid[])", alias, add(ids))
}

// FreezeAudience takes the next part of a campaign's audience: those who match among the next businesses by id, window
// of them at most, so that a call takes the same time however few match. It reports whether the audience is complete.
// A campaign that is neither scheduled nor sending is left alone, and counts as complete.
//
// Businesses that came after the launch are not looked at. Each is looked at once, before the first message is made:
// what the campaign itself changes has no part in whom it goes to.
func FreezeAudience(ctx context.Context, tx pgx.Tx, campaignID int64, window int) (frozen bool, err error) {
	var raw []byte
	var cursor, last int64
	err = tx.QueryRow(ctx, `
		SELECT audience, audience_cursor, COALESCE(fanout_last, 0)
		FROM campaigns
		WHERE id = $1 AND status IN ('scheduled', 'sending') AND frozen_at IS NULL
		FOR NO KEY UPDATE`, campaignID).Scan(&raw, &cursor, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	var a Audience
	if err := json.Unmarshal(raw, &a); err != nil {
		return false, fmt.Errorf("read the audience of campaign %d: %w", campaignID, err)
	}
	upTo, err := windowEnd(ctx, tx, a, cursor, last, window)
	if err != nil {
		return false, fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	args := []any{campaignID, cursor, upTo}
	where := a.Where("b", &args)
	tag, err := tx.Exec(ctx, `
		INSERT INTO campaign_recipients (campaign_id, business_id)
		SELECT $1, b.id
		FROM businesses b
		WHERE b.id > $2 AND b.id <= $3 AND b.erased_at IS NULL AND `+where+`
		ON CONFLICT DO NOTHING`, args...)
	if err != nil {
		return false, fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	frozen = upTo >= last
	_, err = tx.Exec(ctx, `
		UPDATE campaigns
		SET audience_cursor = $2, recipients = recipients + $3, frozen_at = CASE WHEN $4 THEN now() END, updated_at = now()
		WHERE id = $1`, campaignID, upTo, tag.RowsAffected(), frozen)
	if err != nil {
		return false, fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	return frozen, nil
}

// windowEnd is the id up to which this call looks. An audience that is listed is taken at once: its length is bounded.
func windowEnd(ctx context.Context, tx pgx.Tx, a Audience, cursor, last int64, window int) (int64, error) {
	sql, args := `
		SELECT max(id)
		FROM (SELECT id FROM businesses WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3) w`, []any{cursor, last, window}
	switch {
	case a.FailedOf != nil:
		sql = `
			SELECT max(business_id)
			FROM (
				SELECT m.business_id
				FROM messages m
				JOIN campaigns o ON o.id = m.campaign_id
				WHERE o.public_id = $4 AND m.business_id > $1 AND m.business_id <= $2
				ORDER BY m.business_id
				LIMIT $3
			) w`
		args = append(args, *a.FailedOf)
	case a.Filter == nil:
		return last, nil
	}
	var upTo *int64
	err := tx.QueryRow(ctx, sql, args...).Scan(&upTo)
	if err != nil || upTo == nil {
		return last, err
	}
	return *upTo, nil
}
