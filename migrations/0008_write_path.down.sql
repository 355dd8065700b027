ALTER TABLE businesses SET (fillfactor = 80);
ALTER TABLE messages SET (fillfactor = 80);
DROP INDEX onward_job_errors;
DROP INDEX onward_job_receipt;
CREATE INDEX river_job_metadata_index ON river_job USING GIN (metadata);
CREATE INDEX river_job_args_index ON river_job USING GIN (args);
