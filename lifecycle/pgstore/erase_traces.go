package pgstore

import (
	"context"
	"strconv"
)

// blankActions takes reasons and details from what operators did to the contact and to what belongs to it, and the
// address from what they did to its suppressions: who did what, when, stays.
func (e *eraser) blankActions(ctx context.Context) error {
	kinds, ids := []string{"business"}, []string{e.did.PublicID.String()}
	add := func(kind, id string) { kinds, ids = append(kinds, kind), append(ids, id) }
	for _, s := range e.sites {
		add("site", s.public.String())
	}
	for _, m := range e.messages {
		add("message", m.public.String())
	}
	for _, r := range e.receipts {
		add("receipt", r)
	}
	_, err := e.tx.Exec(ctx, `
		UPDATE operator_actions a
		SET reason = '', details = '{}'
		FROM unnest($1::text[], $2::text[]) AS t (type, id)
		WHERE a.target_type = t.type AND a.target_id = t.id AND (a.reason <> '' OR a.details <> '{}')`, kinds, ids)
	if err != nil {
		return err
	}
	channels, addresses := e.addressArrays()
	_, err = e.tx.Exec(ctx, `
		UPDATE operator_actions a
		SET target_id = t.channel || ':' || onward_address_hash(t.channel, t.address), reason = '', details = '{}'
		FROM unnest($1::text[], $2::text[]) AS t (channel, address)
		WHERE a.target_type = 'suppression' AND a.target_id = t.channel || ':' || t.address`, channels, addresses)
	return err
}

// blankAnswers empties the answers that are kept, for a day, to repeat them to a repeated request.
func (e *eraser) blankAnswers(ctx context.Context) error {
	_, err := e.tx.Exec(ctx, `
		UPDATE idempotency_keys
		SET response = convert_to('{"body":{}}', 'UTF8')
		WHERE EXISTS (
			SELECT 1
			FROM unnest($1::text[]) AS n (needle)
			WHERE strpos(lower(encode(response, 'escape')), n.needle) > 0
		)`, e.needles())
	return err
}

// blankJobErrors empties the errors of its jobs: a provider's or the database's words may quote what they refused.
// Arguments hold ids alone.
func (e *eraser) blankJobErrors(ctx context.Context) error {
	messages := make([]string, 0, len(e.messages))
	for _, m := range e.messages {
		messages = append(messages, strconv.FormatInt(m.id, 10))
	}
	_, err := e.tx.Exec(ctx, `
		UPDATE river_job j
		SET errors = ARRAY(
			SELECT was || '{"error": "erased", "trace": ""}'
			FROM unnest(j.errors) WITH ORDINALITY AS u (was, n)
			ORDER BY n
		)
		WHERE j.errors IS NOT NULL
			AND (j.args ->> 'message_id' = ANY($1) OR j.args ->> 'receipt_id' = ANY($2))`, messages, e.receipts)
	return err
}
