package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// What is made up stands up to verification, and every event and verdict is in it.
func TestGenerate_makesWhatVerifyFindsSound(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	var steps int
	o := pgstore.GenerateOptions{Businesses: 2500, Facts: 25_001, Seed: 3, Progress: func(done, total int64) {
		steps++
		require.Equal(t, int64(2500), total)
	}}
	made, err := pgstore.Generate(ctx, pool, o)
	require.NoError(t, err)
	require.Equal(t, int64(2500), made.Businesses)
	require.Equal(t, int64(25_001), made.Facts)
	require.Greater(t, steps, 1)
	for table, want := range map[string]int64{
		"businesses": made.Businesses, "sites": made.Sites, "facts": made.Facts, "transitions": made.Transitions, "suppressions": made.Suppressions,
	} {
		require.Positive(t, want, table)
		require.Equal(t, want, rowCount(ctx, t, pool, `SELECT count(*) FROM `+table), table)
	}
	v, found := verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	require.Equal(t, int64(2500), v.Businesses)
	broken, err := pgstore.CheckInvariants(ctx, pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, b := range broken {
		require.Zero(t, b.Count, b)
	}
	require.Equal(t, int64(len(lifecycle.Events())), rowCount(ctx, t, pool, `SELECT count(DISTINCT event) FROM facts`))
	require.Equal(t, int64(len(lifecycle.Verdicts())), rowCount(ctx, t, pool, `SELECT count(DISTINCT verdict) FROM transitions`))
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM businesses WHERE phone NOT LIKE '+999%' OR email NOT LIKE '%.example'`))

	// The sequences went along: what comes after works as ever.
	_, _, _ = customer(ctx, t, pool)
	_, err = pgstore.Generate(ctx, pool, o)
	require.ErrorIs(t, err, pgstore.ErrNotEmpty)
	o.Append, o.Progress = true, nil
	o.Businesses, o.Facts = 10, 0
	_, err = pgstore.Generate(ctx, pool, o)
	require.NoError(t, err)
	_, found = verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	require.Equal(t, int64(2511), rowCount(ctx, t, pool, `SELECT count(*) FROM businesses`))
}

// Campaigns, messages, replies and payments belong to the facts that they led to, and break no invariant.
func TestGenerate_outreach(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	o := pgstore.GenerateOptions{Businesses: 1500, Facts: 12_000, Seed: 3, Outreach: true}
	_, err := pgstore.Generate(ctx, pool, o)
	require.NoError(t, err)
	_, found := verify(ctx, t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found)
	broken, err := pgstore.CheckInvariants(ctx, pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, b := range broken {
		require.Zero(t, b.Count, b)
	}
	for _, table := range []string{"campaigns", "messages", "campaign_recipients", "inbound_messages", "payments"} {
		require.Positive(t, rowCount(ctx, t, pool, `SELECT count(*) FROM `+table), table)
	}
	require.Zero(t, rowCount(ctx, t, pool, `
		SELECT count(*) FROM facts f JOIN messages m ON m.id = f.message_id WHERE m.business_id <> f.business_id OR f.recorded_at < m.sent_at`))
	require.Equal(t, rowCount(ctx, t, pool, `SELECT count(*) FROM messages`), rowCount(ctx, t, pool, `SELECT sum(recipients)::bigint FROM campaigns`))
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM messages m WHERE m.body LIKE '%{{%'`))

	// The facts are those that are made without it.
	plain := newDB(t)
	o.Outreach = false
	_, err = pgstore.Generate(ctx, plain, o)
	require.NoError(t, err)
	const keys = `SELECT hashtext(string_agg(dedupe_key || event || occurred_at, ',' ORDER BY dedupe_key))::bigint FROM facts`
	require.Equal(t, rowCount(ctx, t, plain, keys), rowCount(ctx, t, pool, keys))
}

