DROP INDEX campaigns_paused;
ALTER TABLE river_job RESET (autovacuum_analyze_scale_factor);
DROP STATISTICS onward_job_state_queue;
