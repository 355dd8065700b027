package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What no index answers is searched a part at a time: so many receipts, and again, for as long as a call has.
const (
	receiptWindow = 2000
	receiptBudget = 20 * time.Millisecond
)

// ReceiptLook is what somebody looks for among receipts.
type ReceiptLook struct {
	ReceiptFilter
	// Verdicts selects receipts with a fact that had one of these.
	Verdicts []string
	// Text names one thing that receipts are about, whole: a receipt, message, business or site by its id, a message by
	// the provider's id, a subscription, a site's address, a phone or an email. "" selects all.
	Text string
}

// ReceiptPart is a page of what was found.
type ReceiptPart struct {
	Rows []ReceiptRow
	// Next is what to go on before; Nil at the end.
	Next uuid.UUID
	// Partial is set where the page is not full because the time for looking was up.
	Partial bool
}

// LookForReceipts returns at most limit receipts, newest first, older than one (Nil: from the newest). However many there
// are, it looks for some 20 ms at most.
func LookForReceipts(ctx context.Context, q Querier, l ReceiptLook, before uuid.UUID, limit int) (ReceiptPart, error) {
	p, err := lookForReceipts(ctx, q, l, before, limit, receiptWindow, receiptBudget)
	if err != nil {
		return p, fmt.Errorf("look for receipts: %w", err)
	}
	return p, nil
}

func lookForReceipts(
	ctx context.Context, q Querier, l ReceiptLook, before uuid.UUID, limit, window int, budget time.Duration,
) (out ReceiptPart, err error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	var named []string
	if l.Text != "" {
		if named, err = receiptsNaming(ctx, q, l.Text); err != nil {
			return out, err
		}
	}
	for until := time.Now().Add(budget); ; {
		rows, err := l.inWindow(ctx, q, named, before, limit+1-len(out.Rows), window)
		if err != nil {
			return out, err
		}
		if out.Rows = append(out.Rows, rows...); len(out.Rows) > limit {
			out.Rows = out.Rows[:limit]
			out.Next = out.Rows[limit-1].ID
			return out, nil
		}
		var looked int
		var last *uuid.UUID
		ids, args := l.window(named, before, 0, window)
		if err := q.QueryRow(ctx, `SELECT count(*), (array_agg(k.id ORDER BY k.id))[1] FROM (`+ids+`) k`, args...).Scan(&looked, &last); err != nil {
			return out, err
		}
		if looked < window || last == nil {
			return out, nil
		}
		if before = *last; time.Now().After(until) {
			out.Next, out.Partial = before, len(out.Rows) < limit
			return out, nil
		}
	}
}

// inWindow reads what is looked for among the newest receipts of a window: it takes these first (OFFSET keeps them apart),
// whatever the planner thinks of the filter.
func (l ReceiptLook) inWindow(ctx context.Context, q Querier, named []string, before uuid.UUID, limit, window int) ([]ReceiptRow, error) {
	w := l.where()
	if len(l.Verdicts) > 0 {
		w.add(`EXISTS (
				SELECT 1
				FROM facts f
				JOIN transitions t ON t.business_id = f.business_id AND t.fact_id = f.id
				WHERE f.receipt_id = w.id AND t.verdict = ANY($%d)
			)`, l.Verdicts)
	}
	ids, args := l.window(named, before, len(w.args), window)
	rows, err := q.Query(ctx, fmt.Sprintf(`
		SELECT %s
		FROM (%s) k
		CROSS JOIN LATERAL (SELECT * FROM webhook_events w WHERE w.id = k.id OFFSET 0) w
		LEFT JOIN LATERAL (SELECT * FROM receipt_outcomes o WHERE o.receipt_id = k.id OFFSET 0) o ON true
		WHERE %s
		ORDER BY k.id DESC
		LIMIT %d`, receiptRowColumns, ids, w, limit), append(w.args, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReceiptRow, error) {
		var r ReceiptRow
		err := row.Scan(r.scan()...)
		r.toUTC()
		return r, err
	})
}

