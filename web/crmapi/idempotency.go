package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"
)

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255
	// erasedAnswer is what an erasure leaves of an answer that is kept.
	erasedAnswer = "{}"
)

func validIdempotencyKey(key string) bool {
	return key != "" && len(key) <= maxIdempotencyKey &&
		!strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })
}

type repeatableKey struct{}

// repeatable is a POST that carries an Idempotency-Key.
type repeatable struct {
	key  string
	hash []byte
}

// stored is the answer that a key got.
type stored struct {
	status   int
	Location string          `json:"location,omitempty"`
	Body     json.RawMessage `json:"body"`
}

// claim takes a key for the rest of the transaction. It returns the answer of the request that had the key
// before, or nil when this request is the first; an error when the key is in use right now or was used for
// something else.
//
// The lock ends with the transaction, however that ends: a process that dies leaves no key taken, and since the
// answer is stored in the transaction that has the effect, there is never one without the other.
func (r repeatable) claim(ctx context.Context, tx pgx.Tx, tokenID int64) (*stored, error) {
	var free bool
	err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended($1::bigint || ':' || $2::text, 7206814))`,
		tokenID, r.key).Scan(&free)
	if err != nil {
		return nil, fmt.Errorf("lock an idempotency key: %w", err)
	}
	if !free {
		return nil, huma.ErrorWithHeaders(
			huma.Error409Conflict("a request with this Idempotency-Key is in progress: try again in a second"),
			http.Header{"Retry-After": {"1"}})
	}
	// In a statement of its own: its snapshot must be younger than the lock.
	var s stored
	var same bool
	var response []byte
	err = tx.QueryRow(ctx, `
		SELECT request_hash = $3, status, response
		FROM idempotency_keys
		WHERE token_id = $1 AND key = $2 AND created_at > now() - interval '1 day'`, tokenID, r.key, r.hash).
		Scan(&same, &s.status, &response)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil // no answer yet is no error
	case err != nil:
		return nil, fmt.Errorf("read an idempotency key: %w", err)
	case !same:
		return nil, huma.Error422UnprocessableEntity("this Idempotency-Key was used for another request",
			&huma.ErrorDetail{Location: "header." + idempotencyHeader, Message: "was used for another request"})
	}
	if err := json.Unmarshal(response, &s); err != nil {
		return nil, fmt.Errorf("read a kept answer: %w", err)
	}
	if string(s.Body) == erasedAnswer {
		return nil, huma.Error409Conflict("the answer to this Idempotency-Key was erased, with whom it was about: what was asked for was done",
			&huma.ErrorDetail{Location: "header." + idempotencyHeader, Message: "its answer was erased"})
	}
	return &s, nil
}

// keep stores the answer. Errors are not stored: they changed nothing, so the request may be repeated.
func (r repeatable) keep(ctx context.Context, tx pgx.Tx, tokenID int64, s stored) error {
	response, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keep an answer: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO idempotency_keys AS k (token_id, key, request_hash, status, response)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (token_id, key) DO UPDATE
		SET request_hash = EXCLUDED.request_hash, status = EXCLUDED.status, response = EXCLUDED.response, created_at = now()`,
		tokenID, r.key, r.hash, s.status, response)
	if err != nil {
		return fmt.Errorf("keep an idempotency key: %w", err)
	}
	return nil
}
