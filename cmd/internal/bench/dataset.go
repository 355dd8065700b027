package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
)

// dataset is what stands in the database before a measurement. Its rows are numbered from 1: business n, its message n,
// the receipt n that speaks of it, the job n.
type dataset struct {
	rows     int
	messages string // the state of each business's message; "": there are none
	campaign bool   // the messages are of one campaign
	receipts bool   // each message has a delivered callback that is not applied
	jobs     string // kind of the jobs; "": there are none. Those that do nothing need nothing else
	// floor is how many jobs, the first ones, stand in a queue that no worker looks at: they are pgbench's.
	floor int
}

// The kinds of ids.
const (
	idReceipt = iota
	idMessage
	idBusiness
	idCampaign
)

// madeID is the UUIDv7 of the n-th row of a kind: with a time one millisecond after the row's before. SQL and pgbench make
// the same (idSQL, floor/*.sql).
func madeID(base int64, kind int, n int64) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(base+n)<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], 1<<63|uint64(kind)<<48|uint64(n))
	return id
}

// idSQL is madeID in SQL, of column n and parameter $2.
func idSQL(kind int) string {
	return fmt.Sprintf(`encode(int8send((($2::bigint + n) << 16) | 28672) || int8send((-9223372036854775808)::bigint + (%d::bigint << 48) + n), 'hex')::uuid`, kind)
}

// phoneOf is the n-th business's number, a US one.
func phoneOf(n int64) string { return "+1" + strconv.FormatInt(2_000_000_000+n, 10) }

// The queue of the floors' jobs.
const floorQueue = "bench_floor"

// dataBase is the time of row 0 of a dataset that is made now, in Unix milliseconds: long enough ago for the last row.
func dataBase(rows int) int64 {
	return time.Now().Add(-time.Duration(rows)*time.Millisecond - 5*time.Minute).UnixMilli()
}

