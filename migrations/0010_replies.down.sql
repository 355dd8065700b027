DROP INDEX IF EXISTS inbound_messages_open, inbound_messages_answers;
ALTER TABLE inbound_messages
    DROP COLUMN handled_at,
    DROP COLUMN handled_by,
    DROP COLUMN answer_id;
