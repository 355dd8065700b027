package bench

import (
	"context"
	"fmt"
	"time"

	"onward/jobs"
)

// flat measures accept and apply on a database without a past, and again on one with millions of receipts and facts: what
// a piece of work costs must not grow with what was done before.
func (b *bench) flat(ctx context.Context, p *Part) error {
	p.note("ratios are to the same line on a database without a past; one round, since a past takes minutes to make")
	for _, past := range []int{0, b.size.pastReceipts} {
		if err := b.flatOnce(ctx, past, p); err != nil {
			return err
		}
	}
	for _, work := range []string{flatApply, flatAccept} {
		p.line(flatLine(work, b.size)).compare(p.line(work + ", without a past"))
	}
	return nil
}

const (
	flatApply  = "worker, no campaign"
	flatAccept = "web, 64 connections"
)

func flatLine(work string, s size) string {
	return fmt.Sprintf("%s, %s receipts and %s facts before", work, thousands(int64(s.pastReceipts)), thousands(int64(s.pastFacts)))
}

func (b *bench) flatOnce(ctx context.Context, past int, p *Part) (err error) {
	name := func(work string) string { return work + ", without a past" }
	if past > 0 {
		name = func(work string) string { return flatLine(work, b.size) }
	}
	b.step(PartFlat, 0, "data")
	_, err = b.populate(ctx, dataset{rows: b.size.applyJobs, messages: "sent", receipts: true, jobs: jobs.StatusCallbackArgs{}.Kind()})
	if err != nil {
		return err
	}
	if past > 0 {
		if err := b.past(ctx); err != nil {
			return err
		}
	}
	b.step(PartFlat, 0, name(flatApply))
	if _, err := b.work(ctx, work{queue: jobs.QueueCallbacks, profile: "flat-apply"}, p.line(name(flatApply))); err != nil {
		return err
	}
	b.checkpoint(ctx)
	var ready appReady
	web, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, web) }()
	b.step(PartFlat, 0, name(flatAccept))
	return b.acceptOnce(ctx, web, loadSettings{
		Address: ready.Public, Base: dataBase(0), First: 700_000_000, Count: int((b.size.warmUp + b.size.acceptFor).Seconds() * acceptAtMost),
		Connections: 64, WarmUp: b.size.warmUp, Lasts: b.size.acceptFor,
	}, p.line(name(flatAccept)), "flat-accept")
}

// pastChunk is how many rows of a past one statement makes.
const pastChunk = 250_000

// past fills receipts, outcomes, facts and transitions of the four weeks before, as many as the size says. They speak of
// businesses that are not there: nothing that is measured reads them.
func (b *bench) past(ctx context.Context) error {
	if _, err := b.pool.Exec(ctx, `SELECT onward_ensure_partitions(now() - interval '28 days', now() + interval '7 days')`); err != nil {
		return fmt.Errorf("make partitions: %w", err)
	}
	// Milliseconds from one receipt to the next, so that the last is an hour ago.
	begin := time.Now().Add(-27 * 24 * time.Hour).UnixMilli()
	apart := (27*24*time.Hour - time.Hour).Milliseconds() / int64(max(b.size.pastReceipts, 1))
	for _, fill := range []struct {
		what, sql string
		rows      int
	}{
		{"receipts", `
			WITH made AS (
				SELECT n, encode(int8send((($3::bigint + n * $4::bigint) << 16) | 28672) || int8send((-9223372036854775808)::bigint + n), 'hex')::uuid AS id,
					to_timestamp(($3::bigint + n * $4::bigint) / 1000.0) AS at
				FROM generate_series($1::bigint, $2::bigint) AS n
			), receipts AS (
				INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
				SELECT id, 'twilio', 'message_status', '', '{}', convert_to('MessageSid=SM' || md5('p' || n) || '&MessageStatus=delivered', 'UTF8'),
					'ts:SM' || md5('p' || n) || ':delivered', 'sms:+1' || (3000000000 + n), at
				FROM made
			)
			INSERT INTO receipt_outcomes (receipt_id, outcome, processed_at)
			SELECT id, 'applied', at
			FROM made`, b.size.pastReceipts},
		{"facts", `
			WITH made AS (
				INSERT INTO facts (business_id, event, axis, occurred_at, recorded_at, source, message_id, job_id, dedupe_key)
				SELECT 1000000000 + n / 2, 'sms_sent', 'contact', to_timestamp(($3::bigint + n * $4::bigint) / 1000.0),
					to_timestamp(($3::bigint + n * $4::bigint) / 1000.0), 'message', 1000000000 + n, 1000000000 + n, 'p' || n || ':sent'
				FROM generate_series($1::bigint, $2::bigint) AS n
				RETURNING id, business_id, recorded_at
			)
			INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict, at)
			SELECT id, business_id, 'contact', 'pending', 'sms_sent', 'applied', recorded_at
			FROM made`, b.size.pastFacts},
	} {
		for from := 1; from <= fill.rows; from += pastChunk {
			b.step(PartFlat, 0, fmt.Sprintf("%s %s of %s", fill.what, thousands(int64(from-1)), thousands(int64(fill.rows))))
			if _, err := b.pool.Exec(ctx, fill.sql, from, min(from+pastChunk-1, fill.rows), begin, apart); err != nil {
				return fmt.Errorf("make past %s: %w", fill.what, err)
			}
		}
	}
	if err := b.walked(ctx); err != nil {
		return err
	}
	if _, err := b.pool.Exec(ctx, `VACUUM (ANALYZE) facts, transitions, webhook_events, receipt_outcomes`); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	b.checkpoint(ctx)
	return nil
}
