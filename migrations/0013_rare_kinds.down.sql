DROP INDEX IF EXISTS onward_job_rare_kind;
CREATE INDEX IF NOT EXISTS river_job_kind ON river_job (kind);
