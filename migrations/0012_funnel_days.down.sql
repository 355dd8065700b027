DROP TRIGGER IF EXISTS funnel_days_reset ON analytics_funnel;
DROP TRIGGER IF EXISTS funnel_days_changed ON analytics_funnel;
DROP TRIGGER IF EXISTS funnel_days_added ON analytics_funnel;
DROP FUNCTION IF EXISTS onward_funnel_days();
DROP TABLE IF EXISTS analytics_funnel_days;