// What is made up could have happened: lists that go by id go by time, a campaign sends between its launch and its end to who
// was there, and nothing is under way that the provider would have been asked about.
func TestGenerate_outreachIsBelievable(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx := t.Context()
	until := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	// More than a chunk of them: the order holds over all.
	_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 4000, Facts: 32_000, Seed: 3, Outreach: true, Until: until})
	require.NoError(t, err)
	for table, at := range map[string]string{
		"businesses": "created_at", "campaigns": "launched_at", "messages": "queued_at", "inbound_messages": "received_at", "suppressions": "since",
	} {
		require.Greater(t, rowCount(ctx, t, pool, `SELECT count(*) FROM `+table), int64(20), table)
		require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM (SELECT `+at+` < lag(`+at+`) OVER (ORDER BY id) AS back FROM `+table+`) o WHERE back`), table)
	}
	require.Zero(t, rowCount(ctx, t, pool, `
		SELECT count(*)
		FROM messages m
		JOIN campaigns c ON c.id = m.campaign_id
		WHERE m.queued_at < c.launched_at OR m.sent_at > c.finished_at`))
	require.Zero(t, rowCount(ctx, t, pool, `
		SELECT count(*)
		FROM messages m
		JOIN campaigns c ON c.id = m.campaign_id
		JOIN businesses b ON b.id = m.business_id
		WHERE b.created_at > c.launched_at`), "who came after the launch is not in the audience")
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM facts WHERE recorded_at > $1 OR occurred_at > recorded_at`, until))
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM facts f JOIN messages m ON m.id = f.message_id WHERE f.occurred_at < m.sent_at`))

	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM messages WHERE channel = 'sms' AND state = 'sent' AND sent_at < $1`, until.AddDate(0, 0, -3)))
	sent := rowCount(ctx, t, pool, `SELECT count(*) FROM messages WHERE state = 'sent'`)
	require.Positive(t, sent)
	require.Less(t, sent, rowCount(ctx, t, pool, `SELECT count(*) / 20 FROM messages`), "few are without news")
	require.Zero(t, rowCount(ctx, t, pool, `
		SELECT count(*) FROM (SELECT FROM facts WHERE event IN ('sms_delivered', 'email_delivered') GROUP BY message_id HAVING count(*) > 1) again`),
		"a message is delivered once")
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM facts WHERE event IN ('sms_sent', 'email_sent') AND message_id IS NULL`))

	// Replies: the newest wait, of the old ones but a few.
	old := until.AddDate(0, 0, -5)
	waiting := rowCount(ctx, t, pool, `SELECT count(*) FROM inbound_messages WHERE action = 'reply' AND handled_at IS NULL AND received_at < $1`, old)
	require.Positive(t, waiting)
	require.Less(t, waiting, rowCount(ctx, t, pool, `SELECT count(*) / 10 FROM inbound_messages WHERE action = 'reply' AND received_at < $1`, old))
	require.Zero(t, rowCount(ctx, t, pool, `SELECT count(*) FROM inbound_messages WHERE handled_at < received_at OR handled_at > $1`, until))
}

func TestGenerate_sameSeedSameData(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	until := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	digest := func(seed uint64) (sums []string) {
		pool := newDB(t)
		_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 1500, Facts: 6000, Seed: seed, Until: until, Outreach: true})
		require.NoError(t, err)
		for _, table := range []string{"businesses", "sites", "facts", "transitions", "suppressions", "campaigns", "messages"} {
			var sum string
			require.NoError(t, pool.QueryRow(ctx, `SELECT md5(string_agg(r::text, '' ORDER BY r.id)) FROM `+table+` r`).Scan(&sum))
			sums = append(sums, sum)
		}
		return sums
	}
	require.Equal(t, digest(5), digest(5))
	require.NotEqual(t, digest(5), digest(6))
}

// The made-up transitions are those that Apply makes of the same facts in the same order.
func TestGenerate_transitionsAreApplys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	from, to := newDB(t), newDB(t)
	_, err := pgstore.Generate(ctx, from, pgstore.GenerateOptions{Businesses: 60, Facts: 1200, Seed: 9})
	require.NoError(t, err)
	rows, err := from.Query(ctx, `SELECT business_id, COALESCE(site_id, 0) > 0, event, occurred_at, dedupe_key FROM facts ORDER BY id`)
	require.NoError(t, err)
	type made struct {
		business int64
		onSite   bool
		fact     lifecycle.Fact
	}
	facts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m made, err error) {
		err = row.Scan(&m.business, &m.onSite, &m.fact.Event, &m.fact.OccurredAt, &m.fact.Key)
		return m, err
	})
	require.NoError(t, err)
	type pair struct{ business, site int64 }
	ids := map[int64]pair{}
	for _, m := range facts {
		p, ok := ids[m.business]
		if !ok {
			p.business, p.site = newBusiness(ctx, t, to)
			ids[m.business] = p
		}
		f := pgstore.Fact{BusinessID: p.business, Event: m.fact.Event, OccurredAt: m.fact.OccurredAt, Key: m.fact.Key, Source: pgstore.SourceImport}
		if m.onSite {
			f.SiteID = p.site
		}
		inTx(t, to, func(tx pgx.Tx) {
			_, err := pgstore.Apply(ctx, tx, []pgstore.Fact{f})
			require.NoError(t, err)
		})
	}
	require.Equal(t, trail(ctx, t, from), trail(ctx, t, to))
}

// trail lists all transitions by the keys of their facts.
func trail(ctx context.Context, t *testing.T, pool *pgxpool.Pool) []string {
	rows, err := pool.Query(ctx, `
		SELECT concat_ws(' ', f.dedupe_key, t.axis, t.from_status, t.to_status, t.verdict)
		FROM transitions t JOIN facts f ON f.id = t.fact_id
		ORDER BY t.id`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return list
}

func TestGenerate_refusesNonsense(t *testing.T) {
	t.Parallel()
	for _, o := range []pgstore.GenerateOptions{{}, {Businesses: -1}, {Businesses: 1, Facts: -1}, {Businesses: 1, Facts: 1_000_000}} {
		_, err := pgstore.Generate(t.Context(), nil, o)
		require.Error(t, err)
	}
}

func TestGenerate_stopsWhenToldTo(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := pgstore.Generate(ctx, pool, pgstore.GenerateOptions{Businesses: 20_000, Facts: 20_000, Progress: func(int64, int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	_, found := verify(t.Context(), t, pool, pgstore.VerifyOptions{})
	require.Empty(t, found, "what is there is whole")
}

func rowCount(ctx context.Context, t require.TestingT, pool *pgxpool.Pool, sql string, args ...any) (n int64) {
	require.NoError(t, pool.QueryRow(ctx, sql, args...).Scan(&n))
	return n
}
