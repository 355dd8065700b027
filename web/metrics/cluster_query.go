package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// readTimeout is the statement time-out of the one query. It takes a hundredth of that (docs/metrics.md).
const readTimeout = 2 * time.Second

// How far things are counted: beyond it, PostgreSQL's estimate is shown, which costs nothing. What is over is of less
// interest than what is still to be done.
const (
	countLimit    = 2000
	countLimitEnd = 500
)

func jobStates() []string {
	return []string{"available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled"}
}

// beginReading keeps the planner to the indexes, which it may leave where its statistics are young: a scan of the table
// is what this query must never do. Compiling it would take longer than running it.
func beginReading() pgx.TxOptions {
	return pgx.TxOptions{
		BeginQuery: "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = " + strconv.FormatInt(readTimeout.Milliseconds(), 10) +
			"; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL max_parallel_workers_per_gather = 0",
	}
}

// clusterSQL reads everything in one statement: rows of a gauge's name, its one or two labels, and the value. $1 are the
// queues, $2 is countLimit, $3 countLimitEnd.
//
// Each part is bounded: a count stops at $2 or $3 entries of an index, an age is the first entry of one, and the tables that
// are read whole hold some rows for each process, queue, channel, week or open provider call.
const clusterSQL = `
	WITH queue AS (
		SELECT unnest($1::text[]) AS name
	), estimate AS (
		-- Made by our migrations for this query: how often each pair of state and queue was met by the last ANALYZE.
		SELECT x.most_common_vals[i][1] AS state, x.most_common_vals[i][2] AS queue,
			x.most_common_freqs[i] * c.reltuples * (pg_relation_size(c.oid) / current_setting('block_size')::float8 / GREATEST(c.relpages, 1)) AS n
		FROM pg_class c
		JOIN pg_stats_ext x ON x.schemaname = current_schema() AND x.statistics_name = 'onward_job_state_queue'
		CROSS JOIN LATERAL generate_subscripts(x.most_common_freqs, 1) i
		WHERE c.oid = to_regclass('river_job') AND c.reltuples > 0
	), counted AS MATERIALIZED (
		-- Of work that is still to be done, the first $2 are always counted. What is over is mostly far more, and then it
		-- is not counted at all: its estimate is older by no more than a few hundredths of the table.
		SELECT q.name AS queue, s.state, e.n AS estimate, l.n AS countable, (
			SELECT count(*)
			FROM (SELECT 1 FROM river_job j WHERE j.state = s.state AND j.queue = q.name LIMIT l.n) j
		)::float8 AS n
		FROM queue q
		CROSS JOIN unnest(enum_range(NULL::river_job_state)) AS s (state)
		LEFT JOIN estimate e ON e.queue = q.name AND e.state = s.state::text
		CROSS JOIN LATERAL (
			SELECT CASE
				WHEN s.state NOT IN ('cancelled', 'completed', 'discarded') THEN $2
				WHEN e.n > $3 * 2 THEN 0
				ELSE $3 END AS n
		) l
	), outcome AS (
		SELECT unnest(ARRAY['unmatched', 'failed']) AS name
	), receipts AS (
		SELECT outcome, count(*)::float8 AS n
		FROM (SELECT outcome FROM receipt_outcomes LIMIT $3) o
		GROUP BY outcome
	), verdicts AS (
		SELECT unnest(s.most_common_vals::text::text[]) AS outcome, unnest(s.most_common_freqs) * c.reltuples AS n
		FROM pg_class c
		JOIN pg_stats s ON s.schemaname = current_schema() AND s.tablename = 'receipt_outcomes' AND s.attname = 'outcome'
		WHERE c.oid = to_regclass('receipt_outcomes') AND c.reltuples > 0
	), unknown AS (
		SELECT COALESCE(unknown_at, dispatched_at) AS since
		FROM dispatches
		WHERE state IN ('unknown', 'held')
		LIMIT $2
	)
	SELECT 'onward_jobs' AS name, queue AS label, state::text AS second,
		CASE WHEN n < countable THEN n ELSE GREATEST(n, COALESCE(estimate, 0)) END AS value
	FROM counted
	UNION ALL
	SELECT 'onward_oldest_available_job_age_seconds', q.name, '', COALESCE(max(extract(epoch FROM now() - first.scheduled_at))::float8, 0)
	FROM queue q
	CROSS JOIN generate_series(1, 4) AS priority
	LEFT JOIN LATERAL (
		SELECT j.scheduled_at
		FROM river_job j
		WHERE j.state = 'available' AND j.queue = q.name AND j.priority = priority.priority AND j.scheduled_at <= now()
		ORDER BY j.scheduled_at
		LIMIT 1
	) first ON true
	GROUP BY q.name
	UNION ALL
	SELECT 'onward_longest_running_job_seconds', '', '', COALESCE(max(extract(epoch FROM now() - r.attempted_at))::float8, 0)
	FROM (SELECT attempted_at FROM river_job WHERE state = 'running' LIMIT $2) r
	UNION ALL
	SELECT 'onward_queue_paused', name, '', (paused_at IS NOT NULL)::int
	FROM river_queue
	UNION ALL
	SELECT 'onward_leader', '', '', count(*)
	FROM river_leader
	WHERE expires_at > now()
	UNION ALL
	SELECT 'onward_worker_processes', '', '', count(*)
	FROM worker_processes
	WHERE seen_at > now() - interval '15 seconds'
	UNION ALL
	-- Those that want somebody are counted by their index; the others by a table that is short, or else estimated.
	SELECT 'onward_receipts', o.name, '', n.n
	FROM outcome o
	CROSS JOIN LATERAL (
		SELECT count(*)::float8 AS n
		FROM (SELECT 1 FROM receipt_outcomes r WHERE r.outcome = o.name AND r.outcome IN ('unmatched', 'failed') LIMIT $3) r
	) n
	UNION ALL
	SELECT 'onward_receipts', r.outcome, '',
		CASE WHEN (SELECT sum(n) FROM receipts) < $3 THEN r.n ELSE GREATEST(r.n, COALESCE(v.n, 0)) END
	FROM receipts r
	FULL JOIN verdicts v ON v.outcome = r.outcome
	WHERE r.outcome NOT IN ('unmatched', 'failed')
	UNION ALL
	SELECT 'onward_sends_unknown', '', '', count(*)
	FROM unknown
	UNION ALL
	SELECT 'onward_oldest_unknown_send_age_seconds', '', '', COALESCE(max(extract(epoch FROM now() - since))::float8, 0)
	FROM unknown
	UNION ALL
	SELECT 'onward_sender_slowdown', channel, '', max(slowdown)::float8
	FROM senders
	GROUP BY channel
	UNION ALL
	SELECT 'onward_campaigns_self_paused', '', '', count(*)
	FROM campaigns c
	WHERE c.status = 'paused' AND COALESCE((
		SELECT a.action
		FROM operator_actions a
		WHERE a.target_type = 'campaign' AND a.target_id = c.public_id::text
		ORDER BY a.id DESC
		LIMIT 1
	), '') <> 'campaign.pause'
	UNION ALL
	SELECT 'onward_partitions_ahead_seconds', '', '', COALESCE(GREATEST(
		extract(epoch FROM max(to_date(substring(p.relname FROM '\d{4}w\d\d$'), 'IYYY"w"IW')) + 7 - now() AT TIME ZONE 'UTC')::float8, 0), 0)
	FROM pg_inherits i
	JOIN pg_class p ON p.oid = i.inhrelid
	WHERE i.inhparent = to_regclass('webhook_events')
	UNION ALL
	SELECT 'onward_db_oldest_transaction_age_seconds', '', '', COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start))::float8, 0)
	FROM pg_stat_activity
	WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
	UNION ALL
	SELECT 'onward_analytics_lag_seconds', '', '', GREATEST(COALESCE(extract(epoch FROM now() - as_of)::float8, 0), 0)
	FROM analytics_progress
	UNION ALL
	SELECT 'onward_db_size_bytes', '', '', pg_database_size(current_database())`

