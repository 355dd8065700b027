package metrics

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
)

func read(t *testing.T, pool *pgxpool.Pool) Cluster {
	t.Helper()
	c, _, err := readCluster(t.Context(), pool, jobs.Queues())
	require.NoError(t, err)
	return c
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func TestReadCluster_whatTheInstallationHolds(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	exec(t, pool, `
		INSERT INTO river_job (kind, queue, state, max_attempts, args, priority, scheduled_at, attempted_at, finalized_at, metadata)
		VALUES
			('reply', 'inbound', 'available', 25, '{}', 1, now() - interval '1 minute', NULL, NULL, '{}'),
			('reply', 'inbound', 'available', 25, '{}', 3, now() - interval '1 hour', NULL, NULL, '{}'),
			('reply', 'inbound', 'available', 25, '{}', 1, now() + interval '4 seconds', NULL, NULL, '{}'),
			('send', 'send_sms', 'available', 25, '{}', 1, now() + interval '4 seconds', NULL, NULL, '{}'),
			('purchase', 'billing', 'running', 25, '{}', 1, now(), now() - interval '2 minutes', NULL, '{}'),
			('purchase', 'billing', 'discarded', 25, '{}', 1, now(), now(), now(), '{}'),
			('verify_sample', 'maintenance', 'completed', 1, '{}', 1, now(), now(), now(), '{"output": {"at": "2026-01-01T00:00:00Z", "drifted": 9}}'),
			('verify_sample', 'maintenance', 'completed', 1, '{}', 1, now(), now(), now(),
				'{"output": {"at": "2026-02-01T00:00:00Z", "drifted": 2, "violations": {"sent_twice": 1}}}'),
			('verify_sample', 'maintenance', 'running', 1, '{}', 1, now(), now(), NULL, '{}')`)
	exec(t, pool, `INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('billing', now(), now()), ('inbound', NULL, now())`)
	exec(t, pool, `INSERT INTO river_leader (elected_at, expires_at, leader_id) VALUES (now(), now() + interval '1 minute', 'a')`)
	exec(t, pool, `
		INSERT INTO worker_processes (client_id, host, pid, version, queues, capacity, seen_at)
		VALUES ('a', 'h', 1, 'v', '{}', 1, now()), ('dead', 'h', 1, 'v', '{}', 1, now() - interval '1 minute')`)
	exec(t, pool, `
		INSERT INTO receipt_outcomes (receipt_id, outcome)
		SELECT gen_random_uuid(), o FROM unnest(ARRAY['applied', 'applied', 'no_change', 'unmatched', 'failed', 'failed']) o`)
	exec(t, pool, `
		WITH b AS (
			INSERT INTO businesses (public_id, name) SELECT gen_random_uuid(), 'Test' FROM generate_series(1, 3) RETURNING id
		), m AS (
			INSERT INTO messages (public_id, business_id, channel, address, body, state)
			SELECT gen_random_uuid(), id, 'email', 'a@example.test', '', 'unknown' FROM b RETURNING id
		)
		INSERT INTO dispatches (message_id, channel, address, attempt, state, dispatched_at, unknown_at)
		SELECT id, 'email', 'a@example.test', 1, (ARRAY['unknown', 'held', 'calling'])[row_number() OVER ()], now() - interval '1 day', now() - interval '1 hour'
		FROM m`)
	exec(t, pool, `INSERT INTO senders (channel, address, per_second, slowdown) VALUES ('sms', '+1', 1, 4), ('sms', '+2', 1, 1)`)
	exec(t, pool, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status)
		SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid, 'Test', 'sms', '', '{}', 'paused' FROM generate_series(1, 3) i`)
	exec(t, pool, `
		INSERT INTO operator_actions (actor, action, target_type, target_id)
		VALUES ('ann', 'campaign.pause', 'campaign', '00000000-0000-0000-0000-000000000001'),
			('ann', 'campaign.pause', 'campaign', '00000000-0000-0000-0000-000000000002'),
			('ann', 'campaign.resume', 'campaign', '00000000-0000-0000-0000-000000000002')`)

	c, verified, err := readCluster(t.Context(), pool, jobs.Queues())
	require.NoError(t, err)
	require.Equal(t, &Verified{At: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Drifted: 2, Violations: map[string]int{"sent_twice": 1}}, verified)
	require.InDelta(t, 3, c.Jobs["inbound"]["available"], 0)
	require.InDelta(t, 1, c.Jobs["billing"]["discarded"], 0)
	require.InDelta(t, 0, c.Jobs["billing"]["completed"], 0)
	value := func(name, label string) float64 { return c.values[name][label] }
	require.InDelta(t, 3600, value("onward_oldest_available_job_age_seconds", "inbound"), 60, "whatever its priority")
	require.InDelta(t, 0, value("onward_oldest_available_job_age_seconds", "send_sms"), 0, "one that is not due yet is not late")
	require.InDelta(t, 120, value("onward_longest_running_job_seconds", ""), 60)
	require.InDelta(t, 1, value("onward_queue_paused", "billing"), 0)
	require.InDelta(t, 0, value("onward_queue_paused", "inbound"), 0)
	require.InDelta(t, 1, value("onward_leader", ""), 0)
	require.InDelta(t, 1, value("onward_worker_processes", ""), 0)
	for outcome, n := range map[string]float64{"applied": 2, "no_change": 1, "ignored": 0, "unmatched": 1, "failed": 2} {
		require.InDelta(t, n, value("onward_receipts", outcome), 0, outcome)
	}
	require.InDelta(t, 2, value("onward_sends_unknown", ""), 0)
	require.InDelta(t, 3600, value("onward_oldest_unknown_send_age_seconds", ""), 60)
	require.InDelta(t, 4, value("onward_sender_slowdown", "sms"), 0)
	require.InDelta(t, 2, value("onward_campaigns_self_paused", ""), 0, "one never paused by anybody, one resumed since")
	require.InDelta(t, 28*24*3600, value("onward_partitions_ahead_seconds", ""), 8*24*3600)
	require.Positive(t, value("onward_db_size_bytes", ""))
}

// Past what is counted, the shares that ANALYZE found are shown, and never less than was counted.
func TestReadCluster_estimatesWhatIsTooMuchToCount(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	exec(t, pool, `
		INSERT INTO river_job (kind, queue, state, max_attempts, args, finalized_at)
		SELECT 'send', 'send_sms', s, 25, '{}', CASE s WHEN 'completed' THEN now() END
		FROM unnest(ARRAY['available', 'completed']::river_job_state[]) s, generate_series(1, 6000)`)
	exec(t, pool, `INSERT INTO receipt_outcomes (receipt_id, outcome) SELECT gen_random_uuid(), 'applied' FROM generate_series(1, 6000)`)
	c := read(t, pool)
	require.InDelta(t, countLimit, c.Jobs["send_sms"]["available"], 0, "before the first ANALYZE: at least so many")
	require.InDelta(t, countLimitEnd, c.Jobs["send_sms"]["completed"], 0)

	exec(t, pool, `ANALYZE river_job`)
	exec(t, pool, `ANALYZE receipt_outcomes`)
	c = read(t, pool)
	require.InDelta(t, 6000, c.Jobs["send_sms"]["available"], 60)
	require.InDelta(t, 6000, c.Jobs["send_sms"]["completed"], 60)
	require.InDelta(t, 6000, c.values["onward_receipts"]["applied"], 60)

	// A backlog that is gone shows so at once, whatever the last ANALYZE found.
	exec(t, pool, `DELETE FROM river_job WHERE state = 'available'`)
	require.InDelta(t, 0, read(t, pool).Jobs["send_sms"]["available"], 0)
}

// No part of the query scans the jobs, not even without statistics.
func TestReadCluster_neverScansTheJobs(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	for _, sql := range []string{clusterSQL, verifiedSQL} {
		args := []any{}
		if sql == clusterSQL {
			args = []any{jobs.Queues(), countLimit, countLimitEnd}
		}
		err := pgx.BeginTxFunc(t.Context(), pool, beginReading(), func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), "EXPLAIN "+sql, args...)
			if err != nil {
				return err
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			for _, line := range plan {
				require.NotContains(t, line, "Seq Scan on river_job")
			}
			return err
		})
		require.NoError(t, err)
	}
}

// A database that does not answer neither blocks a scrape nor leaves old truths standing.
func TestReadCluster_aDatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, pgtest.Schema).Pool
	m := New(Options{Queues: jobs.Queues()})
	now := time.Now()
	m.cluster.clock = func() time.Time { return now }
	require.NoError(t, m.ReadClusterOnce(t.Context(), pool))
	require.Equal(t, 1, testutil.CollectAndCount(m.cluster, "onward_leader"))

	lock, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `LOCK TABLE river_queue IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	require.ErrorContains(t, m.ReadClusterOnce(t.Context(), pool), "statement timeout")
	require.NoError(t, lock.Rollback(context.Background()))
	require.InDelta(t, 1, testutil.ToFloat64(m.cluster.failures), 0)
	require.Equal(t, 1, testutil.CollectAndCount(m.cluster, "onward_leader"), "the last reading is a moment old")

	now = now.Add(staleAfter)
	require.Zero(t, testutil.CollectAndCount(m.cluster, "onward_leader"))
}

// Readings go over one connection, whose plan they keep; one that broke is replaced.
func TestReadCluster_keepsAConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, pgtest.Schema)
	config, err := pgxpool.ParseConfig(db.DSN)
	require.NoError(t, err)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	kept := &keptConn{pool: pool}
	t.Cleanup(kept.release)
	m := New(Options{Queues: jobs.Queues()})
	require.NoError(t, m.ReadClusterOnce(t.Context(), kept))
	first := kept.conn.Conn().PgConn().PID()
	require.NoError(t, m.ReadClusterOnce(t.Context(), kept))
	require.Equal(t, first, kept.conn.Conn().PgConn().PID())
	require.EqualValues(t, 1, pool.Stat().AcquiredConns())

	_, err = db.Pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, int32(first)) //nolint:gosec // a process id
	require.NoError(t, err)
	require.Error(t, m.ReadClusterOnce(t.Context(), kept))
	kept.release()
	require.NoError(t, m.ReadClusterOnce(t.Context(), kept))
	require.NotEqual(t, first, kept.conn.Conn().PgConn().PID())
	kept.release()
	require.Zero(t, pool.Stat().AcquiredConns())
}
