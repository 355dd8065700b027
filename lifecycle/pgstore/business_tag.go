package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	// MaxTag is how many characters a tag has at most.
	MaxTag = 50
	// MaxTags is how many tags a business has at most.
	MaxTags = 50
)

// NormalizeTag brings a tag to the form in which it is stored: lower case, without space around it or twice in it.
func NormalizeTag(raw string) (string, error) {
	tag := strings.ToLower(strings.Join(strings.Fields(raw), " "))
	switch {
	case tag == "":
		return "", errors.New("is empty")
	case !utf8.ValidString(raw) || strings.ContainsFunc(tag, unicode.IsControl):
		return "", errors.New("contains a control character or broken UTF-8")
	case utf8.RuneCountInString(tag) > MaxTag:
		return "", fmt.Errorf("is longer than %d characters", MaxTag)
	case strings.Contains(tag, ","):
		return "", errors.New("contains a comma, which separates tags in a filter")
	}
	return tag, nil
}

// SetTags gives a business these tags, and takes all others from it. They are normal already (see [NormalizeTag]).
// Where it has just these, nothing is written.
func SetTags(ctx context.Context, tx pgx.Tx, businessID int64, tags []string) error {
	// Two at once take turns: the later one's list is what stays.
	_, err := tx.Exec(ctx, `
		SELECT 1
		FROM businesses
		WHERE id = $1
		FOR NO KEY UPDATE`, businessID)
	if err != nil {
		return fmt.Errorf("tag business %d: %w", businessID, err)
	}
	taken, err := tx.Exec(ctx, `
		DELETE FROM business_tags
		WHERE business_id = $1 AND tag <> ALL($2::text[])`, businessID, tags)
	if err != nil {
		return fmt.Errorf("tag business %d: %w", businessID, err)
	}
	given, err := tx.Exec(ctx, `
		INSERT INTO business_tags (business_id, tag)
		SELECT $1, unnest($2::text[])
		ON CONFLICT DO NOTHING`, businessID, tags)
	if err != nil {
		return fmt.Errorf("tag business %d: %w", businessID, err)
	}
	if taken.RowsAffected()+given.RowsAffected() == 0 {
		return nil
	}
	_, err = tx.Exec(ctx, `
		UPDATE businesses
		SET updated_at = now()
		WHERE id = $1 AND erased_at IS NULL`, businessID)
	if err != nil {
		return fmt.Errorf("tag business %d: %w", businessID, err)
	}
	return nil
}
