-- What accepting and applying write, made narrower: every index of river_job is written three times a job (available,
-- running, completed), since its state is indexed and no update of it stays on its page.

-- River's two GIN indexes serve searches by arguments and metadata, which neither River nor its pages make without being
-- asked for them by code. We look for a receipt's jobs, and for jobs that failed.
DROP INDEX IF EXISTS river_job_args_index;
DROP INDEX IF EXISTS river_job_metadata_index;
CREATE INDEX onward_job_receipt ON river_job ((args ->> 'receipt_id')) WHERE (args ->> 'receipt_id') IS NOT NULL;
COMMENT ON INDEX onward_job_receipt IS 'The jobs of a receipt. Receipts'' ids are ordered by time, so it grows at one end';
CREATE INDEX onward_job_errors ON river_job (id) WHERE errors IS NOT NULL;
COMMENT ON INDEX onward_job_errors IS 'Jobs that failed at least once: few. Erasure blanks what their errors say of a contact';

-- Neighbours are updated together: a campaign's messages are sent, and their callbacks come, about in the order in which
-- they were made. An update keeps off the indexes (HOT) only while its page has room for the row's new version, and old
-- versions of one transaction's own make no room. Half a page has room for each row once; between two updates of a row
-- the old versions are pruned. Pages that exist keep what they have.
ALTER TABLE messages SET (fillfactor = 50);
ALTER TABLE businesses SET (fillfactor = 50);
