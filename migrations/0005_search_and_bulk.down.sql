DROP INDEX IF EXISTS idempotency_keys_created;
DROP TABLE IF EXISTS bulk_targets, bulk_actions;
DROP TRIGGER IF EXISTS businesses_erased ON businesses;
DROP TRIGGER IF EXISTS businesses_renamed ON businesses;
DROP TRIGGER IF EXISTS businesses_changed ON businesses;
DROP TRIGGER IF EXISTS businesses_added ON businesses;
DROP FUNCTION IF EXISTS onward_business_erased(), onward_business_renamed(), onward_business_changed(), onward_business_added();
DROP TABLE IF EXISTS business_tags, business_changes, business_search;
DROP STATISTICS IF EXISTS onward_business_places, onward_business_category, onward_business_statuses;
DROP INDEX IF EXISTS businesses_country, businesses_category, businesses_city, businesses_name, businesses_ticket, businesses_subscription, businesses_website, businesses_contact_seldom;
ALTER TABLE businesses DROP COLUMN IF EXISTS contact_seldom;
DROP FUNCTION IF EXISTS onward_business_document(text, text, text, text), onward_fold(text);
-- pg_trgm stays: others may use it by now.
