DROP TRIGGER IF EXISTS messages_guard_update_campaign ON messages;
DROP TRIGGER IF EXISTS messages_guard_insert_campaign ON messages;
DROP TRIGGER IF EXISTS campaigns_halt ON campaigns;
DROP FUNCTION IF EXISTS onward_guard_campaign(), onward_lock_campaign(), onward_campaign_key(bigint);
ALTER TABLE dispatches DROP COLUMN IF EXISTS job_id;
ALTER TABLE businesses DROP COLUMN IF EXISTS test;
ALTER TABLE campaigns
    DROP COLUMN IF EXISTS frozen_at,
    DROP COLUMN IF EXISTS recipients,
    DROP COLUMN IF EXISTS audience_cursor;
DROP TABLE IF EXISTS campaign_recipients;
