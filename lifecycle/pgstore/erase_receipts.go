package pgstore

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// collectReceipts finds the raw requests that concern the contact: by the person that they name, by what they led to,
// by what they wait for, by the provider's ids of its messages, and, where none of that finds them, by their content.
// One that only a shared address links to it, or that led to facts of somebody else, is somebody else's, too.
func (e *eraser) collectReceipts(ctx context.Context) error {
	people := make([]string, len(e.addresses))
	for i, a := range e.addresses {
		people[i] = a.Channel + ":" + a.Address
	}
	// Dedupe keys begin so (web/webhook, web/track); what follows is ASCII, so the range ends before DEL.
	var keys []string
	for _, m := range e.messages {
		if m.sid != nil {
			keys = append(keys, "ts:"+*m.sid+":")
		}
		for _, what := range []string{"o", "c", "u"} {
			keys = append(keys, "tk:"+what+":"+m.public.String()+":")
		}
	}
	rows, err := e.tx.Query(ctx, `
		WITH found AS (
			SELECT w.id
			FROM webhook_events w
			WHERE w.contact_key = ANY($2)
			UNION
			SELECT f.receipt_id
			FROM facts f
			WHERE f.business_id = $1 AND f.receipt_id IS NOT NULL
			UNION
			SELECT i.receipt_id
			FROM inbound_messages i
			WHERE i.business_id = $1
			UNION
			SELECT p.receipt_id
			FROM payments p
			WHERE p.business_id = $1 AND p.receipt_id IS NOT NULL
			UNION
			SELECT o.receipt_id
			FROM receipt_outcomes o
			WHERE o.outcome = 'unmatched' AND o.match_key = ANY($3)
			UNION
			SELECT w.id
			FROM unnest($4::text[]) AS k (key)
			JOIN webhook_events w ON w.dedupe_key >= k.key COLLATE "C" AND w.dedupe_key < (k.key || chr(127)) COLLATE "C"
			UNION
			SELECT w.id
			FROM webhook_events w
			WHERE (w.provider = 'recurrente' OR w.contact_key IS NULL) AND w.erased_at IS NULL
				AND w.id >= onward_uuid_floor($5::timestamptz - interval '1 day')
				AND EXISTS (
					SELECT 1
					FROM unnest($6::text[]) AS n (needle)
					WHERE strpos(lower(encode(w.body, 'escape')), n.needle) > 0 OR strpos(lower(w.query), n.needle) > 0
				)
		)
		SELECT w.id::text
		FROM found
		JOIN webhook_events w ON w.id = found.id
		WHERE w.erased_at IS NULL
			AND (w.contact_key = ANY($2) OR NOT EXISTS (
				SELECT 1
				FROM facts f
				JOIN businesses b ON b.id = f.business_id
				WHERE f.receipt_id = w.id AND f.business_id <> $1 AND b.erased_at IS NULL
			))
		ORDER BY w.id`, e.id, people, e.matchKeys(people), keys, e.createdAt, e.needles())
	if err != nil {
		return fmt.Errorf("find its receipts: %w", err)
	}
	if e.receipts, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return fmt.Errorf("find its receipts: %w", err)
	}
	return nil
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
