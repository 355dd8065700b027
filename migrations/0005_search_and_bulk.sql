-- Search and lists at millions of businesses, tags, bulk actions (docs/decisions/0010).
--
-- What the path of a status change writes stays as it was but for one narrow row: no index of businesses covers a column
-- that moves with every message, so that its updates stay within their page (HOT).

-- Text as it is searched for: lower case, without accents, in any locale. NFD takes a letter and its accent apart; plain
-- ASCII, which has as many bytes as letters, is spared that: a filter may look at thousands of rows. Not STRICT: then
-- PostgreSQL inlines it.
CREATE FUNCTION onward_fold(t text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN octet_length(t) = char_length(t) THEN lower(t)
        ELSE lower(regexp_replace(normalize(t, NFD), '[\u0300-\u036f]', '', 'g')) END
$$;
COMMENT ON FUNCTION onward_fold(text) IS 'Lower case without accents: how names, cities, categories and what is searched for are compared';

CREATE FUNCTION onward_business_document(name text, email text, city text, phone text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A line a field, each beginning with a space: so '% ab%' finds the beginning of any word.
    SELECT E'\n ' || regexp_replace(onward_fold(name), '\s+', ' ', 'g')
        || COALESCE(E'\n ' || onward_fold(email), '')
        || COALESCE(E'\n ' || regexp_replace(onward_fold(city), '\s+', ' ', 'g'), '')
        || COALESCE(E'\n ' || regexp_replace(phone, '\D', '', 'g'), '')
$$;

CREATE TABLE business_search (
    business_id bigint PRIMARY KEY,
    document    text   NOT NULL
);
COMMENT ON TABLE business_search IS 'What a business is found by: name, email, city and the digits of its phone. Beside businesses, so that the index over it costs nothing when a status changes; kept by triggers';

CREATE TABLE business_changes (
    business_id bigint      PRIMARY KEY,
    updated_at  timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE business_changes IS 'businesses.updated_at once more, to be sorted by: an index over it on businesses itself would make each status change write all of that table''s indexes; kept by triggers';

INSERT INTO business_search (business_id, document)
SELECT id, onward_business_document(name, email, city, phone)
FROM businesses;
INSERT INTO business_changes (business_id, updated_at)
SELECT id, updated_at
FROM businesses;
CREATE INDEX business_changes_updated ON business_changes (updated_at, business_id);

-- pg_trgm comes with PostgreSQL and is trusted: whoever may create in the database may create it. Without it everything
-- works, but a search reads businesses in order, a bounded part at a time.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'search has no index: CREATE EXTENSION pg_trgm failed (%)', SQLERRM
        USING HINT = 'Install PostgreSQL''s contrib package, let a superuser run CREATE EXTENSION pg_trgm, then CREATE INDEX business_search_document ON business_search USING gin (document gin_trgm_ops).';
END
$$;
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm') THEN
        -- The list of what is not merged yet is read by each search: half a megabyte at most.
        EXECUTE (SELECT format('CREATE INDEX business_search_document ON business_search USING gin (document %I.gin_trgm_ops) WITH (gin_pending_list_limit = 512)', n.nspname)
                 FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm');
    END IF;
END
$$;

CREATE FUNCTION onward_business_added() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO business_search (business_id, document)
    SELECT id, onward_business_document(name, email, city, phone)
    FROM fresh;
    INSERT INTO business_changes (business_id, updated_at)
    SELECT id, updated_at
    FROM fresh;
    RETURN NULL;
END
$$;
CREATE TRIGGER businesses_added AFTER INSERT ON businesses
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION onward_business_added();

-- The plan is kept for a session's life: it must not be one that was right for a small table.
CREATE FUNCTION onward_business_changed() RETURNS trigger
    LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    UPDATE business_changes c
    SET updated_at = m.updated_at
    FROM moved m
    WHERE c.business_id = m.id AND c.updated_at <> m.updated_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER businesses_changed AFTER UPDATE ON businesses
    REFERENCING NEW TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION onward_business_changed();

CREATE FUNCTION onward_business_renamed() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    UPDATE business_search
    SET document = onward_business_document(NEW.name, NEW.email, NEW.city, NEW.phone)
    WHERE business_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER businesses_renamed AFTER UPDATE OF name, email, city, phone ON businesses
    FOR EACH ROW WHEN ((OLD.name, OLD.email, OLD.city, OLD.phone) IS DISTINCT FROM (NEW.name, NEW.email, NEW.city, NEW.phone))
    EXECUTE FUNCTION onward_business_renamed();

-- The contact statuses that a mass mailing does not pass through by itself: only they are worth an index, and only a
-- move into or out of them writes it.
ALTER TABLE businesses ADD COLUMN contact_seldom text GENERATED ALWAYS AS (
    CASE WHEN contact_status IN ('pending', 'emailed', 'sms_sent') THEN NULL ELSE contact_status END) STORED;
COMMENT ON COLUMN businesses.contact_seldom IS 'contact_status where it is past pending, emailed and sms_sent: indexed, as contact_status must not be';
CREATE INDEX businesses_contact_seldom ON businesses (contact_seldom, created_at, id) WHERE contact_seldom IS NOT NULL;
CREATE INDEX businesses_website ON businesses (website_status, created_at, id) WHERE website_status <> 'none';
CREATE INDEX businesses_subscription ON businesses (subscription_status, created_at, id) WHERE subscription_status <> 'none';
CREATE INDEX businesses_ticket ON businesses (ticket_status, created_at, id) WHERE ticket_status <> 'none';
CREATE INDEX businesses_name ON businesses (name, id);
CREATE INDEX businesses_city ON businesses (onward_fold(city), created_at, id);
CREATE INDEX businesses_category ON businesses (onward_fold(category), created_at, id);
CREATE INDEX businesses_country ON businesses (country, created_at, id) WHERE country IS NOT NULL;
-- A city says its country, who was sold a website is pending no more: without these the planner takes all for independent.
CREATE STATISTICS onward_business_places (mcv) ON (onward_fold(city)), country FROM businesses;
CREATE STATISTICS onward_business_category ON (onward_fold(category)) FROM businesses;
CREATE STATISTICS onward_business_statuses (mcv)
    ON contact_status, contact_seldom, website_status, subscription_status, ticket_status FROM businesses;

CREATE TABLE business_tags (
    business_id bigint NOT NULL,
    tag         text   NOT NULL,
    PRIMARY KEY (business_id, tag)
);
COMMENT ON TABLE business_tags IS 'Operators'' own words on businesses, in lower case. Gone with an erasure';
CREATE INDEX business_tags_tag ON business_tags (tag, business_id);

CREATE FUNCTION onward_business_erased() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM business_tags WHERE business_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER businesses_erased AFTER UPDATE OF erased_at ON businesses
    FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL) EXECUTE FUNCTION onward_business_erased();

CREATE TABLE bulk_actions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id   uuid        NOT NULL UNIQUE,
    action      text        NOT NULL CHECK (action IN ('opt_out', 'tag', 'untag', 'start_campaign')),
    tag         text,
    campaign_id bigint      REFERENCES campaigns,
    selection   jsonb       NOT NULL,
    reason      text        NOT NULL,
    actor       text        NOT NULL,
    action_id   bigint      NOT NULL REFERENCES operator_actions,
    undo_of     bigint      UNIQUE REFERENCES bulk_actions,
    state       text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'cancelled')),
    total       bigint      NOT NULL,
    done        bigint      NOT NULL DEFAULT 0,
    skipped     jsonb       NOT NULL DEFAULT '{}',
    last_target bigint      NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
COMMENT ON TABLE bulk_actions IS 'Actions on all businesses that matched a filter at one moment, and how far each is';
COMMENT ON COLUMN bulk_actions.last_target IS 'Greatest business_id already done: where an interrupted one goes on';
COMMENT ON COLUMN bulk_actions.action_id IS 'Who asked for it, and why';

CREATE TABLE bulk_targets (
    bulk_id     bigint NOT NULL,
    business_id bigint NOT NULL,
    skipped     text,
    PRIMARY KEY (bulk_id, business_id)
);
COMMENT ON TABLE bulk_targets IS 'Whom a bulk action is about, as they matched when it was asked for; deleted 30 days after its end, and with that its undo';
COMMENT ON COLUMN bulk_targets.skipped IS 'Why nothing was done to it, in one word: erased, already, absent, full';

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
ANALYZE businesses, business_search, business_changes;
