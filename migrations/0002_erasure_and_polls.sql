-- Erasure of a contact's personal data, polls of messages whose callbacks were lost.

-- Suppressions outlive an erasure as a keyed hash of their address (docs/decisions/0008): HMAC-SHA256 with a key of this
-- database's own, so that its guard can compare without the application. The key stands here as HMAC uses it.
CREATE TABLE erasure_key (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    inner_pad bytea   NOT NULL,
    outer_pad bytea   NOT NULL
);
COMMENT ON TABLE erasure_key IS 'The one key of this database under which addresses of erased contacts stay suppressed. Lost with it: those suppressions. Leave it out of dumps that are made for others';

DO $$
DECLARE
    -- 366 random bits, pressed into the 256 of a key.
    key bytea := sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
    ipad bytea := decode(repeat('36', 64), 'hex');
    opad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    FOR i IN 0..31 LOOP
        ipad := set_byte(ipad, i, get_byte(key, i) # 54);
        opad := set_byte(opad, i, get_byte(key, i) # 92);
    END LOOP;
    INSERT INTO erasure_key (inner_pad, outer_pad) VALUES (ipad, opad);
END
$$;

CREATE FUNCTION onward_address_hash(channel text, address text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    k erasure_key;
BEGIN
    SELECT * INTO STRICT k FROM erasure_key;
    RETURN 'hmac:' || encode(sha256(k.outer_pad || sha256(k.inner_pad || convert_to($1 || ':' || $2, 'UTF8'))), 'hex');
END
$$;
COMMENT ON FUNCTION onward_address_hash(text, text) IS 'What stands in suppressions.address after an erasure: HMAC-SHA256 of channel:address';

CREATE INDEX suppressions_erased ON suppressions (channel) WHERE lifted_at IS NULL AND address LIKE 'hmac:%';

CREATE FUNCTION onward_suppressed(channel text, address text) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM suppressions s
               WHERE s.channel = $1 AND s.address = $2 AND s.lifted_at IS NULL) THEN
        RETURN true;
    END IF;
    -- Hashing costs more than looking whether there is anything to compare with.
    RETURN EXISTS (SELECT 1 FROM suppressions s
                   WHERE s.channel = $1 AND s.address LIKE 'hmac:%' AND s.lifted_at IS NULL)
        AND EXISTS (SELECT 1 FROM suppressions s
                    WHERE s.channel = $1 AND s.address = onward_address_hash($1, $2) AND s.lifted_at IS NULL);
END
$$;
COMMENT ON FUNCTION onward_suppressed(text, text) IS 'Whether an address must not be written to, by its plain or its erased suppression. Everything that decides about a send asks here';

-- As before, through onward_suppressed; and nothing goes to a contact that was erased.
CREATE OR REPLACE FUNCTION onward_guard_dispatch() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(onward_address_key(NEW.channel, NEW.address));
    IF NEW.address = 'erased' OR onward_suppressed(NEW.channel, NEW.address) THEN
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

ALTER TABLE webhook_events ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN webhook_events.erased_at IS 'When query, headers and body were blanked because a contact that they speak of was erased';
-- Bills name a person by another address than ours, or by none: erasure reads these receipts, and no others, by content.
CREATE INDEX webhook_events_by_content ON webhook_events (id) WHERE provider = 'recurrente' OR contact_key IS NULL;

CREATE TABLE message_polls (
    message_id bigint      PRIMARY KEY REFERENCES messages,
    tries      int         NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL
);
COMMENT ON TABLE message_polls IS 'Sent messages that wait for a final state longer than callbacks take: when each is next looked up at the provider. Few rows: most messages are final before they would come here';
CREATE INDEX message_polls_due ON message_polls (next_at);

CREATE TABLE poll_progress (
    one     boolean     PRIMARY KEY DEFAULT true CHECK (one),
    fact_id bigint      NOT NULL DEFAULT 0,
    minute  timestamptz NOT NULL DEFAULT 'epoch',
    polled  int         NOT NULL DEFAULT 0
);
COMMENT ON TABLE poll_progress IS 'One row: how far facts of sends were looked through for messages to poll, and how many polls the running minute has had over the whole fleet';
INSERT INTO poll_progress DEFAULT VALUES;
