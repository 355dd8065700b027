-- What the metrics of the whole installation need, to be cheap at ten million jobs (docs/metrics.md).

-- How many jobs there are of each state in each queue, as ANALYZE finds it: what is not worth counting is estimated.
CREATE STATISTICS onward_job_state_queue (mcv) ON state, queue FROM river_job;
COMMENT ON STATISTICS onward_job_state_queue IS 'Shares of state and queue among jobs: onward_jobs shows them where there are too many to count';

-- By default a table is analyzed when a tenth of it has changed; a million jobs would come and go unseen.
ALTER TABLE river_job SET (autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX campaigns_paused ON campaigns (id) WHERE status = 'paused';
