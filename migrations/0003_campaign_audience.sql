-- Campaigns: the audience as it was at the launch, a halt that no dispatch overtakes, contacts for test messages.

CREATE TABLE campaign_recipients (
    campaign_id bigint NOT NULL,
    business_id bigint NOT NULL,
    skipped     text,
    PRIMARY KEY (campaign_id, business_id)
);
COMMENT ON TABLE campaign_recipients IS 'A campaign''s audience, frozen at its launch: nobody is in it twice. No foreign keys: neither a campaign that was launched nor a business is ever deleted';
COMMENT ON COLUMN campaign_recipients.skipped IS 'Why there is no message to it, in one word: no_address, suppressed, unsubscribed, unrenderable, erased';

ALTER TABLE campaigns
    ADD COLUMN audience_cursor bigint NOT NULL DEFAULT 0,
    ADD COLUMN recipients      bigint NOT NULL DEFAULT 0,
    ADD COLUMN frozen_at       timestamptz;
COMMENT ON COLUMN campaigns.audience_cursor IS 'Greatest businesses.id already looked at for the audience: where an interrupted freeze goes on';
COMMENT ON COLUMN campaigns.recipients IS 'How many are in campaign_recipients';
COMMENT ON COLUMN campaigns.frozen_at IS 'When the audience was complete: no message is made before';
COMMENT ON COLUMN campaigns.fanout_cursor IS 'Greatest business_id of the audience already fanned out: where an interrupted fan-out goes on';
COMMENT ON COLUMN campaigns.fanout_last IS 'Greatest businesses.id at the launch: who comes later is not in the audience';

-- Campaigns that were fanned out before this table: their audience is who was counted.
UPDATE campaigns c
SET frozen_at = launched_at,
    recipients = COALESCE((SELECT sum(n) FROM campaign_counters k WHERE k.campaign_id = c.id), 0)
WHERE fanned_out_at IS NOT NULL;

ALTER TABLE businesses ADD COLUMN test boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN businesses.test IS 'Made for test messages to an address of the operators'': in no campaign''s audience';
CREATE INDEX businesses_test ON businesses (id) WHERE test;

ALTER TABLE dispatches ADD COLUMN job_id bigint;
COMMENT ON COLUMN dispatches.job_id IS 'The river_job that made the call: another job that finds the message dispatching knows that it was not cut off';

COMMENT ON COLUMN senders.slowdown IS 'Factor on the time between calls: doubled by a 429, easing back to 1 with each call once those that were under way are answered';
COMMENT ON COLUMN senders.updated_at IS 'When it was last slowed down';

-- A paused or cancelled campaign dispatches nothing from the commit on that made it so. Whoever halts it takes its lock
-- alone; a dispatch takes the lock shared and then looks.
CREATE FUNCTION onward_campaign_key(campaign bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT hashtextextended('campaign:' || campaign, 7206815)
$$;

CREATE FUNCTION onward_lock_campaign() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(onward_campaign_key(NEW.id));
    RETURN NEW;
END
$$;
CREATE TRIGGER campaigns_halt BEFORE UPDATE OF status ON campaigns
    FOR EACH ROW WHEN (NEW.status IN ('paused', 'cancelled') AND OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION onward_lock_campaign();

CREATE FUNCTION onward_guard_campaign() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(onward_campaign_key(NEW.campaign_id));
    IF EXISTS (SELECT 1 FROM campaigns c WHERE c.id = NEW.campaign_id AND c.status IN ('paused', 'cancelled')) THEN
        RAISE EXCEPTION 'message % may not be dispatched: its campaign is halted', NEW.id
            USING ERRCODE = 'ON004';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER messages_guard_insert_campaign BEFORE INSERT ON messages
    FOR EACH ROW WHEN (NEW.state = 'dispatching' AND NEW.campaign_id IS NOT NULL) EXECUTE FUNCTION onward_guard_campaign();
CREATE TRIGGER messages_guard_update_campaign BEFORE UPDATE OF state ON messages
    FOR EACH ROW WHEN (NEW.state = 'dispatching' AND NEW.campaign_id IS NOT NULL) EXECUTE FUNCTION onward_guard_campaign();
