package pgstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

// lookedFor stores receipts, one a second and the last one now, and returns their ids, newest first.
func lookedFor(t *testing.T, pool *pgxpool.Pool, n int) []uuid.UUID {
	t.Helper()
	begin := time.Now().Add(-time.Duration(n) * time.Second)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
		SELECT (left(onward_uuid_floor(at)::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, CASE WHEN n % 2 = 0 THEN 'twilio' ELSE 'resend' END,
			'message_status', '{}', '', 'look:' || n, at
		FROM generate_series(1, $1::int) AS n, LATERAL (SELECT $2::timestamptz + make_interval(secs => n)) AS t (at)`, n, begin)
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), `SELECT id::text FROM webhook_events ORDER BY id DESC`)
	require.NoError(t, err)
	var ids []uuid.UUID
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, uuid.MustParse(id))
	}
	require.NoError(t, rows.Err())
	require.Len(t, ids, n)
	return ids
}

func outcome(t *testing.T, pool *pgxpool.Pool, name string, ids ...uuid.UUID) {
	t.Helper()
	for _, id := range ids {
		_, err := pool.Exec(t.Context(), `INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1::text::uuid, $2)`, id.String(), name)
		require.NoError(t, err)
	}
}

// follow goes through all pages and returns what they hold.
func follow(t *testing.T, pool *pgxpool.Pool, l pgstore.ReceiptLook, limit int) (ids []uuid.UUID) {
	t.Helper()
	var before uuid.UUID
	for {
		part, err := pgstore.LookForReceipts(t.Context(), pool, l, before, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(part.Rows), limit)
		require.False(t, part.Partial && len(part.Rows) == limit, "a full page is not partial")
		require.False(t, part.Partial && part.Next == uuid.Nil, "where the time was up there is more")
		for _, r := range part.Rows {
			ids = append(ids, r.ID)
		}
		if before = part.Next; before == uuid.Nil {
			return ids
		}
	}
}

// However few of however many are looked for, and however small the pages: all of them are found, once and in order.
func TestLookForReceipts_findsEachOnce(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ids := lookedFor(t, pool, 5200) // more than two windows
	outcome(t, pool, "failed", ids[0], ids[17], ids[5199])
	outcome(t, pool, "ignored", ids[2100], ids[5000])
	outcome(t, pool, "applied", ids[1:17]...)
	only := func(outcomes ...string) pgstore.ReceiptLook {
		return pgstore.ReceiptLook{ReceiptFilter: pgstore.ReceiptFilter{Outcomes: outcomes}}
	}
	for _, limit := range []int{1, 2, 3, 50} {
		require.Equal(t, []uuid.UUID{ids[0], ids[17], ids[5199]}, follow(t, pool, only("failed", "unmatched"), limit))
		require.Equal(t, []uuid.UUID{ids[2100], ids[5000]}, follow(t, pool, only("ignored"), limit))
		require.Equal(t, []uuid.UUID{ids[0], ids[17], ids[2100], ids[5000], ids[5199]}, follow(t, pool, only("ignored", "failed"), limit))
		require.Empty(t, follow(t, pool, only("no_change"), limit))
	}
	require.Equal(t, ids, follow(t, pool, pgstore.ReceiptLook{}, 500))
	twilio := follow(t, pool, pgstore.ReceiptLook{ReceiptFilter: pgstore.ReceiptFilter{Providers: []string{"twilio"}}}, 400)
	require.Len(t, twilio, 2600)
	require.True(t, slices.IsSortedFunc(twilio, func(a, b uuid.UUID) int { return -slices.Compare(a[:], b[:]) }))
	require.Len(t, follow(t, pool, only(pgstore.OutcomePending), 500), 5200-3-2-16)

	var at time.Time
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT received_at FROM webhook_events WHERE id = $1::text::uuid`, ids[100].String()).Scan(&at))
	require.Equal(t, ids[:101], follow(t, pool, pgstore.ReceiptLook{ReceiptFilter: pgstore.ReceiptFilter{Since: at}}, 60))
	require.Equal(t, ids[101:], follow(t, pool, pgstore.ReceiptLook{ReceiptFilter: pgstore.ReceiptFilter{Until: at}}, 500))
}