// verifiedSQL finds what the fleet's last look for drift found. The kind has an index, and 144 jobs a day.
const verifiedSQL = `
	SELECT j.output
	FROM (
		SELECT id, metadata -> 'output' AS output
		FROM river_job
		WHERE kind = 'verify_sample'
		OFFSET 0
	) j
	WHERE j.output IS NOT NULL
	ORDER BY j.id DESC
	LIMIT 1`

func readCluster(ctx context.Context, db database, queues []string) (Cluster, *Verified, error) {
	c := Cluster{Jobs: map[string]map[string]float64{}, values: map[string]map[string]float64{}}
	var found *Verified
	err := pgx.BeginTxFunc(ctx, db, beginReading(), func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(clusterSQL, queues, countLimit, countLimitEnd).Query(func(rows pgx.Rows) error {
			var name, label, second string
			var value float64
			_, err := pgx.ForEachRow(rows, []any{&name, &label, &second, &value}, func() error {
				c.add(name, label, second, value)
				return nil
			})
			return err
		})
		batch.Queue(verifiedSQL).Query(func(rows pgx.Rows) error {
			outputs, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
			if err != nil || len(outputs) == 0 {
				return err
			}
			found = &Verified{}
			return json.Unmarshal(outputs[0], found)
		})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return c, nil, fmt.Errorf("read what the installation holds: %w", err)
	}
	return c, found, nil
}

func (c *Cluster) add(name, label, second string, value float64) {
	by := c.values
	key := second
	if second != "" {
		by, name = c.Jobs, label
	} else {
		key = label
	}
	if by[name] == nil {
		by[name] = map[string]float64{}
	}
	by[name][key] = value
}
