package pgstore

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// collectReceipts finds the raw requests that concern the contact: by the person that they name, by what they led to,
// by what they wait for, by the provider's ids of its messages, and, where none of that finds them, by their content.
// One that only a shared address links to it, or that led to facts of somebody else, is somebody else's, too.
//
// A query each: the planner guesses what none of them finds, and of all in one it guesses wrong by orders.
func (e *eraser) collectReceipts(ctx context.Context) error {
	people := make([]string, len(e.addresses))
	for i, a := range e.addresses {
		people[i] = a.Channel + ":" + a.Address
	}
	found := map[string]struct{}{}
	for _, by := range []struct {
		sql  string
		args []any
	}{
		{receiptsOfPeople, []any{people}},
		{receiptsByEffect, []any{e.id}},
		{receiptsThatWait, []any{e.matchKeys(people)}},
		{receiptsByKey, []any{e.keyPrefixes()}},
		{receiptsByContent, []any{e.createdAt, e.needles()}},
	} {
		rows, err := e.tx.Query(ctx, by.sql, by.args...)
		if err != nil {
			return fmt.Errorf("find its receipts: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("find its receipts: %w", err)
		}
		for _, id := range ids {
			found[id] = struct{}{}
		}
	}
	rows, err := e.tx.Query(ctx, `
		SELECT w.id::text
		FROM webhook_events w
		WHERE w.id = ANY($1::text[]::uuid[]) AND w.erased_at IS NULL
			AND (w.contact_key = ANY($2) OR NOT EXISTS (
				SELECT 1
				FROM facts f
				JOIN businesses b ON b.id = f.business_id
				WHERE f.receipt_id = w.id AND f.business_id <> $3 AND b.erased_at IS NULL
			))
		ORDER BY w.id`, slices.Sorted(maps.Keys(found)), people, e.id)
	if err != nil {
		return fmt.Errorf("find its receipts: %w", err)
	}
	if e.receipts, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("find its receipts: %w", err)
	}
	return nil
}

const (
	receiptsOfPeople = `
		SELECT w.id::text
		FROM webhook_events w
		WHERE w.contact_key = ANY($1)`

	receiptsByEffect = `
		SELECT f.receipt_id::text FROM facts f WHERE f.business_id = $1 AND f.receipt_id IS NOT NULL
		UNION
		SELECT i.receipt_id::text FROM inbound_messages i WHERE i.business_id = $1
		UNION
		SELECT p.receipt_id::text FROM payments p WHERE p.business_id = $1 AND p.receipt_id IS NOT NULL`

	receiptsThatWait = `
		SELECT o.receipt_id::text
		FROM receipt_outcomes o
		WHERE o.outcome = 'unmatched' AND o.match_key = ANY($1)`

	// What follows a prefix is ASCII, so its range ends before DEL. The order and the limit, which is never reached, keep
	// each range on the keys' index.
	receiptsByKey = `
		SELECT r.id::text
		FROM unnest($1::text[]) AS k (prefix)
		CROSS JOIN LATERAL (
			SELECT w.id
			FROM webhook_events w
			WHERE w.dedupe_key >= k.prefix COLLATE "C" AND w.dedupe_key < (k.prefix || chr(127)) COLLATE "C"
			ORDER BY w.dedupe_key
			LIMIT 1000
		) r`

	// The index webhook_events_by_content holds these receipts alone.
	receiptsByContent = `
		SELECT w.id::text
		FROM webhook_events w
		CROSS JOIN LATERAL (
			SELECT lower(encode(w.body, 'escape') || ' ' || w.query) AS words
			OFFSET 0 -- once a row, not once a needle
		) said
		WHERE (w.provider = 'recurrente' OR w.contact_key IS NULL) AND w.erased_at IS NULL
			AND w.id >= onward_uuid_floor($1::timestamptz - interval '1 day')
			AND EXISTS (SELECT 1 FROM unnest($2::text[]) AS n (needle) WHERE strpos(said.words, n.needle) > 0)`
)

// keyPrefixes are what the dedupe keys of receipts about its messages begin with (web/webhook, web/track).
func (e *eraser) keyPrefixes() []string {
	var keys []string
	for _, m := range e.messages {
		if m.sid != nil {
			keys = append(keys, "ts:"+*m.sid+":")
		}
		for _, what := range []string{"o", "c", "u"} {
			keys = append(keys, "tk:"+what+":"+m.public.String()+":")
		}
	}
	return keys
}

// matchKeys are the keys by which receipts may wait for the contact or what belongs to it.
func (e *eraser) matchKeys(people []string) []string {
	keys := append([]string{}, people...)
	for _, m := range e.messages {
		keys = append(keys, "message:"+m.public.String())
		if m.sid != nil {
			keys = append(keys, "message:"+*m.sid)
		}
	}
	for _, s := range e.sites {
		keys = append(keys, "site:"+s.public.String())
		if s.subscription != nil {
			keys = append(keys, "subscription:"+*s.subscription)
		}
	}
	return keys
}

// needles are what betrays, in lower case, that a raw request speaks of the contact.
func (e *eraser) needles() []string {
	list := []string{e.did.PublicID.String()}
	for _, a := range e.addresses {
		list = append(list, a.Address, url.QueryEscape(a.Address))
	}
	for _, m := range e.messages {
		list = append(list, m.public.String())
		if m.sid != nil {
			list = append(list, *m.sid)
		}
	}
	for _, s := range e.sites {
		list = append(list, s.public.String())
		if s.subscription != nil {
			list = append(list, *s.subscription)
		}
	}
	for i := range list {
		list[i] = strings.ToLower(list[i])
	}
	return list
}

func (e *eraser) blankReceipts(ctx context.Context) error {
	n, err := blankReceipts(ctx, e.tx, e.receipts)
	e.did.Receipts = n
	return err
}

// BlankReceipt takes everything from a receipt that may speak of a person. It is for one that concerns a contact
// which was erased before the receipt came; it stays applied, or whatever came of it.
func BlankReceipt(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	if _, err := blankReceipts(ctx, tx, []string{id.String()}); err != nil {
		return fmt.Errorf("blank receipt %s: %w", id, err)
	}
	return nil
}

// blankReceipts keeps the rows: ids, provider, kind, key and time. One that waits for a match, or failed, has nothing
// left to be tried with.
func blankReceipts(ctx context.Context, tx pgx.Tx, ids []string) (int, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE webhook_events
		SET query = '', headers = '{}', body = '', contact_key = NULL, erased_at = now()
		WHERE id = ANY($1::text[]::uuid[]) AND erased_at IS NULL`, ids)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE receipt_outcomes
		SET outcome = 'ignored', detail = 'erased', match_key = NULL
		WHERE receipt_id = ANY($1::text[]::uuid[]) AND outcome IN ('unmatched', 'failed')`, ids)
	return int(tag.RowsAffected()), err
}