// window selects the ids to look at, by an index that has them in their order. Its arguments come after n others.
func (l ReceiptLook) window(named []string, before uuid.UUID, n, size int) (string, []any) {
	sql := func(text string, args ...any) (string, []any) {
		places := make([]any, len(args))
		for i := range args {
			places[i] = n + i + 1
		}
		return fmt.Sprintf(text+` ORDER BY id DESC LIMIT `+strconv.Itoa(size), places...), args
	}
	if l.Text != "" {
		return sql(`SELECT u.id FROM unnest($%[2]d::text[]::uuid[]) AS u (id) WHERE u.id < $%[1]d`, before, named)
	}
	if len(l.Outcomes) > 0 && !slices.ContainsFunc(l.Outcomes, func(o string) bool { return o != "unmatched" && o != "failed" }) {
		return sql(`SELECT u.receipt_id AS id FROM receipt_outcomes u
			WHERE u.outcome IN ('unmatched', 'failed') AND u.outcome = ANY($%[2]d) AND u.receipt_id < $%[1]d`, before, l.Outcomes)
	}
	from, until := time.Unix(0, 0), time.Now().Add(24*time.Hour)
	if !l.Since.IsZero() {
		from = l.Since.Add(-time.Hour)
	}
	if !l.Until.IsZero() {
		until = l.Until.Add(time.Hour)
	}
	return sql(`SELECT u.id FROM webhook_events u
			WHERE u.id < $%[1]d AND u.id >= onward_uuid_floor($%[2]d::timestamptz) AND u.id < onward_uuid_floor($%[3]d::timestamptz)`, before, from, until)
}

// namedReceipts bounds what one name selects: the newest.
const namedReceipts = 1000

// receiptsNaming finds the receipts that are about what a text names. Each part is answered by an index, but for a site's
// address: there are few sites beside receipts.
func receiptsNaming(ctx context.Context, q Querier, text string) ([]string, error) {
	const aboutMessage = `
		SELECT f.receipt_id FROM messages m JOIN facts f ON f.business_id = m.business_id AND f.message_id = m.id WHERE `
	const aboutSite = `
		SELECT f.receipt_id FROM sites s JOIN facts f ON f.site_id = s.id WHERE `
	const waiting = `
		SELECT o.receipt_id FROM receipt_outcomes o WHERE o.outcome = 'unmatched' AND o.match_key = ANY($2::text[])`
	const fromContact = `
		SELECT w.id FROM webhook_events w WHERE w.contact_key = ANY($2::text[])`
	text = strings.TrimSpace(text)
	var parts, keys []string
	if id, err := uuid.Parse(text); err == nil {
		text = id.String()
		keys = []string{"message:" + text, "site:" + text}
		parts = []string{
			`SELECT w.id FROM webhook_events w WHERE w.id = $1::text::uuid`,
			aboutMessage + `m.public_id = $1::text::uuid`,
			aboutSite + `s.public_id = $1::text::uuid`,
			waiting,
			`SELECT f.receipt_id FROM businesses b JOIN facts f ON f.business_id = b.id WHERE b.public_id = $1::text::uuid`,
			`SELECT i.receipt_id FROM businesses b JOIN inbound_messages i ON i.business_id = b.id WHERE b.public_id = $1::text::uuid`,
		}
	} else if phone, ok := phoneOf(text); ok {
		text, keys = phone, []string{"sms:" + phone}
		parts = []string{fromContact, waiting, aboutMessage + `m.address = $1`}
	} else if strings.Contains(text, "@") {
		text = strings.ToLower(text)
		keys = []string{"email:" + text}
		parts = []string{fromContact, waiting, aboutMessage + `m.address = $1`}
	} else {
		keys = []string{"message:" + text, "subscription:" + text, "site:" + text}
		parts = []string{
			aboutMessage + `m.provider_sid = $1`, aboutSite + `s.subscription_id = $1`, waiting,
			`SELECT w.id FROM webhook_events w WHERE w.dedupe_key IN ($1, 'ti:' || $1, 'rc:' || $1, 'rs:' || $1)`,
			`SELECT w.id FROM webhook_events w WHERE w.dedupe_key >= 'ts:' || $1 || ':' AND w.dedupe_key < 'ts:' || $1 || ';'`,
		}
		if strings.Contains(text, ".") {
			parts = append(parts, aboutSite+`s.url IN ($1, 'https://' || $1, 'http://' || $1, 'https://' || $1 || '/')`)
		}
	}
	// Named in every part, so that PostgreSQL knows the types of both wherever one is not used.
	query := `
		SELECT u.id::text
		FROM (` + strings.Join(parts, ` UNION `) + `) u (id)
		WHERE u.id IS NOT NULL AND $1::text IS NOT NULL AND $2::text[] IS NOT NULL
		ORDER BY u.id DESC
		LIMIT ` + strconv.Itoa(namedReceipts)
	rows, err := q.Query(ctx, query, text, keys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// phoneOf reads a phone number as people write it: at least seven digits and nothing but what may stand between them.
func phoneOf(text string) (string, bool) {
	digits := strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9':
			return r
		case strings.ContainsRune("+-.() /\u00a0\u202f\u2009", r):
			return -1
		}
		return 'x'
	}, text)
	if len(digits) < 7 || strings.Contains(digits, "x") {
		return "", false
	}
	return "+" + strings.TrimPrefix(digits, "00"), true
}

