package worker

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// Receipts past their retention go, a week at a time; what they led to stays, and so does a week that holds one which
// nobody has dealt with.
func TestPartitions_dropsReceiptsPastRetention(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	b := setup(t, func(o *Options) {
		o.RetentionDays = 30
		o.Clock = func() time.Time { return now }
	})
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := b.pool.Exec(b.ctx, sql, args...)
		require.NoError(t, err)
	}
	exec(`SELECT onward_ensure_partitions('2026-09-01Z', '2026-11-30Z')`)
	receipt := func(at, outcome string) uuid.UUID {
		t.Helper()
		var id uuid.UUID
		require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT onward_uuid_floor($1::timestamptz)`, at).Scan(&id))
		id[15] = 1
		exec(`
			INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
			VALUES ($1, 'twilio', 'message_status', '{}', 'raw', $3, $2::timestamptz)`, id, at, id.String())
		if outcome != "" {
			exec(`INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, $2)`, id, outcome)
		}
		return id
	}
	exists := func(id uuid.UUID) (raw, outcome bool) {
		t.Helper()
		require.NoError(t, b.pool.QueryRow(b.ctx, `
			SELECT EXISTS (SELECT 1 FROM webhook_events WHERE id = $1), EXISTS (SELECT 1 FROM receipt_outcomes WHERE receipt_id = $1)`, id).Scan(&raw, &outcome))
		return raw, outcome
	}
	run := func() {
		require.NoError(t, b.a.workPartitions(b.ctx, &river.Job[jobs.PartitionsArgs]{JobRow: &rivertype.JobRow{ID: 1}}))
	}

	old := receipt("2026-09-02 12:00Z", "applied")
	caught := receipt("2026-07-01 12:00Z", "ignored") // in the default partition
	openCaught := receipt("2026-07-02 12:00Z", "")
	neighbour := receipt("2026-09-09 12:00Z", "applied") // shares its week with
	open := receipt("2026-09-10 12:00Z", "")             // one that is not applied
	holds := receipt("2026-09-16 12:00Z", "failed")      // gave up, and may be an opt-out
	exec(`INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'sms', '+12025550001')`, holds)
	edge := receipt("2026-10-25 23:00Z", "applied")  // the last hour of the last week that is wholly past
	young := receipt("2026-10-26 01:00Z", "applied") // its week ends within the retention
	_, business := b.message(0, jobs.ChannelSMS, someone)
	exec(`
		INSERT INTO facts (business_id, event, axis, occurred_at, source, receipt_id, dedupe_key)
		VALUES ($1, 'reply_received', 'contact', now(), 'webhook', $2, 'k')`, business, old)

	run()
	for name, c := range map[string]struct {
		id   uuid.UUID
		kept bool
	}{
		"old": {old, false}, "caught": {caught, false}, "neighbour": {neighbour, true}, "holds": {holds, true}, "edge": {edge, false}, "young": {young, true},
	} {
		raw, outcome := exists(c.id)
		require.Equal(t, c.kept, raw, name)
		require.Equal(t, c.kept, outcome, name)
	}
	raw, _ := exists(open)
	require.True(t, raw)
	raw, _ = exists(openCaught)
	require.True(t, raw)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM facts WHERE receipt_id = $1`, old), "facts outlive what they were read from")

	// Once somebody has dealt with them, they go with the rest.
	exec(`INSERT INTO receipt_outcomes (receipt_id, outcome) VALUES ($1, 'applied'), ($2, 'ignored')`, open, openCaught)
	exec(`DELETE FROM inbound_pending`)
	run()
	for _, id := range []uuid.UUID{open, openCaught, neighbour, holds} {
		raw, outcome := exists(id)
		require.False(t, raw || outcome)
	}
	raw, _ = exists(young)
	require.True(t, raw)
	require.Zero(t, b.number(`SELECT count(*) FROM pg_class WHERE relname = 'webhook_events_2026w36'`))

	// Kept for ever, where that is the setting.
	b.a.RetentionDays = 0
	now = now.AddDate(1, 0, 0)
	run()
	raw, _ = exists(young)
	require.True(t, raw)
}
