-- Onward's tables. Ids that leave the system are UUIDv7; inside, bigint identity.
-- Statuses are written by lifecycle/pgstore alone; facts and transitions are append-only.

CREATE FUNCTION onward_uuid_floor(at timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT AS $$
    -- The smallest UUIDv7-ordered value of a millisecond: its 48 bits of Unix time, then zeroes.
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
COMMENT ON FUNCTION onward_uuid_floor(timestamptz) IS 'Lower bound, as a uuid, of every UUIDv7 made at or after a time';

CREATE TABLE businesses (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id           uuid        NOT NULL UNIQUE,
    external_id         text        UNIQUE,
    name                text        NOT NULL,
    phone               text,
    email               text,
    city                text,
    country             text,
    timezone            text,
    category            text,
    contact_status      text        NOT NULL DEFAULT 'pending'
        CHECK (contact_status IN ('pending', 'emailed', 'sms_sent', 'opened', 'clicked', 'replied', 'purchased', 'unsubscribed', 'bounced')),
    website_status      text        NOT NULL DEFAULT 'none'
        CHECK (website_status IN ('none', 'generating', 'generated', 'deployed', 'sold', 'archived')),
    subscription_status text        NOT NULL DEFAULT 'none'
        CHECK (subscription_status IN ('none', 'active', 'past_due', 'paused', 'cancelled')),
    ticket_status       text        NOT NULL DEFAULT 'none'
        CHECK (ticket_status IN ('none', 'open', 'closed')),
    reached             text        NOT NULL DEFAULT 'pending'
        CHECK (reached IN ('pending', 'emailed', 'sms_sent', 'opened', 'clicked', 'replied')),
    bounced             boolean     NOT NULL DEFAULT false,
    purchased           boolean     NOT NULL DEFAULT false,
    opted_out           boolean     NOT NULL DEFAULT false,
    folded_at           timestamptz,
    folded_key          text COLLATE "C",
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    erased_at           timestamptz
) WITH (fillfactor = 80);
COMMENT ON TABLE businesses IS 'Contacts: local companies, with their four statuses. Statuses are the fold of facts; only lifecycle/pgstore writes them';
COMMENT ON COLUMN businesses.reached IS 'How far contact got, beneath the status shown (see lifecycle.ContactState)';
COMMENT ON COLUMN businesses.folded_at IS 'occurred_at of the newest fact folded into the statuses; an older fact makes a refold';
COMMENT ON COLUMN businesses.folded_key IS 'dedupe_key of that fact: the tie-break among facts of one instant';
CREATE INDEX businesses_phone ON businesses (phone) WHERE phone IS NOT NULL;
CREATE INDEX businesses_created ON businesses (created_at, id);
CREATE INDEX businesses_email ON businesses (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE sites (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id           uuid        NOT NULL UNIQUE,
    business_id         bigint      NOT NULL REFERENCES businesses,
    url                 text,
    status              text        NOT NULL DEFAULT 'draft'
        CHECK (status IN ('draft', 'generated', 'deployed', 'owned')),
    subscription_id     text        UNIQUE,
    subscription_status text        NOT NULL DEFAULT 'none'
        CHECK (subscription_status IN ('none', 'active', 'past_due', 'paused', 'cancelled')),
    price_in_cents      bigint,
    currency            text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sites IS 'Websites made for a business; status and subscription_status are the fold of the facts that name the site';
CREATE INDEX sites_business ON sites (business_id);

CREATE TABLE campaigns (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id      uuid        NOT NULL UNIQUE,
    name           text        NOT NULL,
    channel        text        NOT NULL CHECK (channel IN ('sms', 'email')),
    subject        text        NOT NULL DEFAULT '',
    body           text        NOT NULL,
    audience       jsonb       NOT NULL,
    send_at        timestamptz,
    per_second     numeric     CHECK (per_second > 0),
    status         text        NOT NULL DEFAULT 'draft'
        CHECK (status IN ('draft', 'scheduled', 'sending', 'paused', 'sent', 'cancelled')),
    status_reason  text,
    fanout_cursor  bigint      NOT NULL DEFAULT 0,
    fanout_last    bigint,
    fanned_out_at  timestamptz,
    launched_at    timestamptz,
    finished_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE campaigns IS 'One template to one audience over one channel';
COMMENT ON COLUMN campaigns.fanout_cursor IS 'Greatest businesses.id already fanned out: where an interrupted fan-out goes on';
COMMENT ON COLUMN campaigns.fanout_last IS 'Greatest businesses.id at launch: the audience is frozen there';

CREATE INDEX campaigns_sending ON campaigns (id) WHERE status = 'sending';

CREATE TABLE campaign_counters (
    campaign_id bigint   NOT NULL REFERENCES campaigns,
    shard       smallint NOT NULL,
    state       text     NOT NULL,
    n           bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign_id, shard, state)
) WITH (fillfactor = 50);
COMMENT ON TABLE campaign_counters IS 'Messages of a campaign by state (and skips, as skipped_REASON), sharded so that workers do not queue on one row; the sum over shards is the count';

CREATE TABLE messages (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id     uuid        NOT NULL UNIQUE,
    campaign_id   bigint      REFERENCES campaigns,
    business_id   bigint      NOT NULL REFERENCES businesses,
    channel       text        NOT NULL CHECK (channel IN ('sms', 'email')),
    address       text        NOT NULL,
    subject       text        NOT NULL DEFAULT '',
    body          text        NOT NULL,
    state         text        NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'dispatching', 'unknown', 'held', 'accepted', 'sending', 'sent',
                         'failed', 'undelivered', 'canceled', 'delivered', 'read')),
    reason        text,
    error_code    text,
    attempt       int         NOT NULL DEFAULT 0,
    provider_sid  text        UNIQUE,
    segments      int,
    price         numeric,
    price_unit    text,
    queued_at     timestamptz NOT NULL DEFAULT now(),
    dispatched_at timestamptz,
    sent_at       timestamptz,
    delivered_at  timestamptz,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (campaign_id, business_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE messages IS 'One message to one business: at most one a campaign. state is a lattice (lifecycle.MessageState); a higher state always wins';
COMMENT ON COLUMN messages.reason IS 'Why it is failed, canceled, unknown or held, in one word: suppressed, campaign_cancelled, rejected, time_out, …';
COMMENT ON COLUMN messages.attempt IS 'Number of the provider call; travels in the status callback''s query';
CREATE INDEX messages_business ON messages (business_id, id);
CREATE INDEX messages_campaign ON messages (campaign_id, id);
CREATE INDEX messages_address ON messages (address, id);

CREATE TABLE dispatches (
    message_id    bigint      PRIMARY KEY REFERENCES messages,
    channel       text        NOT NULL,
    address       text        NOT NULL,
    attempt       int         NOT NULL,
    state         text        NOT NULL DEFAULT 'calling' CHECK (state IN ('calling', 'unknown', 'held')),
    dispatched_at timestamptz NOT NULL,
    unknown_at    timestamptz,
    checks        int         NOT NULL DEFAULT 0,
    last_check_at timestamptz
);
COMMENT ON TABLE dispatches IS 'Provider calls whose outcome is not known: a row from the moment a send is committed until its outcome is. The primary key is the promise that there is at most one a message';
CREATE INDEX dispatches_address ON dispatches (channel, address);

CREATE TABLE inbound_messages (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id    uuid        NOT NULL UNIQUE,
    receipt_id   uuid        NOT NULL UNIQUE,
    business_id  bigint      REFERENCES businesses,
    message_id   bigint      REFERENCES messages,
    channel      text        NOT NULL,
    from_address text        NOT NULL,
    to_address   text        NOT NULL,
    body         text        NOT NULL,
    action       text        NOT NULL CHECK (action IN ('reply', 'opt_out', 'opt_in', 'help')),
    media        text[]      NOT NULL DEFAULT '{}',
    provider_sid text,
    received_at  timestamptz NOT NULL
);
COMMENT ON TABLE inbound_messages IS 'Replies, with what was made of them; message_id is our message that they most likely answer';
CREATE INDEX inbound_messages_business ON inbound_messages (business_id, id);

CREATE TABLE webhook_events (
    id          uuid        NOT NULL PRIMARY KEY,
    provider    text        NOT NULL,
    kind        text        NOT NULL,
    query       text        NOT NULL DEFAULT '',
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    dedupe_key  text COLLATE "C" NOT NULL,
    contact_key text,
    received_at timestamptz NOT NULL
) PARTITION BY RANGE (id);
COMMENT ON TABLE webhook_events IS 'Receipts: raw requests as they were accepted. Partitioned by time through the UUIDv7 id; dedupe_key is unique within a partition (it saves work; exactly-once rests on facts.dedupe_key)';
COMMENT ON COLUMN webhook_events.contact_key IS 'channel:address that the receipt came from, where it is a person: found again on erasure';
CREATE TABLE webhook_events_default PARTITION OF webhook_events DEFAULT;
CREATE UNIQUE INDEX ON webhook_events_default (dedupe_key);
CREATE INDEX webhook_events_contact ON webhook_events (contact_key) WHERE contact_key IS NOT NULL;

CREATE TABLE receipt_outcomes (
    receipt_id   uuid        PRIMARY KEY,
    outcome      text        NOT NULL CHECK (outcome IN ('applied', 'no_change', 'ignored', 'unmatched', 'failed')),
    detail       text,
    match_key    text,
    processed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE receipt_outcomes IS 'What came of a receipt, appended beside it so that the wide raw row is never rewritten; no row: not processed yet';
COMMENT ON COLUMN receipt_outcomes.match_key IS 'What an unmatched receipt looks for (message:SID, subscription:ID, site:ID, sms:ADDRESS); whoever creates it requeues the receipt';
CREATE INDEX receipt_outcomes_open ON receipt_outcomes (match_key) WHERE outcome = 'unmatched';
CREATE INDEX receipt_outcomes_attention ON receipt_outcomes (outcome, receipt_id) WHERE outcome IN ('unmatched', 'failed');

CREATE TABLE inbound_pending (
    receipt_id uuid NOT NULL PRIMARY KEY,
    channel    text NOT NULL,
    address    text NOT NULL
);
COMMENT ON TABLE inbound_pending IS 'Accepted receipts that may be an opt-out and are not applied yet: while a row stands, nothing is dispatched to its address';
CREATE INDEX inbound_pending_address ON inbound_pending (channel, address);

CREATE TABLE facts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id bigint      NOT NULL,
    site_id     bigint,
    event       text        NOT NULL,
    axis        text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    source      text        NOT NULL CHECK (source IN ('webhook', 'message', 'operator', 'api', 'import', 'system')),
    receipt_id  uuid,
    message_id  bigint,
    action_id   bigint,
    job_id      bigint,
    dedupe_key  text COLLATE "C" NOT NULL UNIQUE,
    note        text
);
COMMENT ON TABLE facts IS 'What happened, append-only. Statuses are the fold of a business''s facts in the order (occurred_at, dedupe_key). No foreign keys: the row is written under the business''s lock, and history outlives what it names';
CREATE INDEX facts_business ON facts (business_id, occurred_at, dedupe_key);
CREATE INDEX facts_receipt ON facts (receipt_id) WHERE receipt_id IS NOT NULL;
CREATE INDEX facts_site ON facts (site_id, occurred_at, dedupe_key) WHERE site_id IS NOT NULL;

CREATE TABLE transitions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fact_id     bigint      NOT NULL,
    business_id bigint      NOT NULL,
    axis        text        NOT NULL,
    from_status text        NOT NULL,
    to_status   text        NOT NULL,
    verdict     text        NOT NULL CHECK (verdict IN ('applied', 'no_change', 'stale', 'blocked', 'corrected')),
    at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE transitions IS 'The audit trail, append-only: what each fact did to each axis that it speaks of';
CREATE INDEX transitions_business ON transitions (business_id, id);

CREATE TABLE suppressions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel     text        NOT NULL CHECK (channel IN ('sms', 'email')),
    address     text        NOT NULL,
    reason      text        NOT NULL,
    source      text        NOT NULL,
    source_id   text,
    since       timestamptz NOT NULL DEFAULT now(),
    lifted_at   timestamptz,
    lifted_by   text
);
COMMENT ON TABLE suppressions IS 'Addresses that must not be written to. A lifted one stays as history; address is a keyed hash after erasure';
CREATE UNIQUE INDEX suppressions_active ON suppressions (channel, address) WHERE lifted_at IS NULL;

CREATE TABLE senders (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel      text        NOT NULL,
    address      text        NOT NULL,
    per_second   numeric     NOT NULL CHECK (per_second > 0),
    slowdown     numeric     NOT NULL DEFAULT 1 CHECK (slowdown >= 1),
    next_slot_at timestamptz NOT NULL DEFAULT now(),
    backlog_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (channel, address)
) WITH (fillfactor = 50);
COMMENT ON TABLE senders IS 'Pace of each sending address over the whole fleet';
COMMENT ON COLUMN senders.slowdown IS 'Factor on the time between calls: doubled by a 429, easing back to 1 with each call';
COMMENT ON COLUMN senders.backlog_at IS 'When the last job that was put to sleep for want of a slot will wake';
COMMENT ON COLUMN senders.next_slot_at IS 'The earliest time of the next provider call from this address';

CREATE TABLE payments (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id       bigint      NOT NULL REFERENCES businesses,
    site_id           bigint      REFERENCES sites,
    amount_in_cents   bigint      NOT NULL,
    currency          text        NOT NULL,
    charge_key        text        NOT NULL UNIQUE,
    refunded_in_cents bigint      NOT NULL DEFAULT 0,
    receipt_id        uuid,
    paid_at           timestamptz NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE payments IS 'Charges that succeeded, one row a charge however many webhooks reported it';
CREATE INDEX payments_business ON payments (business_id, id);

CREATE TABLE api_tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id    uuid        NOT NULL UNIQUE,
    name         text        NOT NULL,
    role         text        NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    token_hash   bytea       NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
COMMENT ON TABLE api_tokens IS 'API tokens, as SHA-256 of 256 random bits';

CREATE TABLE operator_actions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor       text        NOT NULL,
    token_id    bigint      REFERENCES api_tokens,
    action      text        NOT NULL,
    target_type text        NOT NULL,
    target_id   text        NOT NULL,
    reason      text        NOT NULL DEFAULT '',
    details     jsonb       NOT NULL DEFAULT '{}',
    at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE operator_actions IS 'Who did what by API, console or command, and why';
CREATE INDEX operator_actions_target ON operator_actions (target_type, target_id, id);

CREATE TABLE idempotency_keys (
    token_id     bigint      NOT NULL REFERENCES api_tokens,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    status       int,
    response     bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_id, key)
);
COMMENT ON TABLE idempotency_keys IS 'Answers of POST requests that carried an Idempotency-Key, repeated for a day';

CREATE TABLE worker_processes (
    client_id  text        PRIMARY KEY,
    host       text        NOT NULL,
    pid        int         NOT NULL,
    version    text        NOT NULL,
    queues     text[]      NOT NULL,
    capacity   int         NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE worker_processes IS 'Heartbeats of the fleet: jobs that ran in a process which stopped beating are put back without waiting for River''s rescue';

-- Append-only: facts and transitions. Erasure may blank a fact's note, nothing else.
CREATE FUNCTION onward_append_only() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'facts' AND current_setting('onward.erasure', true) = 'on' THEN
        IF to_jsonb(NEW) - 'note' = to_jsonb(OLD) - 'note' AND to_jsonb(NEW) -> 'note' = 'null' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'ON003', HINT = 'Record a new fact; statuses follow from facts.';
END
$$;
CREATE TRIGGER facts_append_only BEFORE UPDATE OR DELETE ON facts
    FOR EACH ROW EXECUTE FUNCTION onward_append_only();
CREATE TRIGGER facts_no_truncate BEFORE TRUNCATE ON facts
    FOR EACH STATEMENT EXECUTE FUNCTION onward_append_only();
CREATE TRIGGER transitions_append_only BEFORE UPDATE OR DELETE ON transitions
    FOR EACH ROW EXECUTE FUNCTION onward_append_only();
CREATE TRIGGER transitions_no_truncate BEFORE TRUNCATE ON transitions
    FOR EACH STATEMENT EXECUTE FUNCTION onward_append_only();

-- No send overtakes an opt-out. A dispatch takes its address's lock shared and then looks; whatever
-- may forbid it (a suppression, a receipt that may be one) takes the same lock alone before it commits.
-- So either the dispatch sees it, or it sees the dispatch (in dispatches) and can wait for that call.
CREATE FUNCTION onward_address_key(channel text, address text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT hashtextextended(channel || ':' || address, 7206811)
$$;

CREATE FUNCTION onward_lock_address() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(onward_address_key(NEW.channel, NEW.address));
    RETURN NEW;
END
$$;
CREATE TRIGGER suppressions_lock BEFORE INSERT OR UPDATE ON suppressions
    FOR EACH ROW EXECUTE FUNCTION onward_lock_address();
CREATE TRIGGER inbound_pending_lock BEFORE INSERT ON inbound_pending
    FOR EACH ROW EXECUTE FUNCTION onward_lock_address();

CREATE FUNCTION onward_guard_dispatch() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(onward_address_key(NEW.channel, NEW.address));
    IF EXISTS (SELECT 1 FROM suppressions s
               WHERE s.channel = NEW.channel AND s.address = NEW.address AND s.lifted_at IS NULL) THEN
        RAISE EXCEPTION 'message % may not be dispatched: its address is suppressed', NEW.id
            USING ERRCODE = 'ON001';
    END IF;
    IF EXISTS (SELECT 1 FROM inbound_pending p
               WHERE p.channel = NEW.channel AND p.address = NEW.address) THEN
        RAISE EXCEPTION 'message % may not be dispatched yet: a receipt from its address is not applied', NEW.id
            USING ERRCODE = 'ON002';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER messages_guard_insert BEFORE INSERT ON messages
    FOR EACH ROW WHEN (NEW.state = 'dispatching') EXECUTE FUNCTION onward_guard_dispatch();
CREATE TRIGGER messages_guard_update BEFORE UPDATE OF state ON messages
    FOR EACH ROW WHEN (NEW.state = 'dispatching') EXECUTE FUNCTION onward_guard_dispatch();

-- Receipts' partitions, a week each (Monday, UTC).
CREATE FUNCTION onward_ensure_partitions(since timestamptz, until timestamptz) RETURNS int
    LANGUAGE plpgsql AS $$
DECLARE
    week    timestamptz := date_trunc('week', since AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    part    text;
    lo      uuid;
    hi      uuid;
    created int := 0;
BEGIN
    -- One maker at a time; readers and writers are not kept out.
    PERFORM pg_advisory_xact_lock(7206812);
    WHILE week < until LOOP
        part := 'webhook_events_' || to_char(week AT TIME ZONE 'UTC', 'IYYY"w"IW');
        lo := onward_uuid_floor(week);
        hi := onward_uuid_floor(week + interval '7 days');
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE webhook_events INCLUDING DEFAULTS INCLUDING COMMENTS)', part);
            EXECUTE format('CREATE UNIQUE INDEX ON %I (dedupe_key)', part);
            -- Rows that the default partition caught while this one was missing move over.
            EXECUTE format('WITH moved AS (DELETE FROM webhook_events_default WHERE id >= %L AND id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved', lo, hi, part);
            EXECUTE format('ALTER TABLE webhook_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, lo, hi);
            created := created + 1;
        END IF;
        week := week + interval '7 days';
    END LOOP;
    RETURN created;
END
$$;
COMMENT ON FUNCTION onward_ensure_partitions(timestamptz, timestamptz) IS 'Creates the missing weekly partitions of webhook_events between two times; rows in the default partition move into them';

SELECT onward_ensure_partitions(now(), now() + interval '28 days');

-- The message lattice, as in lifecycle.MessageState.Rank (a test compares the two). Not STRICT: then PostgreSQL inlines
-- it, which took three quarters off the time of the statement that raises messages.
CREATE FUNCTION onward_message_rank(state text) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state
        WHEN 'queued' THEN 0
        WHEN 'dispatching' THEN 1 WHEN 'unknown' THEN 1 WHEN 'held' THEN 1
        WHEN 'accepted' THEN 2
        WHEN 'sending' THEN 3
        WHEN 'sent' THEN 4
        WHEN 'failed' THEN 5 WHEN 'undelivered' THEN 5 WHEN 'canceled' THEN 5
        WHEN 'delivered' THEN 6
        WHEN 'read' THEN 7
        ELSE -1 END
$$;
