-- Suppressions of erased contacts block nothing after this: their key is gone.
DROP TABLE IF EXISTS poll_progress, message_polls;
DROP INDEX IF EXISTS webhook_events_by_content;
ALTER TABLE webhook_events DROP COLUMN IF EXISTS erased_at;
CREATE OR REPLACE FUNCTION onward_guard_dispatch() RETURNS trigger
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
DROP FUNCTION IF EXISTS onward_suppressed(text, text), onward_address_hash(text, text);
DROP INDEX IF EXISTS suppressions_erased;
DROP TABLE IF EXISTS erasure_key;
