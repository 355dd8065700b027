-- The funnel by whole days (docs/analytics.md): a question about months reads days, and quarters of an hour only of the days
-- that it cuts through.
CREATE TABLE analytics_funnel_days (
    day         date   NOT NULL,
    channel     text   NOT NULL,
    campaign_id bigint NOT NULL,
    country     text   NOT NULL,
    contacted   int    NOT NULL,
    delivered   int    NOT NULL,
    opened      int    NOT NULL,
    clicked     int    NOT NULL,
    replied     int    NOT NULL,
    purchased   int    NOT NULL,
    active      int    NOT NULL,
    PRIMARY KEY (day, channel, campaign_id, country)
) WITH (fillfactor = 70);
COMMENT ON TABLE analytics_funnel_days IS 'analytics_funnel added up by the day (UTC) of the first contact; kept by triggers';

-- By triggers, so that a worker of the version before, which may still run, keeps it as well.
CREATE FUNCTION onward_funnel_days() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM analytics_funnel_days; -- which may be among the tables that are truncated: a TRUNCATE of its own would be refused
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO analytics_funnel_days AS d
        SELECT (at AT TIME ZONE 'UTC')::date, channel, campaign_id, country, -sum(contacted), -sum(delivered), -sum(opened), -sum(clicked),
            -sum(replied), -sum(purchased), -sum(active)
        FROM before_it
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (day, channel, campaign_id, country) DO UPDATE
        SET contacted = d.contacted + EXCLUDED.contacted, delivered = d.delivered + EXCLUDED.delivered, opened = d.opened + EXCLUDED.opened,
            clicked = d.clicked + EXCLUDED.clicked, replied = d.replied + EXCLUDED.replied, purchased = d.purchased + EXCLUDED.purchased,
            active = d.active + EXCLUDED.active;
    END IF;
    INSERT INTO analytics_funnel_days AS d
    SELECT (at AT TIME ZONE 'UTC')::date, channel, campaign_id, country, sum(contacted), sum(delivered), sum(opened), sum(clicked),
        sum(replied), sum(purchased), sum(active)
    FROM after_it
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, channel, campaign_id, country) DO UPDATE
    SET contacted = d.contacted + EXCLUDED.contacted, delivered = d.delivered + EXCLUDED.delivered, opened = d.opened + EXCLUDED.opened,
        clicked = d.clicked + EXCLUDED.clicked, replied = d.replied + EXCLUDED.replied, purchased = d.purchased + EXCLUDED.purchased,
        active = d.active + EXCLUDED.active;
    RETURN NULL;
END
$$;
CREATE TRIGGER funnel_days_added AFTER INSERT ON analytics_funnel
    REFERENCING NEW TABLE AS after_it FOR EACH STATEMENT EXECUTE FUNCTION onward_funnel_days();
CREATE TRIGGER funnel_days_changed AFTER UPDATE ON analytics_funnel
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it FOR EACH STATEMENT EXECUTE FUNCTION onward_funnel_days();
CREATE TRIGGER funnel_days_reset AFTER TRUNCATE ON analytics_funnel
    FOR EACH STATEMENT EXECUTE FUNCTION onward_funnel_days();

-- The triggers' lock keeps writers off until the end of this.
INSERT INTO analytics_funnel_days
SELECT (at AT TIME ZONE 'UTC')::date, channel, campaign_id, country, sum(contacted), sum(delivered), sum(opened), sum(clicked), sum(replied),
    sum(purchased), sum(active)
FROM analytics_funnel
GROUP BY 1, 2, 3, 4;
ANALYZE analytics_funnel_days;