// populate makes a dataset in emptied tables. It returns the base of its ids.
func (b *bench) populate(ctx context.Context, d dataset) (base int64, err error) {
	if err := b.reset(ctx); err != nil {
		return 0, err
	}
	base = dataBase(d.rows)
	err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		for _, s := range d.statements() {
			args := []any{d.rows, base}
			if s.args != nil {
				args = append(args, s.args...)
			}
			if _, err := tx.Exec(ctx, s.sql, args...); err != nil {
				return fmt.Errorf("%s: %w", s.what, err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("make the data: %w", err)
	}
	if err := b.walked(ctx); err != nil {
		return 0, err
	}
	// Plans must not come from empty tables, and nobody's vacuum may fall into the measurement.
	_, err = b.pool.Exec(ctx, `VACUUM (ANALYZE) businesses, messages, campaigns, campaign_counters, facts, transitions, webhook_events, river_job`)
	if err != nil {
		return 0, fmt.Errorf("vacuum: %w", err)
	}
	b.checkpoint(ctx)
	return base, nil
}

// walked tells what walks over facts (analytics, polls) that it is through with those that are there: tens of thousands
// that appear at once are an artefact of the data, and would be worked off in the middle of a measurement. What is measured
// itself is walked over as it always is.
func (b *bench) walked(ctx context.Context) error {
	_, err := b.pool.Exec(ctx, `
		UPDATE poll_progress SET fact_id = (SELECT COALESCE(max(id), 0) FROM facts);
		UPDATE analytics_progress SET fact_id = (SELECT COALESCE(max(id), 0) FROM facts), walked = NULL, as_of = now()`)
	if err != nil {
		return fmt.Errorf("set the progress of what walks over facts: %w", err)
	}
	return nil
}

type statement struct {
	what, sql string
	args      []any // from $3 on; $1 is the number of rows, $2 the base
}

func (d dataset) statements() []statement {
	var list []statement
	if d.jobs != (noopArgs{}.Kind()) {
		list = append(list, d.businesses())
	}
	if d.campaign {
		list = append(list, statement{what: "campaign", sql: `
			INSERT INTO campaigns (id, public_id, name, channel, body, audience, status, fanout_last, fanned_out_at, launched_at)
			OVERRIDING SYSTEM VALUE
			SELECT 1, ` + idSQL(idCampaign) + `, 'Benchmark', 'sms', 'Hello', '{"filter": {}}', 'sending', $1::bigint, now(), now()
			FROM (SELECT 0 AS n) AS one`})
	}
	if d.messages != "" {
		list = append(list, d.texts())
	}
	if d.messages != "" && d.campaign {
		list = append(list, statement{what: "counters", sql: `
			INSERT INTO campaign_counters (campaign_id, shard, state, n)
			SELECT 1, n % 16, $3, count(*)
			FROM generate_series(1, $1::bigint) AS n
			WHERE $2::bigint > 0
			GROUP BY 2`, args: []any{d.messages}})
	}
	if d.messages == "sent" {
		list = append(list, sentFacts()...)
	}
	if d.receipts {
		list = append(list, receipts())
	}
	if d.jobs != "" {
		list = append(list, d.queued())
	}
	return list
}

func (d dataset) businesses() statement {
	status := "pending"
	if d.messages == "sent" {
		status = "sms_sent"
	}
	return statement{what: "businesses", args: []any{status}, sql: `
		WITH ids AS (
			SELECT setval(pg_get_serial_sequence('businesses', 'id'), $1::bigint)
		)
		INSERT INTO businesses (id, public_id, name, phone, city, country, timezone, category, contact_status, reached, folded_at, folded_key)
		OVERRIDING SYSTEM VALUE
		SELECT n, ` + idSQL(idBusiness) + `, 'Business ' || n, '+1' || (2000000000 + n), 'Springfield', 'US', 'America/Chicago', 'bakery',
			$3::text, $3::text,
			CASE $3::text WHEN 'pending' THEN NULL ELSE to_timestamp(($2::bigint + n) / 1000.0) END,
			CASE $3::text WHEN 'pending' THEN NULL ELSE 'm' || n || ':sent' END
		FROM ids, generate_series(1, $1::bigint) AS n
		ORDER BY n`}
}

func (d dataset) texts() statement {
	return statement{what: "messages", args: []any{d.messages, d.campaign}, sql: `
		WITH ids AS (
			SELECT setval(pg_get_serial_sequence('messages', 'id'), $1::bigint)
		)
		INSERT INTO messages (id, public_id, campaign_id, business_id, channel, address, body, state, attempt, provider_sid, segments,
			queued_at, dispatched_at, sent_at)
		OVERRIDING SYSTEM VALUE
		SELECT n, ` + idSQL(idMessage) + `, CASE WHEN $4::bool THEN 1 END, n, 'sms', '+1' || (2000000000 + n),
			'Hello Business ' || n || ', we made you a website: have a look at https://example.com/sites/' || n || ' and tell us what you think.',
			$3::text,
			CASE $3::text WHEN 'sent' THEN 1 ELSE 0 END,
			CASE $3::text WHEN 'sent' THEN 'SM' || md5(n::text) END,
			CASE $3::text WHEN 'sent' THEN 1 END,
			to_timestamp(($2::bigint + n) / 1000.0),
			CASE $3::text WHEN 'sent' THEN to_timestamp(($2::bigint + n) / 1000.0) END,
			CASE $3::text WHEN 'sent' THEN to_timestamp(($2::bigint + n) / 1000.0) END
		FROM ids, generate_series(1, $1::bigint) AS n
		ORDER BY n`}
}

// sentFacts are what sending the messages left behind.
func sentFacts() []statement {
	return []statement{
		{what: "facts", sql: `
			INSERT INTO facts (business_id, event, axis, occurred_at, recorded_at, source, message_id, job_id, dedupe_key)
			SELECT n, 'sms_sent', 'contact', to_timestamp(($2::bigint + n) / 1000.0), to_timestamp(($2::bigint + n) / 1000.0), 'message', n, n,
				'm' || n || ':sent'
			FROM generate_series(1, $1::bigint) AS n
			ORDER BY n`},
		{what: "transitions", sql: `
			INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict, at)
			SELECT id, business_id, 'contact', 'pending', 'sms_sent', 'applied', recorded_at
			FROM facts
			WHERE $1::bigint + $2::bigint > 0
			ORDER BY id`},
	}
}

// receipts are accepted callbacks, as web/webhook and web/inbox store them.
func receipts() statement {
	return statement{what: "receipts", args: []any{receiptHeaders, callbackForm()}, sql: `
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		SELECT ` + idSQL(idReceipt) + `, 'twilio', 'message_status', 'm=' || ` + idSQL(idMessage) + ` || '&a=1', $3::text::jsonb,
			convert_to(replace(replace($4::text, '{sid}', 'SM' || md5(n::text)), '{to}', '%2B1' || (2000000000 + n)), 'UTF8'),
			'ts:SM' || md5(n::text) || ':delivered', 'sms:+1' || (2000000000 + n),
			-- Behind the send, so that the fact folds on top.
			to_timestamp(($2::bigint + n) / 1000.0) + interval '1 minute'
		FROM generate_series(1, $1::bigint) AS n
		ORDER BY n`}
}

func (d dataset) queued() statement {
	args, queue := `jsonb_build_object('receipt_id', `+idSQL(idReceipt)+`)`, jobs.QueueCallbacks
	switch d.jobs {
	case jobs.SendArgs{}.Kind():
		args, queue = `jsonb_build_object('message_id', n, 'channel', 'sms')`, jobs.QueueSendSMS
	case noopArgs{}.Kind():
		args = `jsonb_build_object('num', n)`
	}
	return statement{what: "jobs", args: []any{d.jobs, queue, d.floor, floorQueue}, sql: `
		WITH ids AS (
			SELECT setval('river_job_id_seq', $1::bigint)
		)
		INSERT INTO river_job (id, args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags)
		SELECT n, ` + args + `, now(), $3::text, 25, '{}', 1, CASE WHEN n <= $5::bigint THEN $6::text ELSE $4::text END, now(), 'available', '{}'
		FROM ids, generate_series(1, $1::bigint) AS n
		WHERE $2::bigint > 0
		ORDER BY n`}
}