// A receipt is found by any name of what it is about, whole.
func TestLookForReceipts_byName(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	ids := lookedFor(t, pool, 12)
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(ctx, sql, args...)
		require.NoError(t, err)
	}
	business, message, site := uuid.New(), uuid.New(), uuid.New()
	exec(`INSERT INTO businesses (public_id, name, phone, email) VALUES ($1::text::uuid, 'A', '+15005550006', 'a@example.test')`, business.String())
	exec(`INSERT INTO messages (public_id, business_id, channel, address, body, state, provider_sid)
		SELECT $1::text::uuid, id, 'sms', '+15005550006', '', 'sent', 'SM1' FROM businesses`, message.String())
	exec(`INSERT INTO sites (public_id, business_id, url, status, subscription_id) SELECT $1::text::uuid, id, 'https://luna.example', 'deployed', 'su_1' FROM businesses`,
		site.String())
	// Of these, a fact each: about the message, about the site. Others wait, or came from somebody.
	exec(`INSERT INTO facts (business_id, event, axis, occurred_at, source, receipt_id, message_id, dedupe_key)
		SELECT b.id, 'sms_delivered', 'contact', now(), 'webhook', $1::text::uuid, m.id, 'f1' FROM businesses b, messages m`, ids[3].String())
	exec(`INSERT INTO facts (business_id, event, axis, occurred_at, source, receipt_id, site_id, dedupe_key)
		SELECT b.id, 'site_deployed', 'website', now(), 'webhook', $1::text::uuid, s.id, 'f2' FROM businesses b, sites s`, ids[5].String())
	exec(`INSERT INTO receipt_outcomes (receipt_id, outcome, match_key) VALUES ($1::text::uuid, 'unmatched', 'subscription:su_2')`, ids[7].String())
	exec(`UPDATE webhook_events SET contact_key = 'sms:+15005550006' WHERE id = $1::text::uuid`, ids[9].String())
	exec(`UPDATE webhook_events SET contact_key = 'email:a@example.test' WHERE id = $1::text::uuid`, ids[10].String())
	exec(`UPDATE webhook_events SET dedupe_key = 'ts:SM7:delivered' WHERE id = $1::text::uuid`, ids[11].String())
	for text, want := range map[string][]uuid.UUID{
		ids[2].String():        {ids[2]},
		business.String():      {ids[3], ids[5]},
		message.String():       {ids[3]},
		site.String():          {ids[5]},
		"SM1":                  {ids[3]},
		" SM7 ":                {ids[11]},
		"su_1":                 {ids[5]},
		"su_2":                 {ids[7]},
		"luna.example":         {ids[5]},
		"https://luna.example": {ids[5]},
		"+1 (500) 555-0006":    {ids[3], ids[9]},
		"0015005550006":        {ids[3], ids[9]},
		"A@Example.test":       {ids[10]},
		"SM":                   nil,
		"nobody@example.test":  nil,
		uuid.NewString():       nil,
	} {
		require.Equal(t, want, follow(t, pool, pgstore.ReceiptLook{Text: text}, 1), text)
	}
	delivered := pgstore.ReceiptLook{Text: business.String(), Verdicts: []string{"applied"}}
	require.Empty(t, follow(t, pool, delivered, 5))
	exec(`INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
		SELECT id, business_id, 'contact', 'pending', 'sms_sent', 'applied' FROM facts WHERE dedupe_key = 'f1'`)
	require.Equal(t, []uuid.UUID{ids[3]}, follow(t, pool, delivered, 5))

	effects, err := pgstore.EffectsOfReceipts(ctx, pool, ids)
	require.NoError(t, err)
	require.Len(t, effects, 2)
	e := effects[ids[3]][0]
	require.Equal(t, []string{"A", "sms_delivered", "contact", "pending", "sms_sent", "applied"}, []string{e.Business, e.Event, e.Axis, e.From, e.To, e.Verdict})
	require.Equal(t, []any{business, &message}, []any{e.BusinessID, e.MessageID})
	require.Empty(t, effects[ids[5]][0].Verdict, "a fact that speaks of no status yet")
}

func TestCountOutcomes(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ids := lookedFor(t, pool, 30)
	outcome(t, pool, "applied", ids[0:5]...)
	outcome(t, pool, "failed", ids[5], ids[29])
	outcome(t, pool, "unmatched", ids[6])
	all, err := pgstore.CountOutcomes(t.Context(), pool, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, pgstore.OutcomeCounts{
		Recent: map[string]int64{"applied": 5, "failed": 2, "unmatched": 1, "pending": 22}, Total: 30, Attention: map[string]int64{"failed": 2, "unmatched": 1},
	}, all)
	recent, err := pgstore.CountOutcomes(t.Context(), pool, time.Now().Add(-10*time.Second))
	require.NoError(t, err)
	require.Less(t, recent.Total, int64(30))
	require.Equal(t, all.Attention, recent.Attention, "what needs somebody does so however old it is")
}
