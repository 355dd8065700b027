-- River's index over kinds is written three times a job, and nearly all of them are of three kinds that it does not help to
-- find: every page of the table has some. What remains are the kinds that are looked for.
DROP INDEX IF EXISTS river_job_kind;
CREATE INDEX onward_job_rare_kind ON river_job (kind, id) WHERE kind <> ALL ('{email_event,send,status_callback}');
COMMENT ON INDEX onward_job_rare_kind IS 'Jobs of the kinds that are not most of the table';