// ReceiptEffect is what a receipt did to one status of a business, or that it recorded a fact which speaks of none.
type ReceiptEffect struct {
	ReceiptID               uuid.UUID
	BusinessID              uuid.UUID
	Business                string // its name
	Event                   string
	Axis, From, To, Verdict string
	FactID, JobID           int64
	MessageID               *uuid.UUID
	OccurredAt, RecordedAt  time.Time
}

// EffectsOfReceipts reads what some receipts did, in the order in which they did it.
func EffectsOfReceipts(ctx context.Context, q Querier, ids []uuid.UUID) (map[uuid.UUID][]ReceiptEffect, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	rows, err := q.Query(ctx, `
		SELECT f.receipt_id, b.public_id, b.name, f.event, COALESCE(t.axis, ''), COALESCE(t.from_status, ''), COALESCE(t.to_status, ''),
			COALESCE(t.verdict, ''), f.id, COALESCE(f.job_id, 0), m.public_id, f.occurred_at, f.recorded_at
		FROM facts f
		JOIN businesses b ON b.id = f.business_id
		LEFT JOIN messages m ON m.id = f.message_id
		LEFT JOIN transitions t ON t.business_id = f.business_id AND t.fact_id = f.id
		WHERE f.receipt_id = ANY($1::text[]::uuid[])
		ORDER BY f.id, t.id`, texts)
	if err != nil {
		return nil, fmt.Errorf("read what receipts did: %w", err)
	}
	out := map[uuid.UUID][]ReceiptEffect{}
	var e ReceiptEffect
	_, err = pgx.ForEachRow(rows, []any{
		&e.ReceiptID, &e.BusinessID, &e.Business, &e.Event, &e.Axis, &e.From, &e.To, &e.Verdict, &e.FactID, &e.JobID, &e.MessageID, &e.OccurredAt, &e.RecordedAt,
	}, func() error {
		e.OccurredAt, e.RecordedAt = e.OccurredAt.UTC(), e.RecordedAt.UTC()
		out[e.ReceiptID] = append(out[e.ReceiptID], e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what receipts did: %w", err)
	}
	return out, nil
}

// How far [CountOutcomes] counts.
const (
	CountedReceipts  = 10_000
	CountedAttention = 1000
)

// OutcomeCounts says what came of the newest receipts.
type OutcomeCounts struct {
	Recent map[string]int64 // by outcome
	Total  int64
	// More is set where there were more than [CountedReceipts]: the newest were counted.
	More bool
	// Attention counts the unmatched and the failed of all time, up to [CountedAttention] each.
	Attention map[string]int64
}

// CountOutcomes counts receipts since a time by what came of them.
func CountOutcomes(ctx context.Context, q Querier, since time.Time) (OutcomeCounts, error) {
	c := OutcomeCounts{Recent: map[string]int64{}, Attention: map[string]int64{}}
	rows, err := q.Query(ctx, fmt.Sprintf(`
		SELECT true, COALESCE(o.outcome, 'pending'), count(*)
		FROM (
			SELECT w.id FROM webhook_events w WHERE w.id >= onward_uuid_floor($1::timestamptz) ORDER BY w.id DESC LIMIT %d
		) w
		LEFT JOIN LATERAL (SELECT r.outcome FROM receipt_outcomes r WHERE r.receipt_id = w.id OFFSET 0) o ON true
		GROUP BY 2
		UNION ALL
		SELECT false, a.outcome, (
			SELECT count(*)
			FROM (SELECT 1 FROM receipt_outcomes r WHERE r.outcome = a.outcome AND r.outcome IN ('unmatched', 'failed') LIMIT %d) r
		)
		FROM unnest(ARRAY['unmatched', 'failed']) AS a (outcome)`, CountedReceipts+1, CountedAttention+1), since)
	if err != nil {
		return c, fmt.Errorf("count outcomes: %w", err)
	}
	var recent bool
	var outcome string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&recent, &outcome, &n}, func() error {
		if !recent {
			c.Attention[outcome] = n
			return nil
		}
		c.Recent[outcome] = n
		c.Total += n
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("count outcomes: %w", err)
	}
	c.More = c.Total > CountedReceipts
	return c, nil
}
